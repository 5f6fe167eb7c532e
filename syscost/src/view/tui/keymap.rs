//! Which key asks for what, where. The one table of keys: the help screen and the footer are made
//! from it.
//!
//! Knows no screen's contents, and decides nothing.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{Action, Filter, Screen, UiState};

/// Where a key is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the list of processes.
    Processes,
    /// On the table of syscalls.
    Calls,
    /// On either table, while a filter is typed.
    Filter,
    /// On the screen of one syscall.
    Detail,
    /// On the help screen.
    Help,
    /// On the ledger screen.
    Ledger,
    /// The screen of the calls that are open now.
    InFlight,
}

/// Which keys a binding is about.
pub enum Keys {
    /// Any of these; the first one is shown in the footer.
    AnyOf(&'static [(KeyCode, KeyModifiers)]),
    /// Every character that has no binding of its own.
    Characters,
}

/// Keys, and what they ask for.
pub struct Binding {
    /// The keys.
    pub keys: Keys,
    /// What they ask for. A binding of characters asks for the one that was typed.
    pub action: Action,
    /// Where.
    pub places: &'static [Place],
    /// What it does, for the help screen.
    pub help: &'static str,
    /// What it does, for the footer; empty where the footer has no room to spare for it.
    pub footer: &'static str,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;

use Place::{Calls, Detail, Filter as Typing, Help, InFlight, Ledger, Processes};

/// Every binding, in the order of the help screen and the footer.
pub static BINDINGS: &[Binding] = &[
    bind(
        &[(KeyCode::Enter, NONE), (KeyCode::Right, NONE)],
        Action::Open,
        &[Calls],
        "open the selected syscall",
        "open",
    ),
    bind(
        &[(KeyCode::Enter, NONE), (KeyCode::Right, NONE)],
        Action::Open,
        &[Processes],
        "attach to the process",
        "attach",
    ),
    bind(
        &[(KeyCode::Esc, NONE)],
        Action::Back,
        &[Processes, Calls],
        "drop filter; to the list",
        "show all",
    ),
    bind(
        &[(KeyCode::Esc, NONE), (KeyCode::Left, NONE)],
        Action::Back,
        &[Detail, Help, Ledger, InFlight],
        "back to the screen before",
        "back",
    ),
    bind(
        &[(KeyCode::Up, NONE), (KeyCode::Char('k'), NONE)],
        Action::Up,
        &[Processes, Calls, Help, Ledger, InFlight],
        "up",
        "",
    ),
    bind(
        &[(KeyCode::Down, NONE), (KeyCode::Char('j'), NONE)],
        Action::Down,
        &[Processes, Calls, Help, Ledger, InFlight],
        "down",
        "",
    ),
    bind(
        &[(KeyCode::Up, NONE), (KeyCode::Char('k'), NONE)],
        Action::Up,
        &[Detail],
        "the syscall above",
        "above",
    ),
    bind(
        &[(KeyCode::Down, NONE), (KeyCode::Char('j'), NONE)],
        Action::Down,
        &[Detail],
        "the syscall below",
        "below",
    ),
    bind(
        &[(KeyCode::PageUp, NONE), (KeyCode::Char('b'), CTRL)],
        Action::PageUp,
        &[Processes, Calls, Help, Ledger, InFlight],
        "a page up",
        "",
    ),
    bind(
        &[(KeyCode::PageDown, NONE), (KeyCode::Char('f'), CTRL)],
        Action::PageDown,
        &[Processes, Calls, Help, Ledger, InFlight],
        "a page down",
        "",
    ),
    bind(
        &[(KeyCode::Char('g'), NONE), (KeyCode::Home, NONE)],
        Action::First,
        &[Processes, Calls, Help, Ledger, InFlight],
        "to the top",
        "",
    ),
    bind(
        &[(KeyCode::Char('G'), NONE), (KeyCode::End, NONE)],
        Action::Last,
        &[Processes, Calls, Help, Ledger, InFlight],
        "to the bottom",
        "",
    ),
    bind(
        &[(KeyCode::Char('s'), NONE), (KeyCode::Char('>'), NONE)],
        Action::SortNext,
        &[Processes, Calls],
        "sort by the next column",
        "sort",
    ),
    bind(
        &[(KeyCode::Char('S'), NONE), (KeyCode::Char('<'), NONE)],
        Action::SortPrevious,
        &[Processes, Calls],
        "sort by the column before",
        "",
    ),
    bind(
        &[(KeyCode::Char('r'), NONE)],
        Action::Reverse,
        &[Processes, Calls],
        "reverse the order",
        "",
    ),
    bind(
        &[(KeyCode::Char('/'), NONE)],
        Action::Filter,
        &[Processes, Calls],
        "only names that contain …",
        "filter",
    ),
    bind(
        &[(KeyCode::Char('t'), NONE), (KeyCode::Tab, NONE)],
        Action::ToggleWindow,
        &[Processes, Calls, Detail],
        "last interval / since start",
        "window",
    ),
    bind(
        &[(KeyCode::Char(' '), NONE), (KeyCode::Char('p'), NONE)],
        Action::Pause,
        &[Processes, Calls, Detail, Ledger, InFlight],
        "freeze the screen, or go on",
        "pause",
    ),
    bind(
        &[(KeyCode::Char('?'), NONE), (KeyCode::F(1), NONE)],
        Action::Help,
        &[Processes, Calls, Detail, Help, Ledger, InFlight],
        "this help",
        "help",
    ),
    bind(
        &[(KeyCode::Char('q'), NONE)],
        Action::Quit,
        &[Processes, Calls, Detail, Help, Ledger, InFlight],
        "quit",
        "quit",
    ),
    bind(
        &[(KeyCode::Char('i'), NONE)],
        Action::InFlight,
        &[Processes, Calls, Detail, Help, Ledger, InFlight],
        "calls that are open now",
        "in flight",
    ),
    bind(
        &[(KeyCode::Char('l'), NONE)],
        Action::Ledger,
        &[Processes, Calls, Detail, Help, Ledger, InFlight],
        "what became of every call",
        "ledger",
    ),
    bind(
        &[(KeyCode::Char('c'), CTRL)],
        Action::Interrupt,
        &[Processes, Calls, Typing, Detail, Help, Ledger, InFlight],
        "interrupt command, or quit",
        "",
    ),
    bind(
        &[(KeyCode::Char('z'), CTRL)],
        Action::Suspend,
        &[Processes, Calls, Typing, Detail, Help, Ledger, InFlight],
        "stop; fg continues",
        "",
    ),
    bind(
        &[(KeyCode::Char('l'), CTRL)],
        Action::Redraw,
        &[Processes, Calls, Typing, Detail, Help, Ledger, InFlight],
        "draw the screen anew",
        "",
    ),
    Binding {
        keys: Keys::Characters,
        action: Action::FilterType(' '),
        places: &[Typing],
        help: "in a filter: add to it",
        footer: "",
    },
    bind(&[(KeyCode::Enter, NONE)], Action::FilterKeep, &[Typing], "in a filter: keep it", "keep"),
    bind(
        &[(KeyCode::Esc, NONE)],
        Action::FilterClear,
        &[Typing],
        "in a filter: drop it",
        "show all",
    ),
    bind(
        &[(KeyCode::Backspace, NONE), (KeyCode::Char('h'), CTRL)],
        Action::FilterErase,
        &[Typing],
        "in a filter: erase",
        "",
    ),
    bind(&[(KeyCode::Up, NONE)], Action::Up, &[Typing], "in a filter: up", ""),
    bind(&[(KeyCode::Down, NONE)], Action::Down, &[Typing], "in a filter: down", ""),
];

const fn bind(
    keys: &'static [(KeyCode, KeyModifiers)],
    action: Action,
    places: &'static [Place],
    help: &'static str,
    footer: &'static str,
) -> Binding {
    Binding { keys: Keys::AnyOf(keys), action, places, help, footer }
}

impl Place {
    /// Where a key pressed now is pressed.
    pub fn of(ui: &UiState) -> Self {
        match (ui.screen(), ui.filter()) {
            (Screen::Processes | Screen::Calls, Filter::Typing(_)) => Self::Filter,
            (Screen::Processes, _) => Self::Processes,
            (Screen::Calls, _) => Self::Calls,
            (Screen::Detail(_), _) => Self::Detail,
            (Screen::Help, _) => Self::Help,
            (Screen::Ledger, _) => Self::Ledger,
            (Screen::InFlight, _) => Self::InFlight,
        }
    }
}

impl Binding {
    /// The names of its keys, as help shows them.
    pub fn labels(&self) -> Vec<String> {
        match self.keys {
            Keys::AnyOf(keys) => {
                keys.iter().map(|(code, modifiers)| label(*code, *modifiers)).collect()
            }
            Keys::Characters => vec!["a…z".into()],
        }
    }
}

/// What a key asks for in the present state; `None` where it means nothing.
pub fn action(key: KeyEvent, ui: &UiState) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let place = Place::of(ui);
    // A capital or a sign says itself that shift was held.
    let pressed = match key.code {
        KeyCode::Char(_) => (key.code, key.modifiers - KeyModifiers::SHIFT),
        code => (code, key.modifiers),
    };
    let here = || BINDINGS.iter().filter(|binding| binding.places.contains(&place));
    let exact = here().find(|binding| match binding.keys {
        Keys::AnyOf(keys) => keys.contains(&pressed),
        Keys::Characters => false,
    });
    if let Some(binding) = exact {
        return Some(binding.action);
    }
    match pressed {
        (KeyCode::Char(typed), NONE)
            if here().any(|binding| matches!(binding.keys, Keys::Characters)) =>
        {
            Some(Action::FilterType(typed))
        }
        _ => None,
    }
}

fn label(code: KeyCode, modifiers: KeyModifiers) -> String {
    let name = match code {
        KeyCode::Enter => "⏎".into(),
        KeyCode::Esc => "esc".into(),
        KeyCode::Tab => "tab".into(),
        KeyCode::Backspace => "⌫".into(),
        KeyCode::Up => "↑".into(),
        KeyCode::Down => "↓".into(),
        KeyCode::Left => "←".into(),
        KeyCode::Right => "→".into(),
        KeyCode::PageUp => "PgUp".into(),
        KeyCode::PageDown => "PgDn".into(),
        KeyCode::Home => "Home".into(),
        KeyCode::End => "End".into(),
        KeyCode::F(n) => format!("F{n}"),
        KeyCode::Char(' ') => "space".into(),
        KeyCode::Char(c) if modifiers == CTRL => return format!("^{}", c.to_ascii_uppercase()),
        KeyCode::Char(c) => c.to_string(),
        other => format!("{other:?}"),
    };
    if modifiers.is_empty() { name } else { format!("{modifiers}-{name}") }
}
