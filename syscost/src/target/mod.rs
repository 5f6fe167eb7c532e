//! The target: from what a user names to what can be measured.
//!
//! Loads nothing and attaches nothing. A process is held by a pidfd as soon as it is found, so that no other process
//! that gets its PID is measured.

pub mod capture;
pub mod cgroup;
pub mod command;
pub mod container;
pub mod cpu_clock;
mod presence;
pub mod process;
pub mod thread;
pub mod user;

use std::sync::LazyLock;

use anyhow::Result;

use crate::{
    decode::printable::external,
    filter::Selection,
    proc::is_in_root_namespace,
    reading::Reading,
    sample::{GivenProcess, GivenThread, Measured, Subject},
    scope::Scope,
};
use cgroup::Cgroup;
use container::Container;
pub use cpu_clock::{CpuClock, Ends};
pub use process::Process;
use thread::Thread;
use user::User;

/// What is measured, found and held.
#[derive(Debug)]
pub enum Target {
    /// Processes; never empty.
    Processes {
        /// The processes that the user named.
        given: Vec<Process>,
        /// Whether their children are measured as well, existing and later ones.
        follow: bool,
    },
    /// Threads; never empty.
    Threads(Vec<Thread>),
    /// A command that was started to be measured, and its children.
    Command {
        /// The process it runs in.
        process: Process,
        /// What the user typed.
        line: String,
    },
    /// All processes of a name, at most 15 bytes.
    Comm(String),
    /// All processes in a cgroup.
    Cgroup(Cgroup),
    /// All processes in a container.
    Container(Container),
    /// All processes of a user.
    User(User),
    /// All processes.
    Host,
}

impl Target {
    /// Processes by their PIDs; a thread's tid stands for its process.
    ///
    /// # Errors
    /// When one is not there, or makes no system calls.
    pub fn processes_of(pids: &[u32], follow: bool) -> Result<Self> {
        let mut given: Vec<Process> = Vec::new();
        for pid in pids {
            let process = Process::resolve(*pid)?;
            if given.iter().all(|other| other.pid != process.pid) {
                given.push(process);
            }
        }
        Ok(Self::Processes { given, follow })
    }

    /// The predicate for the kernel.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Processes { given, follow: false } if given.len() == 1 => {
                Scope::Process(given[0].pid)
            }
            Self::Processes { given, follow } => Scope::Processes {
                tgids: given.iter().map(|process| process.pid).collect(),
                follow: *follow,
            },
            Self::Threads(threads) if threads.len() == 1 => Scope::Thread(threads[0].id()),
            Self::Threads(threads) => Scope::Threads(threads.iter().map(Thread::id).collect()),
            Self::Command { process, .. } => {
                Scope::Processes { tgids: vec![process.pid], follow: true }
            }
            Self::Comm(name) => Scope::Comm(name.clone()),
            Self::Cgroup(cgroup) | Self::Container(Container { cgroup, .. }) => {
                Scope::Cgroup { id: cgroup.id, level: cgroup.level }
            }
            Self::User(user) => Scope::User(user.uid),
            Self::Host => Scope::Host,
        }
    }

    /// The processes that are held. The measurement may end when they do.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let (given, command) = match self {
            Self::Processes { given, .. } => (given.as_slice(), None),
            Self::Command { process, .. } => (&[] as &[Process], Some(process)),
            _ => (&[] as &[Process], None),
        };
        given.iter().chain(command)
    }

    /// Whether the process, or thread, that the user named by `id` still has that id and has not begun to exit.
    pub fn is_there(&self, id: u32) -> bool {
        match self {
            Self::Threads(threads) => {
                threads.iter().any(|thread| thread.tid == id && thread.is_there())
            }
            _ => self.processes().any(|process| process.pid == id && process.is_there()),
        }
    }

    /// Whether one of the given processes has a descriptor of a ring of io_uring.
    pub fn has_ring(&self) -> bool {
        match self {
            Self::Threads(threads) => threads.iter().any(|thread| holds_ring(thread.process.pid)),
            _ => self.processes().any(|process| holds_ring(process.pid)),
        }
    }

    /// Whether it can end. Otherwise new processes may always begin.
    pub fn can_exit(&self) -> bool {
        matches!(self, Self::Processes { .. } | Self::Threads(_) | Self::Command { .. })
    }

    /// Whether all given processes, or the processes of all given threads, are gone. Followed children do not count.
    pub fn has_exited(&self) -> bool {
        match self {
            Self::Threads(threads) => threads.iter().all(|thread| thread.process.has_exited()),
            _ => self.can_exit() && self.processes().all(Process::has_exited),
        }
    }

    /// What it is and how it stands now. `selection` says which of its calls are recorded.
    pub fn subject(&mut self, selection: Selection, exited: bool) -> Subject {
        let mut threads = Reading::NotCollected;
        let measured = match self {
            Self::Processes { given, follow } => {
                given.iter_mut().for_each(Process::look);
                // It is not known how many threads the children have.
                if !*follow {
                    threads = threads_of(given, exited);
                }
                let name = |process: &Process| GivenProcess {
                    pid: process.pid,
                    comm: process.comm.clone(),
                };
                Measured::Processes { given: given.iter().map(name).collect(), follow: *follow }
            }
            Self::Threads(given) => {
                let name = |thread: &Thread| GivenThread {
                    tid: thread.tid,
                    pid: thread.process.pid,
                    comm: thread.comm.clone(),
                };
                Measured::Threads { given: given.iter().map(name).collect() }
            }
            Self::Command { process, line } => {
                process.look();
                Measured::Command { pid: process.pid, line: line.clone() }
            }
            Self::Comm(name) => Measured::Comm(external(name.as_bytes())),
            Self::Cgroup(cgroup) => Measured::Cgroup { path: cgroup.path.clone() },
            Self::Container(container) => Measured::Container {
                id: external(container.id.as_bytes()),
                name: container.name.as_ref().map(|name| external(name.as_bytes())),
                runtime: container.runtime.to_owned(),
            },
            Self::User(user) => Measured::User {
                uid: user.uid,
                name: user.name.as_ref().map(|name| external(name.as_bytes())),
            },
            Self::Host => Measured::Host,
        };
        let root_namespace = *IS_IN_ROOT_NAMESPACE;
        Subject { measured, root_namespace, threads, selection, exited, why_empty: None }
    }
}

/// A process does not leave its own.
static IS_IN_ROOT_NAMESPACE: LazyLock<bool> = LazyLock::new(is_in_root_namespace);

/// Whether a descriptor of process `pid` is a ring of io_uring's.
fn holds_ring(pid: u32) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| {
        std::fs::read_link(file.path())
            .is_ok_and(|name| name.as_os_str() == "anon_inode:[io_uring]")
    })
}

/// How many threads the processes have together, where that is known of each.
fn threads_of(processes: &[Process], exited: bool) -> Reading<u32> {
    let known = processes.iter().map(|process| process.threads.value()).sum::<Option<u32>>();
    known.map_or(Reading::NotCollected, |threads| Reading::Exact(if exited { 0 } else { threads }))
}
