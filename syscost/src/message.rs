//! What is said besides the numbers: lines on stderr, and text on stdout. The only place that writes
//! to either by name. Nothing here panics or fails for want of a reader.

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

/// How much may wait for a reader of stderr, bytes.
const ROOM: usize = 64 * 1024;

/// How long to wait in the end for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes to stderr, once [`in_background`] was called.
static BACKGROUND: Mutex<Option<Writer>> = Mutex::new(None);

/// Says `line` on stderr, after the program's name.
pub fn say(line: impl Display) {
    let line = line.to_string();
    raw(&format!("syscost: {}\n", printable(&line)));
}

/// Writes `text` to stderr as it is.
pub fn raw(text: &str) {
    let background = BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner);
    match &*background {
        // A reader that does not read has no use for more.
        Some(writer) if writer.pending() > ROOM => {}
        Some(writer) => writer.push(text.as_bytes().to_vec()),
        // There is nobody else to be told that this fails.
        None => drop(stderr().write_all(text.as_bytes())),
    }
}

/// Writes to stderr in a thread of its own from now on: [`say`] no longer waits for a reader. To be
/// called once privileges are given up.
pub fn in_background() {
    let sink = stderr().as_fd().try_clone_to_owned().map(File::from);
    let writer = sink.and_then(Writer::start).ok();
    *BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner) = writer;
}

/// Waits until everything said is written, but not for a reader that does not read.
pub fn finish() {
    if let Some(writer) = &*BACKGROUND.lock().unwrap_or_else(PoisonError::into_inner) {
        writer.wait(PATIENCE);
    }
}

/// Writes `text` to stdout. A reader that went away has no use for the rest, which is not an error.
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

/// As the kernel says it.
fn no_stdout() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

/// Stdout, as a file of our own. If there is none, nothing can be written to it.
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
