//! What is meant: from what a user names to what can be measured.
//!
//! Loads nothing and attaches nothing. A process is held as soon as it is found, so that nobody
//! else is measured who gets its PID.

pub mod capture;
pub mod cgroup;
pub mod command;
pub mod container;
pub mod cpu_clock;
mod presence;
pub mod process;
pub mod thread;
pub mod user;

use std::{collections::HashSet, sync::LazyLock};

use anyhow::Result;

use crate::{
    decode::printable::external,
    proc::is_in_root_namespace,
    reading::Reading,
    sample::{Subject, SubjectKind},
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
        /// Those that were given.
        given: Vec<Process>,
        /// Whether their children are measured as well, those that exist and those to come.
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

    /// The processes that are held: those whose end may be the end of the measurement.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let (given, command) = match self {
            Self::Processes { given, .. } => (given.as_slice(), None),
            Self::Command { process, .. } => (&[] as &[Process], Some(process)),
            _ => (&[] as &[Process], None),
        };
        given.iter().chain(command)
    }

    /// Whether the process, or the thread, that was given by `id` still has it and has not begun to exit.
    pub fn is_there(&self, id: u32) -> bool {
        match self {
            Self::Threads(threads) => {
                threads.iter().any(|thread| thread.tid == id && thread.is_there())
            }
            _ => self.processes().any(|process| process.pid == id && process.is_there()),
        }
    }

    /// Whether one of the processes that were given holds a descriptor of a ring of io_uring's.
    pub fn has_ring(&self) -> bool {
        match self {
            Self::Threads(threads) => threads.iter().any(|thread| holds_ring(thread.process.pid)),
            _ => self.processes().any(|process| holds_ring(process.pid)),
        }
    }

    /// Whether there can be an end to it: others may always come again.
    pub fn can_exit(&self) -> bool {
        matches!(self, Self::Processes { .. } | Self::Threads(_) | Self::Command { .. })
    }

    /// Whether all processes that were given are gone, or those of the threads. Followed children are not
    /// looked at.
    pub fn has_exited(&self) -> bool {
        match self {
            Self::Threads(threads) => threads.iter().all(|thread| thread.process.has_exited()),
            _ => self.can_exit() && self.processes().all(Process::has_exited),
        }
    }

    /// What it is and how it stands now. `only` says which of its calls are recorded.
    pub fn subject(&mut self, only: Option<String>, exited: bool) -> Subject {
        // What is not given by ids is looked for in the own PID namespace only.
        let (host, within) = if *IS_IN_ROOT_NAMESPACE {
            ("whole host", "")
        } else {
            ("this PID namespace", " in this PID namespace")
        };
        let mut subject = Subject {
            kind: SubjectKind::Host,
            name: host.to_owned(),
            detail: "all processes".to_owned(),
            pid: None,
            threads: Reading::NotCollected,
            only,
            exited,
            why_empty: None,
        };
        match self {
            Self::Processes { given, follow } => of_processes(&mut subject, given, *follow),
            Self::Threads(threads) => of_threads(&mut subject, threads),
            Self::Command { process, line } => {
                process.look();
                subject.kind = SubjectKind::Command;
                subject.name.clone_from(line);
                subject.detail = format!("pid {} and its children", process.pid);
            }
            Self::Comm(name) => {
                subject.kind = SubjectKind::Comm;
                subject.name = external(name.as_bytes());
                subject.detail = format!("every process of that name{within}");
            }
            Self::Cgroup(cgroup) => {
                subject.kind = SubjectKind::Cgroup;
                subject.name.clone_from(&cgroup.path);
                subject.detail = format!("cgroup and those in it{within}");
            }
            Self::Container(container) => {
                let id: String = external(container.id.as_bytes()).chars().take(12).collect();
                subject.kind = SubjectKind::Container;
                let name = container.name.as_ref().map(|name| external(name.as_bytes()));
                subject.name = name.unwrap_or_else(|| id.clone());
                subject.detail = format!("{} container {id}{within}", container.runtime);
            }
            Self::User(user) => {
                subject.kind = SubjectKind::User;
                let name = user.name.as_ref().map(|name| external(name.as_bytes()));
                subject.name = name.unwrap_or_else(|| user.uid.to_string());
                subject.detail = format!("all processes of uid {}{within}", user.uid);
            }
            Self::Host => {}
        }
        subject
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

fn of_processes(subject: &mut Subject, given: &mut [Process], follow: bool) {
    for process in given.iter_mut() {
        process.look();
    }
    let children = if follow { " and children" } else { "" };
    // What followed children have is not known.
    let known = given.iter().map(|process| process.threads.value()).sum::<Option<u32>>();
    subject.threads = match known {
        Some(threads) if !follow => Reading::Exact(if subject.exited { 0 } else { threads }),
        _ => Reading::NotCollected,
    };
    if let [process] = given {
        subject.kind = SubjectKind::Process;
        subject.name.clone_from(&process.comm);
        subject.detail = format!("pid {}{children}", process.pid);
        subject.pid = Some(process.pid);
        return;
    }
    subject.kind = SubjectKind::Processes;
    subject.name = few(&distinct(given.iter().map(|process| process.comm.as_str())));
    let pids: Vec<String> = given.iter().map(|process| process.pid.to_string()).collect();
    subject.detail = format!("pids {}{children}", few(&pids));
}

fn of_threads(subject: &mut Subject, threads: &[Thread]) {
    if let [thread] = threads {
        subject.kind = SubjectKind::Thread;
        subject.name.clone_from(&thread.comm);
        subject.detail = format!("tid {} of pid {}", thread.tid, thread.process.pid);
        subject.pid = Some(thread.process.pid);
        return;
    }
    subject.kind = SubjectKind::Threads;
    subject.name = few(&distinct(threads.iter().map(|thread| thread.comm.as_str())));
    let tids: Vec<String> = threads.iter().map(|thread| thread.tid.to_string()).collect();
    subject.detail = format!("tids {}", few(&tids));
}

/// Each name once, where it comes first.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

/// The first few of several names.
fn few<S: AsRef<str>>(names: &[S]) -> String {
    const FEW: usize = 4;
    let mut shown: Vec<&str> = names.iter().take(FEW).map(AsRef::as_ref).collect();
    let more = format!("{} more", names.len().saturating_sub(FEW));
    if names.len() > FEW {
        shown.push(&more);
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_targets_of_one_name_are_named_once() {
        let named = |names: &[&str]| few(&distinct(names.iter().copied()));
        assert_eq!(named(&["nginx", "sh", "nginx"]), "nginx, sh");
        assert_eq!(named(&["a", "b", "a", "c", "d", "b"]), "a, b, c, d", "only names count");
        assert_eq!(named(&["a", "b", "c", "d", "e", "e"]), "a, b, c, d, 1 more");
    }
}
