//! Which process is meant: from the PID a user gives to a process that can be measured.
//!
//! Holds on to the process by a pidfd, so that a reused PID is never mistaken for it.

use std::{
    fs::File,
    io::Seek,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{errno::Errno, poll, sys::signal::kill, unistd::Pid};
use procfs::{FromRead, ProcError, process::Stat};

use crate::reading::Reading;

/// `PF_KTHREAD` (include/linux/sched.h): a thread of the kernel's own.
const PF_KTHREAD: u32 = 0x0020_0000;

/// A process to be measured.
#[derive(Debug)]
pub struct Target {
    /// Its tgid.
    pub pid: u32,
    /// Its name when it was found.
    pub comm: String,
    /// The thread that was asked for, when that is not the process itself.
    pub asked_for_thread: Option<u32>,
    pidfd: OwnedFd,
    /// Its `/proc/PID/stat`: whether it may be seen (hidepid) is asked when it is opened only.
    stat: File,
}

/// What can be read of a process at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// Its name.
    pub comm: String,
    /// How many threads it has.
    pub threads: Reading<u32>,
}

impl Target {
    /// The process that `pid` belongs to; a thread's tid stands for its process.
    ///
    /// # Errors
    /// When there is no such process, or none that makes system calls.
    pub fn resolve(pid: u32) -> Result<Self> {
        let tgid = tgid_of(pid)?;
        // Held before the rest is looked at, so that the rest is about the process held.
        let pidfd = pidfd_open(tgid).map_err(|errno| match errno {
            Errno::ESRCH => no_such_process(pid),
            errno => anyhow!(errno).context(format!("cannot hold on to process {tgid}")),
        })?;
        let file = File::open(format!("/proc/{tgid}/stat")).map_err(|_| no_such_process(pid))?;
        let stat = read(&file).map_err(|_| no_such_process(pid))?;
        let comm = &stat.comm;
        if stat.flags & PF_KTHREAD != 0 {
            bail!("{pid} ({comm}) is a kernel thread: it makes no system calls");
        }
        // The first thread of a process may end before the others; then only it is a zombie.
        if stat.state == 'Z' && stat.num_threads <= 1 {
            bail!(
                "{pid} ({comm}) is a zombie: it has exited, and its parent {} has not waited for it",
                stat.ppid
            );
        }
        let target = Self {
            pid: tgid,
            comm: comm.clone(),
            asked_for_thread: (pid != tgid).then_some(pid),
            pidfd,
            stat: file,
        };
        if target.has_exited() {
            return Err(no_such_process(pid));
        }
        Ok(target)
    }

    /// Whether all of its threads are gone.
    pub fn has_exited(&self) -> bool {
        // A pidfd becomes readable when its process has exited (pidfd_open(2)).
        let mut fds = [poll::PollFd::new(self.as_fd(), poll::PollFlags::POLLIN)];
        matches!(poll::poll(&mut fds, poll::PollTimeout::ZERO), Ok(1))
    }

    /// What can be read of it now; `None` once it is gone.
    pub fn now(&self) -> Option<Now> {
        let stat = read(&self.stat).ok()?;
        // Asked afterwards: while the process lives, its PID is not reused.
        if self.has_exited() {
            return None;
        }
        let threads = u32::try_from(stat.num_threads).map_or(Reading::NotCollected, Reading::Exact);
        Some(Now { comm: stat.comm, threads })
    }
}

/// Readable once the process has exited.
impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The same, for reactors.
impl AsRawFd for Target {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

fn tgid_of(pid: u32) -> Result<u32> {
    let status = i32::try_from(pid).map_err(|_| no_such_process(pid)).and_then(|pid_| {
        procfs::process::Process::new(pid_)
            .and_then(|process| process.status())
            .map_err(|error| unreadable(pid, error))
    })?;
    u32::try_from(status.tgid).context("the kernel names a negative tgid")
}

/// What an open `/proc/PID/stat` says now.
fn read(mut stat: &File) -> Result<Stat, ProcError> {
    stat.rewind()?;
    Stat::from_read(stat)
}

fn unreadable(pid: u32, error: ProcError) -> anyhow::Error {
    match error {
        ProcError::NotFound(_) if !exists(pid) => no_such_process(pid),
        ProcError::NotFound(_) | ProcError::PermissionDenied(_) => anyhow!(
            "cannot see process {pid}: /proc does not show it to this user (hidepid); \
             needs CAP_SYS_PTRACE as well (try sudo)"
        ),
        error => anyhow!(error).context(format!("cannot read /proc/{pid}")),
    }
}

/// Whether there is such a process or thread, be it one that cannot be seen.
fn exists(pid: u32) -> bool {
    let sent = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), None));
    matches!(sent, Ok(Ok(()) | Err(Errno::EPERM)))
}

fn no_such_process(pid: u32) -> anyhow::Error {
    anyhow!("no process {pid}: it has exited, or the PID is wrong (ps -e lists them)")
}

fn pidfd_open(tgid: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two integers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, tgid, 0) })?;
    // SAFETY: the kernel has just opened it for us; it is close-on-exec by itself.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_any_of_its_threads() {
        let own = std::process::id();
        assert_eq!(Target::resolve(own).unwrap().asked_for_thread, None);
        // SAFETY: takes nothing and touches no memory.
        let tid = std::thread::spawn(|| unsafe { libc::gettid() } as u32).join().unwrap();
        // That thread is gone; a test runs in one that is not the leader either.
        assert_ne!(tid, own);
        // SAFETY: as above.
        let tid = unsafe { libc::gettid() } as u32;
        let target = Target::resolve(tid).unwrap();
        assert_eq!(target.pid, own);
        assert_eq!(target.asked_for_thread, (tid != own).then_some(tid));
        assert!(!target.has_exited());
        assert!(matches!(target.now().unwrap().threads, Reading::Exact(threads) if threads >= 1));
    }

    #[test]
    fn a_process_that_ends_is_seen_to_end() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let target = Target::resolve(child.id()).unwrap();
        assert!(!target.has_exited());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(target.has_exited());
        assert_eq!(target.now(), None);
        let error = Target::resolve(child.id()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("no process {}", child.id())), "{error}");
    }
}
