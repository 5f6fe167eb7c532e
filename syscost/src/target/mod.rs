//! What is meant: from what a user names to what can be measured.
//!
//! Loads nothing and attaches nothing. A process is held as soon as it is found, so that nobody
//! else is measured who gets its PID.

pub mod cgroup;
pub mod command;
pub mod container;
pub mod cpu_clock;
pub mod process;
pub mod thread;
pub mod user;

use anyhow::Result;

use crate::{
    probe::Scope,
    reading::Reading,
    sample::{Subject, SubjectKind},
};
use cgroup::Cgroup;
use container::Container;
pub use cpu_clock::CpuClock;
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
        /// Whether the children that they fork from now on are measured as well.
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
            Self::Threads(threads) if threads.len() == 1 => Scope::Thread(threads[0].tid),
            Self::Threads(threads) => {
                Scope::Threads(threads.iter().map(|thread| thread.tid).collect())
            }
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

    /// Whether there can be an end to it: others may always come again.
    pub fn can_exit(&self) -> bool {
        matches!(self, Self::Processes { .. } | Self::Threads(_) | Self::Command { .. })
    }

    /// Whether all that was given is gone. Followed children are not looked at.
    pub fn has_exited(&self) -> bool {
        match self {
            Self::Threads(threads) => threads.iter().all(|thread| thread.now().is_none()),
            _ => self.can_exit() && self.processes().all(Process::has_exited),
        }
    }

    /// What it is and how it stands now. `only` says which of its calls are recorded.
    pub fn subject(&mut self, only: Option<String>, exited: bool) -> Subject {
        let mut subject = Subject {
            kind: SubjectKind::Host,
            name: "whole host".to_owned(),
            detail: "all processes".to_owned(),
            pid: None,
            threads: Reading::NotCollected,
            only,
            exited,
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
                subject.name.clone_from(name);
                subject.detail = "every process of that name".to_owned();
            }
            Self::Cgroup(cgroup) => {
                subject.kind = SubjectKind::Cgroup;
                subject.name.clone_from(&cgroup.path);
                subject.detail = "cgroup and those in it".to_owned();
            }
            Self::Container(container) => {
                let id: String = container.id.chars().take(12).collect();
                subject.kind = SubjectKind::Container;
                subject.name = container.name.clone().unwrap_or_else(|| id.clone());
                subject.detail = format!("{} container {id}", container.runtime);
            }
            Self::User(user) => {
                subject.kind = SubjectKind::User;
                subject.name = user.name.clone().unwrap_or_else(|| user.uid.to_string());
                subject.detail = format!("all processes of uid {}", user.uid);
            }
            Self::Host => {}
        }
        subject
    }
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
    let mut names: Vec<&str> = given.iter().map(|process| process.comm.as_str()).collect();
    names.dedup();
    subject.kind = SubjectKind::Processes;
    subject.name = few(&names);
    let pids: Vec<String> = given.iter().map(|process| process.pid.to_string()).collect();
    subject.detail = format!("pids {}{children}", few(&pids));
}

fn of_threads(subject: &mut Subject, threads: &[Thread]) {
    let alive = threads.iter().filter(|thread| thread.now().is_some()).count();
    subject.threads = u32::try_from(alive).map_or(Reading::NotCollected, Reading::Exact);
    if let [thread] = threads {
        subject.kind = SubjectKind::Thread;
        subject.name.clone_from(&thread.comm);
        subject.detail = format!("tid {} of pid {}", thread.tid, thread.process.pid);
        subject.pid = Some(thread.process.pid);
        return;
    }
    let mut names: Vec<&str> = threads.iter().map(|thread| thread.comm.as_str()).collect();
    names.dedup();
    subject.kind = SubjectKind::Threads;
    subject.name = few(&names);
    let tids: Vec<String> = threads.iter().map(|thread| thread.tid.to_string()).collect();
    subject.detail = format!("tids {}", few(&tids));
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
