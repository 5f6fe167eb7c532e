//! The first screen: a row for each syscall, with the shape of its times on and off the CPU on an
//! axis they all share; or one for each process.

use crate::view::width::Columns;
use ratatui::{
    style::Style,
    text::{Line, Span},
};
use syscost_common::{cell::PartOf, ledger::Counter};

use super::{Page, header, left, number, right, spans, wrap};
use crate::{
    group::GroupBy,
    model::{
        Availability, Model, TableContext, TableRow,
        column::{Key, Needs},
    },
    sample::WhyEmpty,
    view::{
        format, missing,
        tui::{
            Filter, Live, Theme, UiState,
            axis::LogAxis,
            bars,
            columns::{Contents, GAP, Layout, Table},
            rows::{self, Entry},
        },
    },
};

/// Draws header, headings and rows.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    header::draw(page, ui, live);
    let model = live.model(ui.window);
    let entries = rows::entries(ui, live);
    if entries.is_empty() {
        return draw_empty(page, ui, live);
    }
    let table = Table::of(ui.screen);
    let contents = Contents::of(ui, live);
    let layout = Layout::fit(table, page.area.width, contents);
    // From everything since attach, so that the axis does not jump from tick to tick.
    let axis = match table {
        Table::Syscalls => LogAxis::over(live.since_attach.rows.iter()),
        Table::Processes => None,
    };
    let context = match table {
        Table::Syscalls => model.context(),
        Table::Processes => model.group_context(),
    };
    draw_headings(page, ui, contents, &layout, axis);

    let top = header::height(page.area.height) + 1;
    let room = usize::from(page.area.height.saturating_sub(top + 1));
    let selected = rows::selected(ui, &entries);
    let first = selected.saturating_sub(room / 2).min(entries.len().saturating_sub(room));
    for (y, (index, entry)) in entries.iter().enumerate().skip(first).take(room).enumerate() {
        let line = row(ui, &context, &layout, axis, entry, index == selected);
        page.line(top + y as u16, line);
    }
}

fn draw_headings(
    page: &mut Page<'_>,
    ui: &UiState,
    contents: Contents,
    layout: &Layout,
    axis: Option<LogAxis>,
) {
    let (theme, sorted) = (&ui.theme, contents.sort);
    let arrow = if sorted.column().descending != ui.sort.reversed { '▼' } else { '▲' };
    let name = match Table::of(ui.screen) {
        Table::Syscalls => GroupBy::Syscall.title(),
        Table::Processes => GroupBy::Process.title(),
    };
    let heading = |name: &str| left(&clip_heading(name, layout.name.into()), layout.name);
    let name = match sorted {
        Key::Name => Span::styled(heading(&format!("{name}{arrow}")), theme.active),
        _ => Span::styled(heading(name), theme.heading),
    };
    let mut line = Line::from(vec![Span::raw(" "), name]);
    for (key, width) in &layout.numbers {
        let title = key.column().title;
        line.push_span(if *key == sorted {
            Span::styled(right(&format!("{arrow}{title}"), *width), theme.active)
        } else {
            Span::styled(right(title, *width), heading_style(theme, contents, *key))
        });
    }
    let x = line.width() as u16 + GAP;
    let y = header::height(page.area.height);
    page.line(y, line);
    for (at, label) in axis.map_or_else(Vec::new, |axis| axis.ticks(layout.histogram)) {
        page.text_at(x + at, y, label, theme.dim);
    }
}

fn row(
    ui: &UiState,
    context: &TableContext,
    layout: &Layout,
    axis: Option<LogAxis>,
    entry: &Entry<'_>,
    selected: bool,
) -> Line<'static> {
    let theme = &ui.theme;
    let style = match entry.row {
        None => theme.dim,
        Some(_) if selected => theme.title,
        Some(_) => Style::new(),
    };
    let name = left(&entry.title, layout.name);
    let mut line = Line::from(if selected {
        vec![Span::styled("▸", theme.title), Span::styled(name, theme.selected)]
    } else {
        vec![Span::raw(" "), Span::styled(name, style)]
    });
    for (key, width) in &layout.numbers {
        let value = match entry.row {
            Some(row) => (key.column().get)(context, row),
            None => key.column().of_idle_row(context),
        };
        line.push_span(Span::styled(number(&format::value(&value), *width), style));
    }
    if let (Some(row), Some(axis)) = (entry.row, axis) {
        line.push_span(Span::raw(" ".repeat(GAP.into())));
        line.extend(shape(theme, context, layout, axis, row));
    }
    line
}

/// The headings of what is on the CPU and off it have the colours that these have in the shapes.
fn heading_style(theme: &Theme, contents: Contents, key: Key) -> Style {
    match key.column().needs {
        // Without parts, histograms are of whole latencies, in a colour that means nothing.
        Needs::Part(of @ (PartOf::OnCpu | PartOf::Blocked)) if contents.parts => {
            theme.heading.patch(theme.part(of).style)
        }
        _ => theme.heading,
    }
}

/// How long a row's calls were on the CPU and off it; where that is not known, how long they took.
fn shape(
    theme: &Theme,
    context: &TableContext,
    layout: &Layout,
    axis: LogAxis,
    row: &dyn TableRow,
) -> Vec<Span<'static>> {
    if let Some(parts) = row.parts() {
        let stacks = axis.stacks(parts, layout.histogram);
        let peak = bars::peak(&stacks);
        let style = |off_cpu| match off_cpu {
            true => theme.part(PartOf::Blocked).style,
            false => theme.part(PartOf::OnCpu).style,
        };
        let cell =
            |stack| (bars::cell(bars::total(stack), peak, 1, 0), style(bars::off_cpu(stack)));
        return spans(stacks.iter().map(cell));
    }
    let Some(latency) = row.latency() else { return Vec::new() };
    let shape = bars::sparkline(&axis.columns(latency, layout.histogram));
    // Beside rows in both colours it would pass for time on the CPU.
    let style = if context.trust.parts == Availability::None { theme.bar } else { theme.dim };
    vec![Span::styled(shape, style)]
}

/// The heading of the names: two words at most, of which the last one is left out first.
fn clip_heading(name: &str, width: usize) -> String {
    if name.columns() <= width {
        return name.to_owned();
    }
    name.rsplit_once(' ').map_or(name, |(first, _)| first).to_owned()
}

fn draw_empty(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let (title, lines) = why_empty(ui, live);
    let width = usize::from(page.area.width);
    let wrapped = |text: &str| wrap(text, width.saturating_sub(2));
    let texts: Vec<(String, Style)> = wrapped(&title)
        .into_iter()
        .map(|line| (line, ui.theme.title))
        .chain(lines.iter().flat_map(|line| wrapped(line)).map(|line| (line, ui.theme.dim)))
        .collect();
    let first = header::height(page.area.height);
    let room = page.area.height.saturating_sub(first + 1);
    let top = first + room.saturating_sub(texts.len() as u16) / 2;
    for (y, (text, style)) in texts.into_iter().enumerate() {
        let x = width.saturating_sub(text.columns()) / 2;
        page.text_at(x as u16, top + y as u16, text, style);
    }
}

/// Why there is no row, and what can be done about it.
fn why_empty(ui: &UiState, live: &Live) -> (String, Vec<String>) {
    let all = || vec!["esc shows all".to_owned()];
    let text = ui.filter.text();
    let subject = &live.since_attach.subject;
    match Table::of(ui.screen) {
        Table::Syscalls if !live.since_attach.rows.is_empty() => {
            (format!("no syscall has \"{text}\" in its name"), all())
        }
        Table::Processes if *ui.filter() != Filter::Off => {
            let title = "no process that makes system calls has";
            (format!("{title} \"{text}\" in its name or PID"), all())
        }
        Table::Processes => ("no process has finished a system call yet".to_owned(), Vec::new()),
        Table::Syscalls if subject.exited => {
            ("the process has exited without a syscall that could be measured".into(), Vec::new())
        }
        Table::Syscalls => ("no syscalls yet".to_owned(), open_calls(live)),
    }
}

/// What may be going on while no call finishes.
fn open_calls(live: &Live) -> Vec<String> {
    let model = &live.since_attach;
    let mut lines: Vec<String> = missing::calls(&model.subject).into_iter().collect();
    match model.subject.why_empty {
        Some(WhyEmpty::NoProcess) => lines.push("waiting for one".to_owned()),
        Some(WhyEmpty::NoKinds) => {}
        _ => lines.extend(open_calls_now(model)),
    }
    lines
}

fn open_calls_now(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    let oldest = model.in_flight.as_ref().and_then(|calls| calls.first());
    match (model.open_calls(), oldest) {
        (0, _) if model.in_flight.is_none() => {
            lines.push("it may be blocked in a call that began before tracing".to_owned());
        }
        (0, _) => lines.push("no call is open either: it is computing, or stopped".to_owned()),
        (1, Some(call)) => {
            let age = format::reading(call.age_ns, format::ns);
            let call = call.title();
            lines.push(format!("1 call is open: press i to see what it waits for ({call}, {age})"));
        }
        (1, None) => lines.push("1 call is open: it is counted when it returns".to_owned()),
        (n, oldest) => {
            let n = format::count(n);
            lines.push(match oldest {
                Some(_) => format!("{n} calls are open: press i to see what they wait for"),
                None => format!("{n} calls are open: each is counted when it returns"),
            });
        }
    }
    let open_at_attach = model.ledger.counter(Counter::OpenAtAttach);
    if open_at_attach > 0 {
        lines.push(format!(
            "{} that were open when tracing began have returned; their time is unknown",
            format::count(open_at_attach)
        ));
    }
    lines
}
