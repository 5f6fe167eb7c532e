//! Writes to a file, a pipe or a terminal in a thread of its own, so that nothing else waits for a slow reader.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::Notify;

use crate::inherited;

/// Something to write to, which may be in non-blocking mode.
pub trait Sink: Write + AsFd + Send + 'static {}

impl<T: Write + AsFd + Send + 'static> Sink for T {}

/// A queue of bytes, and the thread that writes them.
pub struct Writer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals that there is something to write, or never will be again.
    more: Condvar,
    /// Signals that something was written, or never will be again.
    progress: Condvar,
    /// The same for asynchronous tasks.
    told: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    /// Bytes that were handed over and not written yet.
    pending: usize,
    error: Option<io::Error>,
    closed: bool,
}

impl Writer {
    /// Starts the thread, which writes to `sink` and gives up its privileges first.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(sink: impl Sink) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let thread = thread::Builder::new().name("writer".to_owned()).stack_size(256 * 1024);
        thread.spawn(move || its.run(sink))?;
        Ok(Self { shared })
    }

    /// Hands `bytes` over. They are dropped if writing has failed before.
    pub fn push(&self, bytes: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.error.is_none() && !bytes.is_empty() {
            state.pending += bytes.len();
            state.queue.push_back(bytes);
            self.shared.more.notify_one();
        }
    }

    /// How many bytes are not written yet.
    pub fn pending(&self) -> usize {
        self.shared.lock().pending
    }

    /// Why writing has failed, if it has: then nothing is written any more.
    pub fn error(&self) -> Option<io::Error> {
        self.shared.lock().error.as_ref().map(copy)
    }

    /// Whether writing has failed.
    pub fn has_failed(&self) -> bool {
        self.shared.lock().error.is_some()
    }

    /// Completes when writing has failed.
    pub async fn failed(&self) {
        self.until(|state| state.error.is_some()).await;
    }

    /// Completes when everything is written, or writing has failed.
    pub async fn idle(&self) {
        self.until(State::is_idle).await;
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            // Before looking, so that no signal from here on is missed.
            let told = self.shared.told.notified();
            if holds(&self.shared.lock()) {
                return;
            }
            told.await;
        }
    }

    /// Waits until everything is written, writing has failed, or nothing was written for `patience`. Returns whether
    /// nothing is left to write.
    pub fn wait(&self, patience: Duration) -> bool {
        let mut state = self.shared.lock();
        while !state.is_idle() {
            let before = state.pending;
            let waited = self.shared.progress.wait_timeout(state, patience);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && now.pending == before {
                return false;
            }
            state = now;
        }
        true
    }

    /// Drops the bytes that are not being written yet.
    pub fn discard(&self) {
        let mut state = self.shared.lock();
        let dropped: usize = state.queue.drain(..).map(|bytes| bytes.len()).sum();
        state.pending -= dropped;
    }
}

/// How much is written at a time, bytes. A pipe takes this much at once or nothing (PIPE_BUF). Each write shows that the
/// reader goes on reading.
const AT_ONCE: usize = 4096;

/// The thread ends once it has written everything. Dropping does not wait for that.
impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_one();
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.pending == 0 || self.error.is_some()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut sink: impl Sink) {
        inherited::drop_capabilities();
        let mut state = self.lock();
        loop {
            let Some(bytes) = state.queue.pop_front() else {
                if state.closed {
                    return;
                }
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let result = self.write(&mut sink, &bytes);
            state = self.lock();
            if let Err(error) = result {
                state.queue.clear();
                state.pending = 0;
                state.error = Some(error);
                drop(state);
                self.tell();
                return;
            }
        }
    }

    fn write(&self, sink: &mut impl Sink, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match sink.write(&bytes[..bytes.len().min(AT_ONCE)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.lock().pending -= written;
                    self.tell();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process has set the pipe or terminal to non-blocking mode.
                Err(error) if error.kind() == ErrorKind::WouldBlock => await_room(sink.as_fd())?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn tell(&self) {
        self.progress.notify_all();
        self.told.notify_waiters();
    }
}

fn await_room(fd: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => error.kind().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn pipe() -> (File, File) {
        let (read, write) = nix::unistd::pipe().unwrap();
        (read.into(), write.into())
    }

    #[test]
    fn everything_is_written_in_order() {
        let (mut read, write) = pipe();
        let writer = Writer::start(write).unwrap();
        (0..1000).for_each(|number| writer.push(format!("{number}\n").into_bytes()));
        assert!(writer.wait(PATIENCE));
        drop(writer);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert!(text.lines().map(|line| line.parse::<u32>().unwrap()).eq(0..1000));
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nobody() {
        let (read, write) = pipe();
        let writer = Writer::start(write).unwrap();
        (0..8).for_each(|_| writer.push(vec![0; 64 * 1024]));
        assert!(!writer.wait(Duration::from_millis(20)));
        assert!(writer.pending() > 0);
        writer.discard();
        // What is being written stays.
        assert!(writer.pending() <= 64 * 1024);
        drop(read);
        assert!(writer.wait(PATIENCE));
        assert_eq!(writer.error().unwrap().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_device_is_told() {
        let writer = Writer::start(File::options().write(true).open("/dev/full").unwrap()).unwrap();
        writer.push(b"text".to_vec());
        assert!(writer.wait(PATIENCE));
        assert_eq!(writer.error().unwrap().kind(), ErrorKind::StorageFull);
        writer.push(b"more".to_vec());
        assert_eq!(writer.pending(), 0);
    }

    #[test]
    fn a_pipe_in_non_blocking_mode_is_waited_for() {
        let (mut read, write) = pipe();
        nix::fcntl::fcntl(&write, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        let writer = Writer::start(write).unwrap();
        writer.push(vec![7; 300_000]);
        drop(writer);
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 300_000);
    }

    #[test]
    fn tasks_are_told() {
        let (read, write) = pipe();
        let writer = Writer::start(write).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            writer.push(b"text".to_vec());
            writer.idle().await;
            drop(read);
            writer.push(b"text".to_vec());
            writer.failed().await;
        });
        assert!(writer.has_failed());
    }
}
