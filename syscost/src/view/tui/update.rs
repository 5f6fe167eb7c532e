//! Decides what an action changes. The only place that changes the screen's state.
//!
//! Knows no keys and draws nothing.

use super::{
    Action, Effect, Filter, Live, Screen, UiState,
    columns::{Contents, Layout, Table},
    render,
    rows::{self, RowKey},
};
use crate::{model::Window, sample::GroupKey};

/// Carries out `action`; `live` is the newest measurement. What the run loop has to do is
/// returned.
pub fn update(ui: &mut UiState, action: Action, live: &Live) -> Option<Effect> {
    ui.failed = None;
    match action {
        Action::Quit => return Some(Effect::Quit),
        Action::Interrupt => return Some(Effect::Interrupt),
        Action::Suspend => return Some(Effect::Suspend),
        Action::Redraw => return Some(Effect::Redraw),
        Action::Up => go(ui, live, |at, _, _| at.saturating_sub(1)),
        Action::Down => go(ui, live, |at, _, _| at + 1),
        Action::PageUp => go(ui, live, |at, page, _| at.saturating_sub(page)),
        Action::PageDown => go(ui, live, |at, page, _| at + page),
        Action::First => go(ui, live, |_, _, _| 0),
        Action::Last => go(ui, live, |_, _, last| last),
        Action::Open => return open_selected(ui, live),
        Action::Back => return back(ui),
        Action::Help => return toggle(ui, Screen::Help),
        Action::Ledger => return toggle(ui, Screen::Ledger),
        Action::InFlight => return toggle(ui, Screen::InFlight),
        Action::ToggleWindow => {
            ui.window = match ui.window {
                Window::Interval => Window::SinceAttach,
                Window::SinceAttach => Window::Interval,
            }
        }
        Action::Pause => {
            ui.frozen = match ui.frozen.take() {
                Some(frozen) => {
                    if live.since_attach.subject.exited && !frozen.since_attach.subject.exited {
                        ui.window = Window::SinceAttach;
                    }
                    None
                }
                None => Some(Box::new(live.clone())),
            }
        }
        Action::SortNext => sort_by(ui, live, 1),
        Action::SortPrevious => sort_by(ui, live, -1),
        Action::Reverse => ui.sort.reversed = !ui.sort.reversed,
        Action::Filter => ui.filter = Filter::Typing(ui.filter.text().to_owned()),
        Action::FilterType(typed) => edit_filter(ui, |text| text.push(typed)),
        Action::FilterErase => edit_filter(ui, |text| {
            text.pop();
        }),
        Action::FilterKeep => {
            ui.filter = match ui.filter.text() {
                "" => Filter::Off,
                text => Filter::On(text.to_owned()),
            }
        }
        Action::FilterClear => ui.filter = Filter::Off,
    }
    None
}

/// Moves the selection or the text: `to` is given where it is, the length of a page, and the last
/// place.
fn go(ui: &mut UiState, live: &Live, to: impl FnOnce(usize, usize, usize) -> usize) {
    let height = usize::from(ui.size.1);
    match ui.screen {
        Screen::Processes | Screen::Calls | Screen::Detail(_) => {
            let entries = rows::entries(ui, ui.shown(live));
            let Some(last) = entries.len().checked_sub(1) else { return };
            // Headings and footer are no rows either.
            let around = usize::from(render::header_height(ui.size.1)) + 2;
            let page = height.saturating_sub(around).max(1);
            let at = to(rows::selected(ui, &entries), page, last).min(last);
            let key = entries[at].key.clone();
            if let (Screen::Detail(opened), RowKey::Syscall(key)) = (&mut ui.screen, &key) {
                *opened = *key;
            }
            ui.selected = Some(key);
        }
        Screen::Help | Screen::Ledger | Screen::InFlight => {
            let last = render::last_scroll(ui, live);
            let page = height.saturating_sub(2).max(1);
            let at = to(ui.scroll.min(last).into(), page, last.into());
            ui.scroll = at.min(last.into()) as u16;
        }
    }
}

fn open_selected(ui: &mut UiState, live: &Live) -> Option<Effect> {
    let entries = rows::entries(ui, ui.shown(live));
    let key = entries.get(rows::selected(ui, &entries))?.key.clone();
    ui.selected = Some(key.clone());
    match key {
        RowKey::Syscall(key) => {
            open(ui, Screen::Detail(key));
            None
        }
        RowKey::Group(GroupKey::Process { pid, .. }) => {
            // Whoever returns wants to see what is there then.
            ui.frozen = None;
            Some(Effect::Attach(pid))
        }
        RowKey::Group(_) => None,
    }
}

fn open(ui: &mut UiState, screen: Screen) {
    // Going round in circles must not make the way back longer.
    if let Some(before) = ui.back.iter().position(|other| *other == screen) {
        ui.back.truncate(before);
    } else {
        ui.back.push(ui.screen);
    }
    ui.screen = screen;
    ui.scroll = 0;
}

fn toggle(ui: &mut UiState, screen: Screen) -> Option<Effect> {
    if ui.screen == screen {
        return back(ui);
    }
    open(ui, screen);
    None
}

fn back(ui: &mut UiState) -> Option<Effect> {
    if let Some(screen) = ui.back.pop() {
        ui.screen = screen;
        ui.scroll = 0;
    } else if ui.filter != Filter::Off {
        ui.filter = Filter::Off;
    } else if ui.chosen {
        return Some(Effect::Leave);
    }
    None
}

fn sort_by(ui: &mut UiState, live: &Live, step: isize) {
    let contents = Contents::of(ui, ui.shown(live));
    let keys = Layout::fit(Table::of(ui.screen), ui.size.0, contents).sortable();
    let at = keys.iter().position(|key| *key == contents.sort).unwrap_or(0) as isize;
    ui.sort.key = keys[(at + step).rem_euclid(keys.len() as isize) as usize];
    // Each column begins in its own direction.
    ui.sort.reversed = false;
}

fn edit_filter(ui: &mut UiState, edit: impl FnOnce(&mut String)) {
    if let Filter::Typing(text) = &mut ui.filter {
        edit(text);
    }
}
