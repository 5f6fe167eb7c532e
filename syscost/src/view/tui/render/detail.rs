//! One syscall: how often, its latency and what that consists of, their distribution, its errors.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{Page, chart, header, left, parts, right};
use crate::{
    decode::errno,
    model::{Counted, Model, Row, Window},
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
/// From this height on, a blank line before the distribution is worth more than higher bars.
const ROOMY: u16 = 32;

/// Draws the screen of the syscall `key`.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live, key: KindKey) {
    header::draw(page, ui, live);
    let model = live.model(ui.window);
    let ever = live.since_attach.row(key);
    let Some(known) = model.row(key).or(ever) else {
        return page.text_at(1, header::HEIGHT, "no call of this syscall yet", ui.theme.title);
    };
    let row = model.row(key);
    draw_title(page, ui, model, known, row);
    let Some(row) = row else {
        return draw_idle(page, ui, model);
    };
    let basis = model.basis();
    parts::draw(page, &ui.theme, (&basis, ui.window), row, header::HEIGHT + 1);

    let blank = u16::from(page.area.height >= ROOMY);
    let top = header::HEIGHT + 1 + parts::height(&basis) + blank;
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
        let (basis, sum) = (model.basis(), row.sum());
        facts.push(match ui.window {
            Window::Interval => {
                let rate = basis.reading(basis.per_sec(sum.calls));
                format!("{} calls/s", format::reading(rate, format::rate))
            }
            Window::SinceAttach => {
                format!("{} calls", format::reading(basis.reading(sum.calls), format::count))
            }
        });
        facts.push(format!("{}% errors", format::pct(sum.error_pct())));
    }
    // Whole or not at all: half a number is a wrong one.
    let room = usize::from(page.area.width).saturating_sub(known.name.chars().count() + 6);
    let length = |facts: &[String]| facts.join(" · ").chars().count();
    while facts.len() > 1 && length(&facts) > room {
        // What it is called tells which one it is; how often it is called nothing else does.
        facts.remove(0);
    }
    page.line(
        header::HEIGHT,
        Line::from(vec![
            Span::raw(" "),
            Span::styled(format!(" {} ", known.name), ui.theme.selected),
            Span::raw(format!("  {}", facts.join(" · "))),
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
    let heading = format!(" {}{}{}  MEANING", left("ERRNO", 16), right("CALLS", 8), right("%", 7));
    page.text_at(0, y + 1, heading, theme.heading);
    let fit = usize::from(lines);
    let shown = if row.errnos.len() <= fit { fit } else { fit - 1 };
    for (at, (number, calls)) in row.errnos.iter().take(shown).enumerate() {
        let count = format::reading(model.trust.reading(*calls), format::count);
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
