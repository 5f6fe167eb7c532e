//! A process: from the PID that a user gives to a process that is held.
//!
//! It is held by a pidfd, so that another process that gets the PID is not mistaken for it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use anyhow::{Result, anyhow, bail};
use nix::{errno::Errno, poll, sys::signal::kill, unistd::Pid};

use crate::{
    proc::{self, lives, stat::Stat},
    reading::Reading,
};

/// `PF_KTHREAD` (include/linux/sched.h): a thread of the kernel.
const PF_KTHREAD: u32 = 0x0020_0000;

/// A process, held by its pidfd.
#[derive(Debug)]
pub struct Process {
    /// Its tgid.
    pub pid: u32,
    /// Its name at the last look.
    pub comm: String,
    /// How many threads it had at the last look.
    pub threads: Reading<u32>,
    /// The thread whose tid the user gave, if it is not the first one.
    pub asked_for_thread: Option<u32>,
    pidfd: OwnedFd,
    /// Its `/proc/PID/stat`: whether it may be seen (hidepid) is asked when it is opened only.
    stat: File,
}

impl Process {
    /// The process that `pid` belongs to; a thread's tid stands for its process.
    ///
    /// # Errors
    /// When there is no such process, or none that makes system calls.
    pub fn resolve(pid: u32) -> Result<Self> {
        proc::require()?;
        let tgid = tgid_of(pid)?;
        // Hold it first, so that everything read after that is about the held process.
        let pidfd = pidfd_open(tgid).map_err(|errno| match errno {
            Errno::ESRCH => no_such_process(pid),
            errno => anyhow!(errno).context(format!("cannot hold on to process {tgid}")),
        })?;
        let path = format!("/proc/{tgid}/stat");
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => no_such_process(pid),
            _ => anyhow!(error).context(format!("cannot open {path}")),
        })?;
        let stat = Stat::read(&file).map_err(|_| no_such_process(pid))?;
        let comm = &stat.comm;
        if stat.flags & PF_KTHREAD != 0 {
            bail!("{pid} ({comm}) is a kernel thread: it makes no system calls");
        }
        // If the first thread ends before the others, it alone is a zombie.
        if stat.state == 'Z' && stat.num_threads <= 1 {
            bail!(
                "{pid} ({comm}) is a zombie: it has exited, and its parent {} has not waited for it",
                stat.ppid
            );
        }
        let process = Self {
            pid: tgid,
            comm: comm.clone(),
            threads: threads(&stat),
            asked_for_thread: (pid != tgid).then_some(pid),
            pidfd,
            stat: file,
        };
        if process.has_exited() {
            return Err(no_such_process(pid));
        }
        Ok(process)
    }

    /// Whether all of its threads are gone.
    pub fn has_exited(&self) -> bool {
        // A pidfd becomes readable when its process has exited (pidfd_open(2)).
        let mut fds = [poll::PollFd::new(self.pidfd(), poll::PollFlags::POLLIN)];
        matches!(poll::poll(&mut fds, poll::PollTimeout::ZERO), Ok(1))
    }

    /// Whether a thread of it has not begun to exit.
    pub fn is_there(&self) -> bool {
        // If `/proc` does not show it, it lives as long as the process does.
        let lives = File::open(format!("/proc/{}", self.pid)).map_or(true, |folder| lives(&folder));
        // Asked last: while the process lives, its PID is not reused.
        lives && !self.has_exited()
    }

    /// Reads its current name and number of threads. Once it is gone, it keeps its name and has no threads.
    pub fn look(&mut self) {
        let stat = Stat::read(&self.stat).ok();
        // Asked last: while the process lives, its PID is not reused.
        match stat.filter(|_| !self.has_exited()) {
            Some(stat) => {
                self.threads = threads(&stat);
                self.comm = stat.comm;
            }
            None => self.threads = Reading::Exact(0),
        }
    }

    /// Readable once the process has exited.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn threads(stat: &Stat) -> Reading<u32> {
    u32::try_from(stat.num_threads).map_or(Reading::NotCollected, Reading::Exact)
}

fn tgid_of(pid: u32) -> Result<u32> {
    proc::tgid(pid).map_err(|error| unreadable(pid, error))
}

fn unreadable(pid: u32, error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound if !exists(pid) => no_such_process(pid),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => anyhow!(
            "cannot see process {pid}: /proc does not show it to this user (hidepid); \
             needs CAP_SYS_PTRACE as well (try sudo)"
        ),
        _ if error.raw_os_error() == Some(libc::ESRCH) => no_such_process(pid),
        _ => anyhow!(error).context(format!("cannot read /proc/{pid}")),
    }
}

/// Whether there is such a process or thread, even if `/proc` hides it.
pub(super) fn exists(pid: u32) -> bool {
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
        assert_eq!(Process::resolve(own).unwrap().asked_for_thread, None);
        // SAFETY: takes nothing and touches no memory.
        let tid = std::thread::spawn(|| unsafe { libc::gettid() } as u32).join().unwrap();
        // That thread is gone; a test runs in one that is not the leader either.
        assert_ne!(tid, own);
        // SAFETY: as above.
        let tid = unsafe { libc::gettid() } as u32;
        let process = Process::resolve(tid).unwrap();
        assert_eq!(process.pid, own);
        assert_eq!(process.asked_for_thread, (tid != own).then_some(tid));
        assert!(!process.has_exited());
        assert!(matches!(process.threads, Reading::Exact(threads) if threads >= 1));
    }

    #[test]
    fn a_process_that_ends_is_seen_to_end() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut process = Process::resolve(child.id()).unwrap();
        assert!(!process.has_exited());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.has_exited());
        process.look();
        assert_eq!((process.comm.as_str(), process.threads), ("sleep", Reading::Exact(0)));
        let error = Process::resolve(child.id()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("no process {}", child.id())), "{error}");
    }
}
