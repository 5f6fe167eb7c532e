//! A thread: from the tid that a user gives to a thread of a held process.

use std::{fs::File, io::ErrorKind};

use anyhow::{Result, anyhow};

use super::{Process, process::exists};
use crate::{
    proc::stat::{PF_EXITING, Stat},
    scope::ThreadId,
};

/// A thread of a process that is held.
#[derive(Debug)]
pub struct Thread {
    /// Its tid.
    pub tid: u32,
    /// Its process.
    pub process: Process,
    /// Its name when it was found.
    pub comm: String,
    /// Its `stat` below `/proc/PID/task`: reading fails once it is gone.
    stat: File,
}

impl Thread {
    /// The thread `tid`.
    ///
    /// # Errors
    /// When there is no such thread, or its process makes no system calls.
    pub fn resolve(tid: u32) -> Result<Self> {
        let gone =
            || anyhow!("no thread {tid}: it has exited, or the TID is wrong (ps -eL lists them)");
        if !exists(tid) {
            return Err(gone());
        }
        let process = Process::resolve(tid)?;
        let path = format!("/proc/{}/task/{tid}/stat", process.pid);
        let stat = File::open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => gone(),
            _ => anyhow!(error).context(format!("cannot open {path}")),
        })?;
        let mut thread = Self { tid, process, comm: String::new(), stat };
        thread.comm = thread.stat().ok_or_else(gone)?.comm;
        Ok(thread)
    }

    /// Its ids.
    pub fn id(&self) -> ThreadId {
        ThreadId { tid: self.tid, tgid: self.process.pid }
    }

    /// Whether it still has the tid by which it was found, and has not begun to exit.
    pub fn is_there(&self) -> bool {
        self.stat().is_some_and(|stat| stat.flags & PF_EXITING == 0)
    }

    fn stat(&self) -> Option<Stat> {
        // The open file is about this thread, even if another thread has got the tid.
        let stat = Stat::read(&self.stat).ok()?;
        // The first thread of a process stays a zombie while there are others.
        (!matches!(stat.state, 'X' | 'Z')).then_some(stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_seen_to_end() {
        let (tid, end) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let thread = std::thread::spawn(move || {
            // SAFETY: takes nothing and touches no memory.
            tid.0.send(unsafe { libc::gettid() } as u32).unwrap();
            let _ = end.1.recv();
        });
        let found = Thread::resolve(tid.1.recv().unwrap()).unwrap();
        assert_eq!(found.process.pid, std::process::id());
        assert!(found.is_there());
        drop(end.0);
        thread.join().unwrap();
        while found.is_there() {
            // The kernel reports a thread joined a moment before it is gone.
            std::thread::yield_now();
        }
        let error = Thread::resolve(found.tid).unwrap_err().to_string();
        assert!(error.starts_with("no thread "), "{error}");
    }
}
