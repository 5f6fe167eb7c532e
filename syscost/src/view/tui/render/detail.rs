//! One syscall: its numbers, its latencies' distribution, its errors.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{Page, chart, header, left, right};
use crate::{
    decode::errno,
    model::{
        Model, Row, Window,
        column::{COLUMNS, Key},
    },
    reading::Reading,
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
/// Each number, and the gap before it.
const NUMBER: u16 = 8;

/// Draws the screen of the syscall `key`.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live, key: KindKey) {
    header::draw(page, ui, live);
    let model = live.model(ui.window);
    let ever = live.since_attach.row(key);
    let Some(known) = model.row(key).or(ever) else {
        return page.text_at(1, header::HEIGHT, "no call of this syscall yet", ui.theme.title);
    };
    draw_title(page, ui, known);
    let Some(row) = model.row(key) else {
        return draw_idle(page, ui, model);
    };
    draw_numbers(page, ui, model, row);

    let top = header::HEIGHT + 4;
    let room = page.area.height.saturating_sub(top + 1);
    let errors = errors_height(row, room);
    let chart = room.saturating_sub(errors).min(MAX_BARS + chart::BELOW);
    let Some(axis) = LogAxis::over([&row.latency].into_iter().chain(ever.map(|row| &row.latency)))
    else {
        return;
    };
    if chart >= MIN_BARS + chart::BELOW {
        let area = Rect::new(0, top, page.area.width.saturating_sub(2), chart);
        chart::draw(page, &ui.theme, &row.latency, axis, area);
        draw_errors(page, ui, model, row, (top + chart, errors));
    } else {
        draw_errors(page, ui, model, row, (top, room));
    }
}

fn draw_title(page: &mut Page<'_>, ui: &UiState, row: &Row) {
    let about = match (row.abi, row.nr) {
        (Some(abi), Some(nr)) => format!("  {abi} · nr {nr}"),
        _ => "  every syscall that found no row of its own".into(),
    };
    page.line(
        header::HEIGHT,
        Line::from(vec![
            Span::raw(" "),
            Span::styled(format!(" {} ", row.name), ui.theme.selected),
            Span::styled(about, ui.theme.dim),
        ]),
    );
}

fn draw_idle(page: &mut Page<'_>, ui: &UiState, model: &Model) {
    let y = header::HEIGHT + 2;
    let text = match model.window {
        Window::Interval => "no call finished in this window; t shows all since start",
        Window::SinceAttach => "no call has finished yet",
    };
    page.text_at(2, y, text, ui.theme.title);
}

/// All columns of the table side by side; on a narrow screen without those that say the
/// same another way.
fn draw_numbers(page: &mut Page<'_>, ui: &UiState, model: &Model, row: &Row) {
    let said_otherwise: &[Key] = match ui.window {
        Window::Interval => &[Key::Calls, Key::Time, Key::TimePct],
        Window::SinceAttach => &[Key::CallsPerSec, Key::TimePerSec, Key::TimePct],
    };
    let all = COLUMNS.iter().filter(|column| column.key != Key::Name);
    let roomy = all.clone().count() as u16 * NUMBER < page.area.width;
    let (mut headings, mut values) = (Line::default(), Line::default());
    for column in all.filter(|column| roomy || !said_otherwise.contains(&column.key)) {
        let value = format::value(&(column.get)(&model.basis(), row));
        // A lower bound may need one character more than the others.
        let gap = if roomy { NUMBER } else { (NUMBER - 1).max(value.chars().count() as u16 + 1) };
        headings.push_span(Span::styled(right(column.title, gap), ui.theme.dim));
        values.push_span(Span::styled(right(&value, gap), ui.theme.title));
    }
    page.line(header::HEIGHT + 1, headings);
    page.line(header::HEIGHT + 2, values);
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
        return page.text_at(1, y + 1, "no errors", theme.dim);
    }
    let exact = model.ledger.exact();
    let heading = format!(" {}{}{}  MEANING", left("ERRNO", 16), right("CALLS", 8), right("%", 7));
    page.text_at(0, y + 1, heading, theme.heading);
    let fit = usize::from(lines);
    let shown = if row.errnos.len() <= fit { fit } else { fit - 1 };
    for (at, (number, calls)) in row.errnos.iter().take(shown).enumerate() {
        let count = format::reading(Reading::exact_if(exact, *calls), format::count);
        let share = format::pct(*calls as f64 * 100.0 / row.calls as f64);
        let line = Line::from(vec![
            Span::styled(format!(" {}", left(&errno::symbol(*number), 16)), theme.mark),
            Span::raw(format!("{}{}  ", right(&count, 8), right(&share, 7))),
            Span::styled(errno::meaning(*number), theme.dim),
        ]);
        page.line(y + 2 + at as u16, line);
    }
    if let Some(rest) = row.errnos.get(shown..).filter(|rest| !rest.is_empty()) {
        let calls: u64 = rest.iter().map(|(_, calls)| calls).sum();
        let text = format!(" and {} more: {} calls", rest.len(), format::count(calls));
        page.text_at(0, y + 2 + shown as u16, text, theme.dim);
    }
}
