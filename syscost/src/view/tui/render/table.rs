//! The first screen: a row for each syscall, with the shape of its times on and off the CPU on an
//! axis they all share; or one for each process.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use syscost_common::cell::PartOf;

use super::{Page, clip, header, left, right, spans};
use crate::{
    group::GroupBy,
    model::{
        Basis, Counted, Known, Total,
        column::{Key, Value},
    },
    reading::Reading,
    view::{
        format,
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
    let basis = match table {
        Table::Syscalls => model.basis(),
        Table::Processes => model.group_basis(),
    };
    draw_headings(page, ui, contents, &layout, axis);

    let top = header::HEIGHT + 1;
    let room = usize::from(page.area.height.saturating_sub(top + 1));
    let selected = rows::selected(ui, &entries);
    let first = selected.saturating_sub(room / 2).min(entries.len().saturating_sub(room));
    for (y, (index, entry)) in entries.iter().enumerate().skip(first).take(room).enumerate() {
        let line = row(ui, &basis, &layout, axis, entry, index == selected);
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
    let name = match sorted {
        Key::Name => Span::styled(left(&format!("{name}{arrow}"), layout.name), theme.active),
        _ => Span::styled(left(name, layout.name), theme.heading),
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
    page.line(header::HEIGHT, line);
    for (at, label) in axis.map_or_else(Vec::new, |axis| axis.ticks(layout.histogram)) {
        page.text_at(x + at, header::HEIGHT, label, theme.dim);
    }
}

fn row(
    ui: &UiState,
    basis: &Basis,
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
            Some(row) => (key.column().get)(basis, row),
            None => idle(*key, basis),
        };
        line.push_span(Span::styled(right(&format::value(&value), *width), style));
    }
    if let (Some(row), Some(axis)) = (entry.row, axis) {
        line.push_span(Span::raw(" ".repeat(GAP.into())));
        line.extend(shape(theme, basis, layout, axis, row));
    }
    line
}

/// The headings of what is on the CPU and off it have the colours that these have in the shapes.
fn heading_style(theme: &Theme, contents: Contents, key: Key) -> Style {
    match key {
        // Then shapes are of whole latencies, in a colour that means nothing.
        _ if !contents.parts => theme.heading,
        Key::OnCpu | Key::OnCpuPerSec => theme.heading.patch(theme.part(PartOf::OnCpu).style),
        Key::BlockedPct => theme.heading.patch(theme.part(PartOf::Blocked).style),
        _ => theme.heading,
    }
}

/// How long a row's calls were on the CPU and off it; where that is not known, how long they took.
fn shape(
    theme: &Theme,
    basis: &Basis,
    layout: &Layout,
    axis: LogAxis,
    row: &dyn Counted,
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
    let style = if basis.trust.parts == Known::Nothing { theme.bar } else { theme.dim };
    vec![Span::styled(shape, style)]
}

/// The numbers of a row without a call in the window: sums are 0, latencies there are none.
fn idle(key: Key, basis: &Basis) -> Value {
    match key {
        Key::Calls | Key::CallsPerSec | Key::Errors | Key::Time | Key::TimePerSec => {
            Value::Count(basis.reading(0))
        }
        Key::OnCpu | Key::OnCpuPerSec => Value::Count(basis.part(PartOf::OnCpu, Total::default())),
        Key::Runq => Value::Count(basis.part(PartOf::Runq, Total::default())),
        Key::Blocked => Value::Count(basis.part(PartOf::Blocked, Total::default())),
        Key::Boundary | Key::BoundaryPerSec => {
            Value::Count(basis.boundary_ns(0).map(|ns| ns.round() as u64))
        }
        _ => Value::Ns(Reading::NotCollected),
    }
}

fn draw_empty(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let ledger = &live.since_attach.ledger;
    let mut lines = Vec::new();
    let table = Table::of(ui.screen);
    if table == Table::Syscalls && !live.since_attach.rows.is_empty() {
        lines.push(format!("no syscall has \"{}\" in its name", ui.filter.text()));
        lines.push("esc shows all".into());
    } else if table == Table::Processes && *ui.filter() != Filter::Off {
        let text = ui.filter.text();
        lines.push(format!("no process that makes system calls has \"{text}\" in its name or PID"));
        lines.push("esc shows all".into());
    } else if table == Table::Processes {
        lines.push("no process has finished a system call yet".into());
    } else if live.since_attach.subject.exited {
        lines.push("the process has exited without a syscall that could be measured".into());
    } else {
        lines.push("no syscalls yet".into());
        lines.push(match ledger.in_flight {
            0 => "the process may be blocked in one call, entered before tracing began".into(),
            1 => "1 call is in flight: it is counted when it returns".into(),
            n => {
                format!("{} calls are in flight: each is counted when it returns", format::count(n))
            }
        });
        if ledger.open_at_attach > 0 {
            lines.push(format!(
                "{} that were open when tracing began have returned; their time is unknown",
                format::count(ledger.open_at_attach)
            ));
        }
    }
    let width = usize::from(page.area.width);
    let top = page.area.height / 2 - 1;
    for (y, text) in lines.into_iter().enumerate() {
        let text = clip(&text, width.saturating_sub(2));
        let x = (width - text.chars().count()) / 2;
        let style = if y == 0 { ui.theme.title } else { ui.theme.dim };
        page.text_at(x as u16, top + y as u16, text, style);
    }
}
