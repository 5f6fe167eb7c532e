//! The state that keys change: screen, window, order, filter, selection.
//!
//! Knows no keys and draws nothing. Holds no measurement but the one that a pause froze.

use super::{Live, Theme, rows::RowKey};
use crate::{
    model::{Window, column},
    sample::KindKey,
};

/// Which screen is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// All processes, one row each, to choose one from.
    Processes,
    /// All syscalls, one row each.
    Calls,
    /// One syscall.
    Detail(KindKey),
    /// The keys and the columns explained.
    Help,
    /// What became of every call.
    Ledger,
    /// The calls that are open now.
    InFlight,
}

/// Which names are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All.
    Off,
    /// Those that contain this, which is still being typed.
    Typing(String),
    /// Those that contain this.
    On(String),
}

impl Filter {
    /// What names have to contain.
    pub fn text(&self) -> &str {
        match self {
            Self::Off => "",
            Self::Typing(text) | Self::On(text) => text,
        }
    }
}

/// The order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) key: column::Key,
    /// Against the column's own direction.
    pub(super) reversed: bool,
}

/// Everything the screen remembers from one key to the next.
#[derive(Clone, Debug)]
pub struct UiState {
    pub(super) screen: Screen,
    /// The screens that `Back` returns to, the nearest last.
    pub(super) back: Vec<Screen>,
    pub(super) window: Window,
    pub(super) sort: Sort,
    pub(super) filter: Filter,
    /// The selected row; `None` is the first one, whichever that is.
    pub(super) selected: Option<RowKey>,
    /// The first line shown of a screen of text.
    pub(super) scroll: u16,
    /// What is shown while paused.
    pub(super) frozen: Option<Box<Live>>,
    /// Width and height of the terminal.
    pub(super) size: (u16, u16),
    pub(super) theme: Theme,
    /// Whether the target was chosen from the list of processes; the user can return to it.
    pub(super) chosen: bool,
    /// Why the last action failed; the next action clears it.
    pub(super) failed: Option<String>,
}

impl UiState {
    /// A row for each syscall, as it is before any key.
    pub fn new(no_color: bool) -> Self {
        Self {
            screen: Screen::Calls,
            back: Vec::new(),
            window: Window::Interval,
            // The first question is what costs CPU time.
            sort: Sort { key: column::Key::OnCpuPerSec, reversed: false },
            filter: Filter::Off,
            selected: None,
            scroll: 0,
            frozen: None,
            size: (80, 24),
            theme: Theme::new(no_color),
            chosen: false,
            failed: None,
        }
    }

    /// A row for each process, to choose one from.
    pub fn processes(no_color: bool) -> Self {
        Self { screen: Screen::Processes, ..Self::new(no_color) }
    }

    /// A row for each syscall of what was chosen from such a list.
    pub fn chosen(no_color: bool) -> Self {
        Self { chosen: true, ..Self::new(no_color) }
    }

    /// Draws with ASCII characters alone, where `ascii`.
    #[must_use]
    pub fn in_ascii(mut self, ascii: bool) -> Self {
        self.theme.ascii = ascii;
        self
    }

    /// Sets the size of the terminal: at the start and when it changes. The length of a page and the columns that
    /// can be sorted by depend on it; drawing depends on the frame only.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
    }

    /// Shows everything since attaching from now on, rather than the interval: the target has exited.
    /// A screen that is paused stays as it is until it goes on.
    pub fn show_totals(&mut self) {
        if self.frozen.is_none() {
            self.window = Window::SinceAttach;
        }
    }

    /// Shows why the last action failed.
    pub fn fail(&mut self, why: String) {
        self.failed = Some(why);
    }

    /// What is on the screen: `live`, or what it was when the screen was paused.
    pub fn shown<'a>(&'a self, live: &'a Live) -> &'a Live {
        self.frozen.as_deref().unwrap_or(live)
    }

    /// The screen that is shown.
    pub fn screen(&self) -> Screen {
        self.screen
    }

    /// Which names are shown.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
}
