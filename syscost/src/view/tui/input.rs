//! What comes from the terminal: keys, as the actions they ask for, and its size.
//!
//! Knows no clock and no measurement; waits, and decides nothing.

use std::{io, thread};

use crossterm::event::{Event as Raw, EventStream};
use tokio_stream::StreamExt;

use super::{Action, UiState, keymap};
use crate::inherited;

/// Something that came from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key that means something on the screen that is shown.
    Action(Action),
    /// The terminal has another size now: width, height.
    Resize(u16, u16),
    /// Nothing that means anything here.
    Other,
}

/// The events of the terminal, in order.
#[derive(Debug)]
pub struct Input {
    events: EventStream,
}

impl Input {
    /// Listens to the terminal.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn listen() -> io::Result<Self> {
        // The stream starts a thread, which gets the capabilities of the thread that makes the stream.
        let events = || {
            inherited::drop_capabilities();
            EventStream::new()
        };
        let events = thread::Builder::new().spawn(events)?.join();
        Ok(Self { events: events.map_err(|_| io::Error::other("no thread for the keys"))? })
    }

    /// The next event; `None` when the terminal is gone. Nothing is lost when the wait for it is
    /// given up.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub async fn next(&mut self, ui: &UiState) -> io::Result<Option<Event>> {
        let Some(event) = self.events.next().await else { return Ok(None) };
        Ok(Some(match event? {
            Raw::Key(key) => keymap::action(key, ui).map_or(Event::Other, Event::Action),
            Raw::Resize(width, height) => Event::Resize(width, height),
            _ => Event::Other,
        }))
    }
}
