//! The end of a command's output, kept in memory while the live screen has the terminal.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Read},
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{fcntl::OFlag, unistd::pipe2};

use crate::inherited;

/// How much is kept, bytes.
const KEPT: usize = 1024 * 1024;

/// How long to wait at the end for what is still in the pipe.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pipe that a command writes to, and the end of what came through it. A thread of its own reads the pipe, so that
/// the command does not wait for the screen.
#[derive(Debug)]
pub struct Capture {
    pipe: Arc<File>,
    tail: Arc<Mutex<Tail>>,
}

/// The end of what a command has written.
#[derive(Debug, Default)]
struct Tail {
    kept: VecDeque<u8>,
    written: u64,
    ended: bool,
}

/// What a command has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The last part of it.
    pub tail: Vec<u8>,
    /// All of it, bytes.
    pub written: u64,
}

impl Capture {
    /// Makes a pipe. The second value is the end for the command.
    ///
    /// # Errors
    /// When no pipe can be made.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // With the usual size, the command would wait for the reading thread more often.
        let _ = nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETPIPE_SZ(KEPT as i32));
        Ok((Self { pipe: Arc::new(read.into()), tail: Arc::default() }, write))
    }

    /// Starts to read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(&self) -> io::Result<()> {
        let (pipe, tail) = (Arc::clone(&self.pipe), Arc::clone(&self.tail));
        let thread = thread::Builder::new().name("capture".to_owned()).stack_size(256 * 1024);
        thread.spawn(move || {
            inherited::drop_capabilities();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match (&*pipe).read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => lock(&tail).add(&buffer[..read]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            lock(&tail).ended = true;
        })?;
        Ok(())
    }

    /// What has been written so far. Processes that the command has left behind may write more.
    pub(super) fn output(&self) -> Output {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let tail = lock(&self.tail);
            // Asked under the lock: bytes that were read before are in the tail, or the reading thread waits for
            // the lock.
            if tail.ended || Instant::now() >= give_up {
                return tail.output();
            }
            let before = tail.written;
            let is_empty = self.is_empty();
            drop(tail);
            thread::sleep(Duration::from_millis(2));
            if is_empty && lock(&self.tail).written == before {
                return lock(&self.tail).output();
            }
        }
    }

    fn is_empty(&self) -> bool {
        let mut waiting: libc::c_int = 0;
        // SAFETY: the kernel writes one integer to the place given.
        let asked = unsafe { libc::ioctl(self.pipe.as_raw_fd(), libc::FIONREAD, &raw mut waiting) };
        asked != 0 || waiting == 0
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.kept.extend(bytes);
        let too_many = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..too_many);
    }

    fn output(&self) -> Output {
        Output { tail: self.kept.iter().copied().collect(), written: self.written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut tail = Tail::default();
        tail.add(&vec![1; KEPT - 1]);
        tail.add(&[2, 3, 4]);
        let output = tail.output();
        assert_eq!(output.written, KEPT as u64 + 2);
        assert_eq!(output.tail.len(), KEPT);
        assert_eq!(output.tail[KEPT - 4..], [1, 2, 3, 4]);
    }
}
