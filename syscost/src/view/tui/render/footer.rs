//! The footer: the keys that mean something here, from the keymap.

use crate::view::width::Columns;
use ratatui::text::{Line, Span};

use super::{AROUND_TEXT, Page, last_scroll, text};
use crate::view::tui::{
    Action, Filter, Live, Screen, UiState,
    keymap::{BINDINGS, Binding, Place},
    rows,
};

/// The actions whose keys are shown on every screen, however narrow: help lists all others.
const ALWAYS: [Action; 2] = [Action::Help, Action::Quit];

/// Draws the last line.
pub(super) fn draw(page: &mut Page<'_>, ui: &UiState, live: &Live) {
    let place = Place::of(ui);
    let here: Vec<(&Binding, String, &str)> = BINDINGS
        .iter()
        .filter(|binding| binding.places.contains(&place))
        .filter_map(|binding| {
            let key = binding.labels().into_iter().next()?;
            Some((binding, key, does(ui, place, binding)))
        })
        .filter(|(_, _, does)| !does.is_empty())
        .collect();
    let wide = |(_, key, does): &(&Binding, String, &str)| key.columns() + does.columns() + 3;
    let always = |binding: &Binding| ALWAYS.contains(&binding.action);
    let width = usize::from(page.area.width);
    let needed: usize = here.iter().filter(|key| always(key.0)).map(wide).sum();
    let fits = |position: &String| needed + position.columns() <= width;
    let position = position(page, ui, live).into_iter().find(fits).unwrap_or_default();
    // Behind the last key there need be no blanks where nothing follows.
    let blank = usize::from(position.is_empty());
    let mut room = (width + blank).saturating_sub(position.columns() + needed);
    let mut line = Line::from(" ");
    for key in here {
        if !always(key.0) {
            if wide(&key) > room {
                continue;
            }
            room -= wide(&key);
        }
        let (_, key, does) = key;
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

/// Where one is in what does not fit, from the longest form to the shortest.
fn position(page: &Page<'_>, ui: &UiState, live: &Live) -> Vec<String> {
    match ui.screen {
        Screen::Processes | Screen::Calls | Screen::Detail(_) => {
            let entries = rows::entries(ui, live);
            match entries.len() {
                0 => Vec::new(),
                len => vec![format!("{}/{len} ", rows::selected(ui, &entries) + 1)],
            }
        }
        Screen::Help | Screen::Ledger | Screen::InFlight => {
            let lines = text(ui, live, page.area.width).len();
            let room = usize::from(page.area.height.saturating_sub(AROUND_TEXT));
            if lines <= room {
                return Vec::new();
            }
            let arrow = if ui.scroll >= last_scroll(ui, live) { '▲' } else { '▼' };
            vec![format!("{arrow} more "), format!("{arrow} ")]
        }
    }
}
