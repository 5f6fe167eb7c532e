//! The helper: the process that keeps CAP_SYS_PTRACE, and what it does.
//!
//! It is a fork of the main process from before anything is loaded and any privilege given up. It reads
//! questions from a socket and writes answers, one after the other, until the main process has ended.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use caps::{CapSet, Capability};
use nix::unistd::{ForkResult, Pid, fork, getpid};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, openat},
    io::{Errno, pread, retry_on_intr},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
    process::{
        PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
        waitid,
    },
};
use seccompiler::BpfProgram;

use super::{
    mapping,
    message::{self, Answer, Answered, Asked, Hello, MAX_QUESTION, Question, Reason},
    object::{self, of_process},
    process::{Process, started_ticks},
    sandbox,
};
use crate::decode::printable::printable;

/// How long to wait for the helper to be ready, seconds. It takes a millisecond.
const PATIENCE_S: i64 = 5;

/// How long to wait until it has ended. It takes a millisecond, unless the machine is very busy.
const ENDS_WITHIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// The helper, seen from the main process. It ends when this is dropped.
#[derive(Debug)]
pub struct Helper {
    pub(super) socket: OwnedFd,
    pid: Pid,
    pidfd: OwnedFd,
}

/// Why there is no helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotStarted {
    /// What to say about a name.
    pub reason: Reason,
    /// What has failed.
    pub detail: String,
}

impl NotStarted {
    fn new(detail: impl fmt::Display) -> Self {
        Self { reason: Reason::NotStarted, detail: detail.to_string() }
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Helper {
    /// Starts the helper, and waits until it has given up what it does not need.
    ///
    /// To be called while this process has one thread and its privileges, and before it loads anything: the
    /// helper begins with a copy of its memory, and has the capability only if this process has it.
    ///
    /// # Errors
    /// Why there is none: CAP_SYS_PTRACE is missing, or something has failed.
    pub fn start() -> Result<Self, NotStarted> {
        let has_it = caps::has_cap(None, CapSet::Permitted, Capability::CAP_SYS_PTRACE);
        if !has_it.unwrap_or(false) {
            let reason = Reason::NoCapability;
            return Err(NotStarted { reason, detail: reason.to_string() });
        }
        let filter = sandbox::filter().map_err(NotStarted::new)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty()).map_err(NotStarted::new)?;
        let (ours, its) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(NotStarted::new)?;
        let parent = getpid();
        // SAFETY: there is one thread, so that no lock is held by another one; the child never returns.
        match unsafe { fork() }.map_err(NotStarted::new)? {
            ForkResult::Child => run(its.as_fd(), proc.as_fd(), parent, &filter),
            ForkResult::Parent { child } => {
                drop(its);
                Self::greeted(ours, child)
            }
        }
    }

    /// The helper `pid` once it has said that it is ready.
    pub(super) fn greeted(socket: OwnedFd, pid: Pid) -> Result<Self, NotStarted> {
        let held = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::SRCH);
        let pidfd = held.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let pidfd = pidfd.map_err(NotStarted::new)?;
        let helper = Self { socket, pid, pidfd };
        let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
        let mut ready = [PollFd::new(&helper.socket, PollFlags::IN)];
        let hello = match retry_on_intr(|| poll(&mut ready, Some(&patience))) {
            Ok(0) => return Err(NotStarted::new("it is not ready in time")),
            Ok(_) => helper.receive().map_err(NotStarted::new)?,
            Err(errno) => return Err(NotStarted::new(errno)),
        };
        match message::decode::<Hello>(&hello) {
            Some(Ok(())) => Ok(helper),
            Some(Err(what)) => Err(NotStarted::new(format_args!("it cannot {}", printable(&what)))),
            None => Err(NotStarted::new(format_args!("it has ended{}", helper.ending()))),
        }
    }

    /// Its PID.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// The next packet that has come. No bytes: the helper has ended.
    pub(super) fn receive(&self) -> Result<Vec<u8>, Errno> {
        // One byte more, so that a packet that is too long is known as such.
        let mut packet = vec![0; message::MAX_ANSWER + 1];
        let receive = || recv(&self.socket, packet.as_mut_slice(), RecvFlags::DONTWAIT);
        let (length, _) = retry_on_intr(receive)?;
        packet.truncate(length);
        Ok(packet)
    }

    /// Sends a packet.
    pub(super) fn send(&self, packet: &[u8]) -> Result<(), Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        retry_on_intr(|| send(&self.socket, packet, flags)).map(drop)
    }

    /// Ends it, if it has not ended, and tells how it has, to be put behind "it has ended": ` (killed by SIGSYS)`.
    /// Empty where it does not end in time: in a call that cannot be interrupted.
    pub(super) fn ending(&self) -> String {
        self.kill();
        // It closes its socket a moment before it can be waited for.
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let _ = retry_on_intr(|| poll(&mut ended, Some(&ENDS_WITHIN)));
        let Some(status) = self.reap() else { return String::new() };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!(" (exit code {code})"),
            (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(signal) => format!(" (killed by {signal})"),
                Err(_) => format!(" (killed by signal {signal})"),
            },
            (None, None) => String::new(),
        }
    }

    fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// How it has ended; `None` where it has not, or that was asked before.
    fn reap(&self) -> Option<WaitIdStatus> {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), ended).ok().flatten()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
        // Nobody waits until it has ended. If it is not there yet, it is reaped when this process has ended.
        self.reap();
    }
}

/// The helper's whole life, in the new process.
fn run(socket: BorrowedFd<'_>, proc: BorrowedFd<'_>, parent: Pid, filter: &BpfProgram) -> ! {
    let code = match sandbox::place_descriptors(socket, proc) {
        Ok(()) => {
            // SAFETY: just opened under these numbers, and never closed.
            let [socket, proc, own_fds] = [sandbox::SOCKET, sandbox::PROC, sandbox::OWN_FDS]
                .map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
            let entered = sandbox::enter(parent, filter);
            let hello: Hello = entered.map_err(|(what, error)| format!("{what}: {error}"));
            let is_told = send(socket, &message::encode(&hello), SendFlags::NOSIGNAL).is_ok();
            if hello.is_ok() && is_told { serve(socket, &Proc { proc, own_fds }) } else { 1 }
        }
        // There is nothing to say it by; the main process sees that the socket is closed.
        Err(_) => 1,
    };
    // SAFETY: ends the process. Nothing of the main process's, such as output not written yet, is run at exit.
    unsafe { libc::_exit(code) }
}

/// Answers questions until the main process has ended, or has sent what is no question. Returns the code to exit
/// with.
fn serve(socket: BorrowedFd<'_>, proc: &Proc<'_>) -> i32 {
    let mut packet = [0; MAX_QUESTION + 1];
    loop {
        let received = retry_on_intr(|| recv(socket, packet.as_mut_slice(), RecvFlags::empty()));
        let Ok((length, _)) = received else { return 1 };
        if length == 0 {
            return 0;
        }
        let Some(Asked { id, question }) = message::decode(&packet[..length]) else { return 1 };
        let answer = message::encode(&Answered { id, answer: answer(proc, question) });
        let sent = retry_on_intr(|| send(socket, &answer, SendFlags::NOSIGNAL));
        if sent.is_err() {
            return 1;
        }
    }
}

fn answer(proc: &Proc<'_>, question: Question) -> Result<Answer, Reason> {
    match question {
        Question::Descriptor { of, fd } => object::find(proc, of, fd).map(Answer::Object),
        Question::Address { of, address } => mapping::find(proc, of, address).map(Answer::Mapping),
    }
}

/// What the helper has open.
pub(super) struct Proc<'a> {
    /// `/proc`.
    pub(super) proc: BorrowedFd<'a>,
    /// `/proc/self/fd`.
    pub(super) own_fds: BorrowedFd<'a>,
}

impl Proc<'_> {
    /// Opens a file of a process, to read it.
    pub(super) fn open(&self, pid: u32, file: &str) -> Result<OwnedFd, Errno> {
        openat(self.proc, format!("{pid}/{file}"), sandbox::READ_ONLY, Mode::empty())
    }

    /// Checks that the process that has this PID now is the one that is meant.
    ///
    /// # Errors
    /// [`Reason::Gone`] where it is not, or none has it.
    pub(super) fn confirm(&self, of: Process) -> Result<(), Reason> {
        let stat = self.open(of.pid, "stat").map_err(of_process)?;
        let mut text = [0; 1024];
        let length = pread(&stat, text.as_mut_slice(), 0).map_err(of_process)?;
        let is_meant = started_ticks(&text[..length]) == Some(of.started_ticks);
        if is_meant { Ok(()) } else { Err(Reason::Gone) }
    }
}
