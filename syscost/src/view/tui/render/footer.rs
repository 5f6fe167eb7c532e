//! The footer: the keys that mean something here, from the keymap.

use ratatui::text::{Line, Span};

use super::{AROUND_TEXT, Page, last_scroll, text};
use crate::view::tui::{
    Action, Filter, Live, Screen, UiState,
    keymap::{BINDINGS, Place},
    rows,
};

/// Draws the last line.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let place = Place::of(ui);
    let position = position(page, ui, live);
    let room = usize::from(page.area.width).saturating_sub(position.chars().count() + 1);
    let mut line = Line::from(" ");
    for binding in BINDINGS.iter().filter(|binding| binding.places.contains(&place)) {
        let nothing_to_drop =
            place == Place::Calls && binding.action == Action::Back && ui.filter == Filter::Off;
        let Some(key) = binding.labels().into_iter().next() else { continue };
        let wide = key.chars().count() + binding.footer.chars().count() + 3;
        if binding.footer.is_empty() || nothing_to_drop || line.width() + wide > room + 2 {
            continue;
        }
        line.push_span(Span::styled(key, ui.theme.title));
        line.push_span(Span::styled(format!(" {}  ", binding.footer), ui.theme.dim));
    }
    let y = page.area.height.saturating_sub(1);
    page.spread(y, line, Line::from(Span::styled(position, ui.theme.dim)));
}

/// Where one is in what does not fit.
fn position(page: &Page<'_>, ui: &UiState, live: &Live) -> String {
    match ui.screen {
        Screen::Calls | Screen::Detail(_) => {
            let entries = rows::entries(ui, live);
            match entries.len() {
                0 => String::new(),
                len => format!("{}/{len} ", rows::selected(ui, &entries) + 1),
            }
        }
        Screen::Help | Screen::Ledger | Screen::InFlight => {
            let lines = text(ui, live, page.area.width).len();
            let room = usize::from(page.area.height.saturating_sub(AROUND_TEXT));
            if lines <= room {
                return String::new();
            }
            let at_end = ui.scroll >= last_scroll(ui, live);
            if at_end { "▲ more ".into() } else { "▼ more ".into() }
        }
    }
}
