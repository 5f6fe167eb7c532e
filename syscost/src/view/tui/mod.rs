//! The live screen: one model in, keys in, characters out.
//!
//! The cycle is `key -> Action -> update(UiState) -> Effect`, and apart from it `render`, which
//! draws and changes nothing. Knows no source, no probe and no clock: every time on the screen is
//! one of the model's. The only importer of ratatui and crossterm.

mod action;
mod axis;
mod bars;
mod columns;
mod input;
pub mod keymap;
mod render;
mod rows;
mod state;
mod term;
mod theme;
mod update;

#[cfg(test)]
mod tests;

use crate::model::{Model, Window};
pub use action::{Action, Effect};
pub use input::{Event, Input};
pub use render::render;
pub use state::{Filter, Screen, UiState};
pub use term::{Term, TermError};
pub use theme::{Ink, Theme};
pub use update::update;

/// Everything that is known at a moment: what the screen shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// What happened between the last two samples; before there are two, the same as
    /// `since_attach`.
    pub interval: Model,
    /// Everything since the probes were attached.
    pub since_attach: Model,
    /// Further notes, a few words each.
    pub notes: Vec<String>,
}

impl Live {
    /// The model of a window.
    pub fn model(&self, window: Window) -> &Model {
        match window {
            Window::Interval => &self.interval,
            Window::SinceAttach => &self.since_attach,
        }
    }
}
