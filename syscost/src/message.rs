//! Messages: lines on stderr, and text on stdout. The only place that writes to stderr or stdout by name. Nothing here
//! panics or fails because a reader is gone.

use std::{
    fmt::Display,
    fs::File,
    io::{self, ErrorKind, IsTerminal, Write, stderr, stdout},
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::unistd::{Pid, tcgetpgrp};

use crate::{decode::printable::printable, inherited::has_no_stdout, writer::Writer};

/// How many bytes may wait for a reader of stderr.
const ROOM: usize = 64 * 1024;

/// How long to wait at the end for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The thread that writes to stderr, once [`in_background`] was called.
static BACKGROUND: Mutex<Option<Writer>> = Mutex::new(None);

/// Writes the program's name and `line` to stderr.
pub fn say(line: impl Display) {
    let line = line.to_string();
    raw(&format!("syscost: {}\n", printable(&line)));
}

/// Writes `text` to stderr.
pub fn raw(text: &str) {
    let background = BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner);
    match &*background {
        // Too much is waiting: the reader does not read.
        Some(writer) if writer.pending() > ROOM => {}
        Some(writer) => writer.push(text.as_bytes().to_vec()),
        // There is no other place to report an error.
        None => drop(stderr().write_all(text.as_bytes())),
    }
}

/// From now on a thread writes to stderr, and [`say`] no longer waits for a reader. Call this after privileges are given
/// up.
pub fn in_background() {
    let sink = stderr().as_fd().try_clone_to_owned().map(File::from);
    let writer = sink.and_then(Writer::start).ok();
    *BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner) = writer;
}

/// Waits until all messages are written, but only a moment for a reader that does not read.
pub fn finish() {
    if let Some(writer) = &*BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner) {
        writer.wait(PATIENCE);
    }
}

/// Writes `text` to stdout. It is not an error if the reader is gone.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> Result<()> {
    if has_no_stdout() {
        return Err(no_stdout()).context("cannot write the output");
    }
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the output"),
    }
}

/// The error in the kernel's words.
fn no_stdout() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

/// A duplicate of stdout. If the process was started without one, writing to it fails.
///
/// # Errors
/// When there is no descriptor left.
pub fn stdout_file() -> io::Result<File> {
    if has_no_stdout() {
        return File::open("/dev/null");
    }
    stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// Whether stdout is a terminal.
pub fn stdout_is_terminal() -> bool {
    stdout().is_terminal()
}

/// Whether stderr is a terminal.
pub fn stderr_is_terminal() -> bool {
    stderr().is_terminal()
}

/// The process group in the foreground of the terminal that stderr is.
///
/// # Errors
/// When stderr is no terminal, or not the one that controls this process.
pub fn foreground_of_stderr() -> nix::Result<Pid> {
    tcgetpgrp(stderr())
}
