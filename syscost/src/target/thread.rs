//! A thread: from the tid a user gives to one that can be measured.

use std::{fs::File, io::Seek};

use anyhow::{Result, anyhow};
use procfs::{FromRead, process::Stat};

use super::Process;

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
        let process = Process::resolve(tid)?;
        let gone = || anyhow!("no thread {tid}: it has exited, or the tid is wrong (ps -eL)");
        let stat =
            File::open(format!("/proc/{}/task/{tid}/stat", process.pid)).map_err(|_| gone())?;
        let mut thread = Self { tid, process, comm: String::new(), stat };
        thread.comm = thread.now().ok_or_else(gone)?;
        Ok(thread)
    }

    /// Its name now; `None` once it is gone.
    pub fn now(&self) -> Option<String> {
        let mut stat = &self.stat;
        stat.rewind().ok()?;
        let stat = Stat::from_read(stat).ok()?;
        // The process is held: while it lives, the file is about this thread.
        (stat.state != 'X' && !self.process.has_exited()).then_some(stat.comm)
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
        assert!(found.now().is_some());
        drop(end.0);
        thread.join().unwrap();
        while found.now().is_some() {
            // The kernel reports a thread joined a moment before it is gone.
            std::thread::yield_now();
        }
        let error = Thread::resolve(found.tid).unwrap_err().to_string();
        assert!(error.starts_with("no "), "{error}");
    }
}
