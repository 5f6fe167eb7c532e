//! Processes that a test starts. Their output is read as it comes, so that every wait for them has an
//! end, and they end with the test.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::turn;

/// How long a test waits for something that must come about. How fast it does is not what is tested:
/// on a busy machine, merely to start an emulated program may take twenty seconds.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if crate::harness::emulated() { 240 } else { 120 })
}

/// Waits for something that must come about.
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(comes_about(holds), "never happened: {what}");
}

/// Waits for something that should come about. Returns whether it did, for a test that can say more.
pub(crate) fn comes_about(mut holds: impl FnMut() -> bool) -> bool {
    let give_up = Instant::now() + patience();
    while !holds() {
        if Instant::now() >= give_up {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A process with its pipes. It is killed and waited for when dropped.
pub(crate) struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<Output>,
    stderr: Option<Output>,
}

impl Running {
    /// Starts a command. What it prints to a pipe is read, what it prints elsewhere is not.
    pub(crate) fn start(command: &mut Command) -> Self {
        turn::take();
        let program = command.get_program().to_string_lossy().into_owned();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        let name = format!("{program} {}", args.join(" "));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`{name}`: {error}"));
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(Output::of),
            stderr: child.stderr.take().map(Output::of),
            name,
            child,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stdout, without its end; `None` when it has closed that.
    pub(crate) fn line(&mut self, awaited: &str) -> Option<String> {
        self.take(true, awaited, line_end).map(|line| line.trim_end().to_owned())
    }

    /// The next line on stderr, without its end; `None` when it has closed that.
    pub(crate) fn error_line(&mut self, awaited: &str) -> Option<String> {
        self.take(false, awaited, line_end).map(|line| line.trim_end().to_owned())
    }

    /// All that it prints to stdout from here on, until it has closed that.
    pub(crate) fn rest(&mut self) -> String {
        self.take(true, "the end of its output", |_| None).unwrap_or_default()
    }

    /// All that it prints to stderr from here on, until it has closed that.
    pub(crate) fn rest_of_errors(&mut self) -> String {
        self.take(false, "the end of its messages", |_| None).unwrap_or_default()
    }

    /// Closes our end of its stdout, as soon as it prints more.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(text.as_bytes()).unwrap_or_else(|error| panic!("`{}`: {error}", self.name));
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let give_up = Instant::now() + patience();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            if Instant::now() >= give_up {
                self.give_up("its end");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether it has ended, without waiting.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_some()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Takes text off an output up to where `end` finds its end, or all of it when the output is
    /// closed before; `None` when there is nothing left at all.
    fn take(
        &mut self,
        stdout: bool,
        awaited: &str,
        end: impl Fn(&[u8]) -> Option<usize>,
    ) -> Option<String> {
        let output = if stdout { &mut self.stdout } else { &mut self.stderr };
        let output = output.as_mut().expect("a pipe");
        let give_up = Instant::now() + patience();
        loop {
            if let Some(end) = end(&output.unread) {
                return Some(output.split_off(end));
            }
            match output.chunks.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
                Ok(chunk) => output.unread.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => {
                    let all = output.split_off(usize::MAX);
                    return (!all.is_empty()).then_some(all);
                }
                Err(RecvTimeoutError::Timeout) => self.give_up(awaited),
            }
        }
    }

    fn give_up(&mut self, awaited: &str) -> ! {
        let said = |output: &mut Option<Output>| {
            output.as_mut().map_or_else(String::new, Output::all_there_is)
        };
        let (stdout, stderr) = (said(&mut self.stdout), said(&mut self.stderr));
        panic!(
            "waited {:?} for {awaited} of `{}`; unread on stdout: {stdout:?}, on stderr: {stderr:?}",
            patience(),
            self.name
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Behind the first line.
fn line_end(unread: &[u8]) -> Option<usize> {
    unread.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
}

/// What a process prints to a pipe. A thread reads it, so that a full pipe never stops the process.
struct Output {
    chunks: Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { chunks, unread: Vec::new() }
    }

    /// Takes the first bytes of what is unread.
    fn split_off(&mut self, end: usize) -> String {
        let end = end.min(self.unread.len());
        let rest = self.unread.split_off(end);
        let taken = std::mem::replace(&mut self.unread, rest);
        String::from_utf8(taken).expect("text")
    }

    fn all_there_is(&mut self) -> String {
        self.unread.extend(self.chunks.try_iter().flatten());
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}

/// What a command printed and how it ended.
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Waits until a command that prints to no pipe has ended.
pub(crate) fn status(command: &mut Command) -> ExitStatus {
    Running::start(command).wait()
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let mut running =
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let status = running.wait();
    Ended { status, stdout: running.rest(), stderr: running.rest_of_errors() }
}
