//! One syscall: how often, its latency and what that consists of, their distribution, its errors.

use crate::view::width::Columns;
use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{Page, chart, clip, clip_words, header, left, parts, right, wrap};
use crate::{
    decode::errno,
    model::{Model, Row, TableRow, Window},
    sample::KindKey,
    view::{
        format,
        tui::{Live, UiState, axis::LogAxis},
    },
};

/// The highest bars that still look like one distribution.
const MAX_BARS: u16 = 24;
/// Bars lower than this have no shape.
const MIN_BARS: u16 = 3;
/// The width of a number of calls, and of a share of them.
const COUNT: usize = 8;
const SHARE: usize = 7;
/// Below this width, the names of errors have no more room than they need.
const NARROW: usize = 60;
/// From this height on, a blank line before the distribution is worth more than higher bars.
const ROOMY: u16 = 32;

/// Draws the screen of the syscall `key`.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live, key: KindKey) {
    header::draw(page, ui, live);
    let header = header::height(page.area.height);
    let model = live.model(ui.window);
    let ever = live.since_attach.row(key);
    let Some(known) = model.row(key).or(ever) else {
        return page.text_at(1, header, "no call of this syscall yet", ui.theme.title);
    };
    let row = model.row(key);
    draw_title(page, ui, model, known, row);
    let Some(row) = row else {
        return draw_idle(page, ui, model);
    };
    let context = model.context();
    parts::draw(page, &ui.theme, (&context, ui.window), row, header + 1);

    let blank = u16::from(page.area.height >= ROOMY);
    let top = header + 1 + parts::height(&context) + blank;
    let room = page.area.height.saturating_sub(top + 1);
    let errors = errors_height(row, room);
    let chart = room.saturating_sub(errors).min(MAX_BARS + chart::BELOW);
    let Some(axis) = LogAxis::over([row].into_iter().chain(ever)) else { return };
    if chart >= MIN_BARS + chart::BELOW {
        let area = Rect::new(0, top, page.area.width.saturating_sub(2), chart);
        chart::draw(page, &ui.theme, row, axis, area);
        draw_errors(page, ui, model, row, (top + chart, errors));
    } else {
        draw_errors(page, ui, model, row, (top, room));
    }
}

/// Which syscall, and how often it was made.
fn draw_title(page: &mut Page<'_>, ui: &UiState, model: &Model, known: &Row, row: Option<&Row>) {
    let about = match (known.abi, known.nr) {
        (Some(abi), Some(nr)) => format!("{abi} · nr {nr}"),
        _ => "every syscall that found no row of its own".into(),
    };
    let mut facts = vec![about];
    if let Some(row) = row {
        let (context, sum) = (model.context(), row.sum());
        facts.push(match ui.window {
            Window::Interval => {
                let rate = context.reading(context.per_sec(sum.calls));
                format!("{} calls/s", format::reading(rate, format::rate))
            }
            Window::SinceAttach => {
                format!("{} calls", format::reading(context.reading(sum.calls), format::count))
            }
        });
        let errors = context.figure(sum.error_pct());
        facts.push(format!("{}% errors", format::reading(errors, format::pct)));
    }
    // Whole or not at all: half a number is a wrong one.
    let width = usize::from(page.area.width);
    let name = clip(&known.name, width.saturating_sub(3));
    let room = width.saturating_sub(name.columns() + 5);
    let length = |facts: &[String]| facts.join(" · ").columns();
    while !facts.is_empty() && length(&facts) > room {
        // What it is called tells which one it is; how often it is called nothing else does.
        facts.remove(0);
    }
    page.line(
        header::height(page.area.height),
        Line::from(vec![
            Span::raw(" "),
            Span::styled(format!(" {name} "), ui.theme.selected),
            Span::raw(format!("  {}", facts.join(" · "))),
        ]),
    );
}

fn draw_idle(page: &mut Page<'_>, ui: &UiState, model: &Model) {
    let y = header::height(page.area.height) + 2;
    let text = match model.window {
        Window::Interval => "no call finished in this window; t shows all since start",
        Window::SinceAttach => "no call has finished yet",
    };
    let lines = wrap(text, usize::from(page.area.width).saturating_sub(4));
    for (at, line) in lines.into_iter().enumerate() {
        page.text_at(2, y + at as u16, line, ui.theme.title);
    }
}

/// The lines for the errors, of `room` that there are: a blank one, a heading, one for each errno.
fn errors_height(row: &Row, room: u16) -> u16 {
    let wanted = 2 + row.errnos.len().max(1) as u16;
    // The distribution comes first; the errors get a third where there is not room for both.
    let spare = room.saturating_sub(MAX_BARS + chart::BELOW);
    wanted.min((room / 3).max(spare))
}

fn draw_errors(
    page: &mut Page<'_>,
    ui: &UiState,
    model: &Model,
    row: &Row,
    (y, height): (u16, u16),
) {
    // The first line stays blank.
    let Some(lines) = height.checked_sub(2).filter(|lines| *lines > 0) else { return };
    let theme = &ui.theme;
    if row.errnos.is_empty() {
        let none = if model.trust.sampled { "no errors in the sample" } else { "no errors" };
        return page.text_at(1, y + 1, none, theme.dim);
    }
    let per_sec = ui.window == Window::Interval;
    let number_of = |calls: u64| {
        if per_sec {
            let context = model.context();
            format::reading(context.reading(context.per_sec(calls)), format::rate)
        } else {
            format::reading(model.trust.reading(calls), format::count)
        }
    };
    let width = usize::from(page.area.width);
    let longest = row.errnos.iter().map(|(number, _)| errno::symbol(*number).len()).max();
    // The name gives way to the number, and the share is not drawn where there is no room for it.
    let symbol = longest.unwrap_or(0).max(if width < NARROW { 5 } else { 15 }) + 1;
    let symbol = symbol.min(width.saturating_sub(COUNT + 1)) as u16;
    let share = usize::from(symbol) + 1 + COUNT + SHARE <= width;
    let cells = |name: &str, count: &str, pct: &str| {
        let share = if share { right(pct, SHARE as u16) } else { String::new() };
        (format!(" {}", left(name, symbol)), format!("{}{share}", right(count, COUNT as u16)))
    };
    let (errno, numbers) = cells("ERRNO", if per_sec { "CALLS/s" } else { "CALLS" }, "%");
    let room = width.saturating_sub(errno.columns() + numbers.columns() + 2);
    let meaning = clip_words("MEANING", room);
    page.text_at(0, y + 1, format!("{errno}{numbers}  {meaning}"), theme.heading);
    let fit = usize::from(lines);
    let shown = if row.errnos.len() <= fit { fit } else { fit - 1 };
    for (at, (number, calls)) in row.errnos.iter().take(shown).enumerate() {
        let share = format::pct(*calls as f64 * 100.0 / row.calls as f64);
        let (errno, numbers) = cells(&errno::symbol(*number), &number_of(*calls), &share);
        let line = Line::from(vec![
            Span::styled(errno, theme.mark),
            Span::raw(format!("{numbers}  ")),
            Span::styled(clip_words(errno::meaning(*number), room), theme.dim),
        ]);
        page.line(y + 2 + at as u16, line);
    }
    if let Some(rest) = row.errnos.get(shown..).filter(|rest| !rest.is_empty()) {
        let calls: u64 = rest.iter().map(|(_, calls)| calls).sum();
        let unit = if per_sec { "calls/s" } else { "calls" };
        let text = format!("and {} more: {} {unit}", rest.len(), number_of(calls));
        let text = format!(" {}", clip_words(&text, width - 1));
        page.text_at(0, y + 2 + shown as u16, text, theme.dim);
    }
}
