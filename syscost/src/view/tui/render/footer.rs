//! The footer: the keys that mean something here, from the keymap.

use ratatui::text::{Line, Span};

use super::{AROUND_TEXT, Page, last_scroll, text};
use crate::view::tui::{
    Action, Filter, Live, Screen, UiState,
    keymap::{BINDINGS, Binding, Place},
    rows,
};

/// Draws the last line.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let place = Place::of(ui);
    let position = position(page, ui, live);
    let room = usize::from(page.area.width).saturating_sub(position.chars().count() + 1);
    let mut line = Line::from(" ");
    for binding in BINDINGS.iter().filter(|binding| binding.places.contains(&place)) {
        let Some(key) = binding.labels().into_iter().next() else { continue };
        let does = does(ui, place, binding);
        let wide = key.chars().count() + does.chars().count() + 3;
        if does.is_empty() || line.width() + wide > room + 2 {
            continue;
        }
        line.push_span(Span::styled(key, ui.theme.title));
        line.push_span(Span::styled(format!(" {does}  "), ui.theme.dim));
    }
    let y = page.area.height.saturating_sub(1);
    page.spread(y, line, Line::from(Span::styled(position, ui.theme.dim)));
}

/// What a key does here and now; empty where it does nothing, or there is no room to say it.
fn does(ui: &UiState, place: Place, binding: &Binding) -> &'static str {
    let first = matches!(place, Place::Processes | Place::Calls);
    match (binding.action, &ui.filter) {
        (Action::Back, Filter::Off) if first && ui.chosen => "processes",
        (Action::Back, Filter::Off) if first => "",
        _ => binding.footer,
    }
}

/// Where one is in what does not fit.
fn position(page: &Page<'_>, ui: &UiState, live: &Live) -> String {
    match ui.screen {
        Screen::Processes | Screen::Calls | Screen::Detail(_) => {
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
