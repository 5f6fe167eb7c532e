//! What is measured: facts about the target. The model puts them into words.

use serde::{Deserialize, Serialize};

use crate::{filter::Selection, reading::Reading};

/// The target as it was when the sample was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What the user named.
    pub measured: Measured,
    /// Whether syscost runs in the root PID namespace. Elsewhere, targets that are not given by ids are looked for in
    /// syscost's own PID namespace only.
    pub root_namespace: bool,
    /// How many threads the target has.
    pub threads: Reading<u32>,
    /// Which of its calls are recorded.
    pub selection: Selection,
    /// `true` once the target has exited; then nothing in the sample changes any more.
    pub exited: bool,
    /// Why there may be no calls; `None` where no reason is known.
    pub why_empty: Option<WhyEmpty>,
}

/// What the user named. Ids are those of the user's PID namespace. Names are printable
/// ([`crate::decode::printable::external`]) and lose nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Processes by their PIDs; never empty.
    Processes {
        /// The processes, in the order given.
        given: Vec<GivenProcess>,
        /// Whether their children are measured as well.
        follow: bool,
    },
    /// Threads by their tids; never empty.
    Threads {
        /// The threads, in the order given.
        given: Vec<GivenThread>,
    },
    /// A command that syscost started, and its children.
    Command {
        /// The process that it runs in.
        pid: u32,
        /// What the user typed.
        line: String,
    },
    /// All processes of this name.
    Comm(String),
    /// All processes in a cgroup, and in those below it.
    Cgroup {
        /// Its path as `/proc/PID/cgroup` shows it.
        path: String,
    },
    /// All processes in a container.
    Container {
        /// Its id, or its name where the runtime has names only.
        id: String,
        /// Its name, where that is known.
        name: Option<String>,
        /// The runtime that started it.
        runtime: String,
    },
    /// All processes of a user.
    User {
        /// The uid.
        uid: u32,
        /// The name, where there is one.
        name: Option<String>,
    },
    /// All processes.
    Host,
}

/// A process that the user named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenProcess {
    /// Its PID.
    pub pid: u32,
    /// Its name, up to 15 bytes.
    pub comm: String,
}

/// A thread that the user named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenThread {
    /// Its tid.
    pub tid: u32,
    /// The PID of its process.
    pub pid: u32,
    /// The thread's own name, up to 15 bytes.
    pub comm: String,
}

/// Why there may be no calls to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyEmpty {
    /// No process matches the target.
    NoProcess,
    /// The processes that were given made no calls, but have this many living children, which are not measured.
    OnlyChildren(usize),
    /// The filter leaves out every call.
    NoKinds,
}
