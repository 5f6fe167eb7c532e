//! What is measured, in words.

use std::collections::HashSet;

use serde::Serialize;

use crate::{
    reading::Reading,
    sample::{self, GivenProcess, GivenThread, Measured, WhyEmpty},
};

/// A header lists this many names; the rest is only counted.
const LISTED: usize = 4;

/// The id of a container is shown with this many digits, as its runtime does.
const CONTAINER_ID_DIGITS: usize = 12;

/// What is measured, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What kind of target it is.
    pub kind: SubjectKind,
    /// Its name: of a process, its `/proc/PID/comm`.
    pub name: String,
    /// Which one of that name, in a few words: `pid 1234`.
    pub detail: String,
    /// The process, if it is one, as the user's PID namespace numbers it.
    pub pid: Option<u32>,
    /// How many threads it has.
    pub threads: Reading<u32>,
    /// Which of its calls are recorded, in a few words; `None` for all.
    pub only: Option<String>,
    /// `true` once it has exited; then nothing changes any more.
    pub exited: bool,
    /// Why there may be no calls; `None` where no reason is known.
    pub why_empty: Option<WhyEmpty>,
}

/// What kind of target is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// One process.
    Process,
    /// Several processes.
    Processes,
    /// One thread.
    Thread,
    /// Several threads.
    Threads,
    /// A command that syscost started, and its children.
    Command,
    /// All processes of a name.
    Comm,
    /// All processes in a cgroup.
    Cgroup,
    /// All processes in a container.
    Container,
    /// All processes of a user.
    User,
    /// All processes of the host.
    Host,
}

impl Subject {
    /// The words for what was measured.
    pub fn new(subject: &sample::Subject) -> Self {
        let Words { kind, name, detail, pid } = words(&subject.measured, subject.root_namespace);
        Self {
            kind,
            name,
            detail,
            pid,
            threads: subject.threads,
            only: subject.selection.describe(),
            exited: subject.exited,
            why_empty: subject.why_empty,
        }
    }
}

struct Words {
    kind: SubjectKind,
    name: String,
    detail: String,
    pid: Option<u32>,
}

fn words(measured: &Measured, root_namespace: bool) -> Words {
    let (host, within) = if root_namespace {
        ("whole host", "")
    } else {
        ("this PID namespace", " in this PID namespace")
    };
    let of = |kind, name: &str, detail| Words { kind, name: name.to_owned(), detail, pid: None };
    match measured {
        Measured::Processes { given, follow } => processes(given, *follow),
        Measured::Threads { given } => threads(given),
        Measured::Command { pid, line } => {
            of(SubjectKind::Command, line, format!("pid {pid} and its children"))
        }
        Measured::Comm(name) => {
            of(SubjectKind::Comm, name, format!("every process of that name{within}"))
        }
        Measured::Cgroup { path } => {
            of(SubjectKind::Cgroup, path, format!("cgroup and those in it{within}"))
        }
        Measured::Container { id, name, runtime } => {
            let id: String = id.chars().take(CONTAINER_ID_DIGITS).collect();
            let detail = format!("{runtime} container {id}{within}");
            of(SubjectKind::Container, name.as_ref().unwrap_or(&id), detail)
        }
        Measured::User { uid, name } => {
            let detail = format!("all processes of uid {uid}{within}");
            let name = name.clone().unwrap_or_else(|| uid.to_string());
            of(SubjectKind::User, &name, detail)
        }
        Measured::Host => of(SubjectKind::Host, host, "all processes".to_owned()),
    }
}

fn processes(given: &[GivenProcess], follow: bool) -> Words {
    let children = if follow { " and children" } else { "" };
    if let [process] = given {
        return Words {
            kind: SubjectKind::Process,
            name: process.comm.clone(),
            detail: format!("pid {}{children}", process.pid),
            pid: Some(process.pid),
        };
    }
    let pids: Vec<String> = given.iter().map(|process| process.pid.to_string()).collect();
    Words {
        kind: SubjectKind::Processes,
        name: listed(&distinct(given.iter().map(|process| process.comm.as_str()))),
        detail: format!("pids {}{children}", listed(&pids)),
        pid: None,
    }
}

fn threads(given: &[GivenThread]) -> Words {
    if let [thread] = given {
        return Words {
            kind: SubjectKind::Thread,
            name: thread.comm.clone(),
            detail: format!("tid {} of pid {}", thread.tid, thread.pid),
            pid: Some(thread.pid),
        };
    }
    let tids: Vec<String> = given.iter().map(|thread| thread.tid.to_string()).collect();
    Words {
        kind: SubjectKind::Threads,
        name: listed(&distinct(given.iter().map(|thread| thread.comm.as_str()))),
        detail: format!("tids {}", listed(&tids)),
        pid: None,
    }
}

/// Each name once, at its first place.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

/// The first names, and how many more there are.
fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let mut shown: Vec<&str> = names.iter().take(LISTED).map(AsRef::as_ref).collect();
    let more = format!("{} more", names.len().saturating_sub(LISTED));
    if names.len() > LISTED {
        shown.push(&more);
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_targets_of_one_name_are_named_once() {
        let named = |names: &[&str]| listed(&distinct(names.iter().copied()));
        assert_eq!(named(&["nginx", "sh", "nginx"]), "nginx, sh");
        assert_eq!(named(&["a", "b", "a", "c", "d", "b"]), "a, b, c, d", "only names count");
        assert_eq!(named(&["a", "b", "c", "d", "e", "e"]), "a, b, c, d, 1 more");
    }

    #[test]
    fn every_kind_of_target_has_its_words() {
        let process = |pid, comm: &str| GivenProcess { pid, comm: comm.to_owned() };
        let thread = |tid, comm: &str| GivenThread { tid, pid: 7, comm: comm.to_owned() };
        let container = |name: Option<&str>| Measured::Container {
            id: "0123456789abcdef".to_owned(),
            name: name.map(str::to_owned),
            runtime: "docker".to_owned(),
        };
        let user = |name: Option<&str>| Measured::User { uid: 33, name: name.map(str::to_owned) };
        let cases = [
            (
                Measured::Processes { given: vec![process(7, "sh")], follow: false },
                (SubjectKind::Process, "sh", "pid 7", Some(7)),
            ),
            (
                Measured::Processes {
                    given: vec![process(7, "sh"), process(9, "sh")],
                    follow: true,
                },
                (SubjectKind::Processes, "sh", "pids 7, 9 and children", None),
            ),
            (
                Measured::Threads { given: vec![thread(8, "io")] },
                (SubjectKind::Thread, "io", "tid 8 of pid 7", Some(7)),
            ),
            (
                Measured::Threads { given: vec![thread(8, "io"), thread(9, "net")] },
                (SubjectKind::Threads, "io, net", "tids 8, 9", None),
            ),
            (
                Measured::Command { pid: 7, line: "make all".to_owned() },
                (SubjectKind::Command, "make all", "pid 7 and its children", None),
            ),
            (
                Measured::Comm("sh".to_owned()),
                (SubjectKind::Comm, "sh", "every process of that name", None),
            ),
            (
                Measured::Cgroup { path: "/a".to_owned() },
                (SubjectKind::Cgroup, "/a", "cgroup and those in it", None),
            ),
            (
                container(Some("web")),
                (SubjectKind::Container, "web", "docker container 0123456789ab", None),
            ),
            (
                container(None),
                (SubjectKind::Container, "0123456789ab", "docker container 0123456789ab", None),
            ),
            (
                user(Some("www-data")),
                (SubjectKind::User, "www-data", "all processes of uid 33", None),
            ),
            (user(None), (SubjectKind::User, "33", "all processes of uid 33", None)),
            (Measured::Host, (SubjectKind::Host, "whole host", "all processes", None)),
        ];
        for (measured, expected) in cases {
            let Words { kind, name, detail, pid } = words(&measured, true);
            assert_eq!((kind, name.as_str(), detail.as_str(), pid), expected);
        }
        let inside = words(&Measured::Comm("sh".to_owned()), false);
        assert_eq!(inside.detail, "every process of that name in this PID namespace");
        assert_eq!(words(&Measured::Host, false).name, "this PID namespace");
    }
}
