//! The terminal: taken on opening, given back on drop, on a panic and while suspended.
//!
//! Knows nothing of what is drawn.

use std::{
    io::{self, IsTerminal, Write, stdin, stdout},
    panic,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use crossterm::{
    cursor, queue,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use nix::sys::termios::{FlushArg, SetArg, tcflush, tcgetattr, tcsetattr};
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect};

use super::{Live, UiState, render};
use crate::{message, writer::Writer};

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

/// The terminal, in raw mode and on its alternate screen for as long as this lives. Nothing here waits
/// for it to be read.
pub struct Term {
    terminal: Terminal<CrosstermBackend<Frames>>,
    writer: Arc<Writer>,
}

/// What writes to the terminal while it is ours, so that a panic knows how to give it back.
static TAKEN: Mutex<Option<Arc<Writer>>> = Mutex::new(None);

/// How long to wait for the terminal to take what gives it back.
const PATIENCE: Duration = Duration::from_millis(300);

/// Hands a whole frame at a time to the thread that writes to the terminal.
struct Frames {
    frame: Vec<u8>,
    writer: Arc<Writer>,
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.push(std::mem::take(&mut self.frame));
        Ok(())
    }
}

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

    /// Takes the terminal, and starts the thread that writes to it.
    ///
    /// # Errors
    /// When input or output is no terminal, or it cannot be switched.
    pub fn open() -> Result<Self, TermError> {
        Self::check()?;
        restore_on_panic();
        let writer = Arc::new(Writer::start(message::stdout_file()?)?);
        take(&writer)?;
        let frames = Frames { frame: Vec::new(), writer: Arc::clone(&writer) };
        let terminal = Terminal::new(CrosstermBackend::new(frames)).inspect_err(|_| restore())?;
        Ok(Self { terminal, writer })
    }

    /// Draws the screen; `false`: not yet, since the terminal has not taken the one before. See
    /// [`Term::ready`].
    pub fn draw(&mut self, ui: &UiState, live: &Live) -> bool {
        if self.writer.pending() > 0 {
            return false;
        }
        // Its size may be unknown for a moment. That ends nothing: the next frame is drawn anyway.
        let _ = self.terminal.draw(|frame| render(frame, ui, live));
        true
    }

    /// Completes when the terminal has taken everything.
    pub async fn ready(&self) {
        self.writer.idle().await;
    }

    /// Completes when the terminal is gone.
    pub async fn gone(&self) {
        self.writer.failed().await;
    }

    /// Width and height; `None` where it does not tell.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.terminal.size().ok().map(|size| (size.width, size.height))
    }

    /// Clears the screen, so that the next drawing draws all of it. Asks the terminal nothing: not
    /// every one answers.
    pub fn clear(&mut self) {
        if let Some((width, height)) = self.size() {
            let _ = self.terminal.resize(Rect::new(0, 0, width, height));
            let _ = self.terminal.backend_mut().flush();
        }
    }

    /// Gives the terminal back, for as long as this process is stopped.
    pub fn leave(&mut self) {
        restore();
    }

    /// Takes the terminal again, in whatever state it was left by others.
    pub fn resume(&mut self) {
        // Forgets what was set before: a shell sets the terminal for itself while we are stopped.
        let _ = disable_raw_mode();
        let _ = take(&self.writer);
        self.clear();
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        restore();
    }
}

fn take(writer: &Arc<Writer>) -> io::Result<()> {
    if let Ok(mut taken) = TAKEN.lock() {
        *taken = Some(Arc::clone(writer));
    }
    let enter = || -> io::Result<()> {
        enable_raw_mode()?;
        let mut bytes = Vec::new();
        queue!(bytes, EnterAlternateScreen, cursor::Hide)?;
        writer.push(bytes);
        Ok(())
    };
    enter().inspect_err(|_| restore())
}

/// Gives the terminal back, once. Errors are ignored: without a terminal, they cannot be shown.
fn restore() {
    // A panic while this is locked has nothing to give back yet, or already has.
    let Some(writer) = TAKEN.try_lock().ok().and_then(|mut taken| taken.take()) else { return };
    let mut bytes = Vec::new();
    let _ = queue!(bytes, LeaveAlternateScreen, cursor::Show);
    writer.push(bytes.clone());
    if !writer.wait(PATIENCE) {
        // The terminal is not read. What it has not taken is dropped to make room; a sequence that
        // is cut off by that ends with CAN.
        writer.discard();
        let _ = tcflush(stdout(), FlushArg::TCOFLUSH);
        // Only this wakes the thread that waits for room (`n_tty_set_termios` of drivers/tty/n_tty.c).
        let _ = tcgetattr(stdout()).and_then(|mode| tcsetattr(stdout(), SetArg::TCSANOW, &mode));
        bytes.insert(0, 0x18);
        writer.push(bytes);
        writer.wait(PATIENCE);
    }
    let _ = disable_raw_mode();
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
