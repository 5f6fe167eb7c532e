//! The terminal: taken on opening, given back on drop, on a panic and while suspended.
//!
//! Knows nothing of what is drawn.

use std::{
    io::{self, IsTerminal, Stdout, stdin, stdout},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor, execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use nix::sys::signal::{Signal, raise};
use ratatui::{Terminal, backend::CrosstermBackend};

use super::{Live, UiState, render};

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum TermError {
    /// Input or output is a pipe or a file.
    #[error("syscost top needs a terminal; use `syscost stat -p PID` for pipes and files")]
    NoTerminal,
    /// The terminal refused.
    #[error("cannot use the terminal: {0}")]
    Io(#[from] io::Error),
}

/// The terminal, in raw mode and on its alternate screen for as long as this lives.
pub struct Term {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// Whether the terminal is ours at the moment, so that a panic knows whether to give it back.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl Term {
    /// Whether there is a terminal to take.
    ///
    /// # Errors
    /// When input or output is none.
    pub fn check() -> Result<(), TermError> {
        if stdin().is_terminal() && stdout().is_terminal() {
            Ok(())
        } else {
            Err(TermError::NoTerminal)
        }
    }

    /// Takes the terminal.
    ///
    /// # Errors
    /// When input or output is no terminal, or it cannot be switched.
    pub fn open() -> Result<Self, TermError> {
        Self::check()?;
        restore_on_panic();
        take()?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).inspect_err(|_| restore())?;
        Ok(Self { terminal })
    }

    /// Draws the screen.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, ui: &UiState, live: &Live) -> io::Result<()> {
        self.terminal.draw(|frame| render(frame, ui, live)).map(drop)
    }

    /// Width and height.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Forgets what is on the screen, so that the next drawing draws all of it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Gives the terminal back and stops this process, as Ctrl-Z does in a shell. Returns once
    /// the shell has continued it; then [`Term::resume`] takes the terminal again.
    ///
    /// # Errors
    /// When the signal cannot be raised.
    pub fn suspend(&mut self) -> io::Result<()> {
        restore();
        raise(Signal::SIGTSTP)?;
        Ok(())
    }

    /// Takes the terminal again after [`Term::suspend`].
    ///
    /// # Errors
    /// When the terminal is gone or cannot be switched.
    pub fn resume(&mut self) -> io::Result<()> {
        take()?;
        self.terminal.clear()
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()
        .and_then(|()| execute!(stdout(), EnterAlternateScreen, cursor::Hide))
        .inspect_err(|_| restore())
}

/// Gives the terminal back, once. Its errors have nobody to be told to: the terminal is gone.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// Lets a panic print its message on the ordinary screen, where it stays.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            print(panic);
        }));
    });
}
