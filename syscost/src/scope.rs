//! Whose calls to measure.

/// Whose calls to measure. Ids are those of this process's PID namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All threads of a process: its tgid.
    Process(u32),
    /// One thread.
    Thread(ThreadId),
    /// All threads of some processes.
    Processes {
        /// Their tgids.
        tgids: Vec<u32>,
        /// Whether the children they fork come into scope.
        follow: bool,
    },
    /// Some threads.
    Threads(Vec<ThreadId>),
    /// All processes of a name: at most 15 bytes.
    Comm(String),
    /// All tasks in a cgroup of the unified hierarchy and below it.
    Cgroup {
        /// The inode number of its directory.
        id: u64,
        /// How deep it lies; 0 for the root.
        level: u32,
    },
    /// All processes of a real uid.
    User(u32),
    /// All processes; inside a PID namespace, those of that namespace.
    Host,
}

/// A thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId {
    /// Its tid.
    pub tid: u32,
    /// The tgid of its process.
    pub tgid: u32,
}

impl Scope {
    /// The id of the only process, or thread, that is given; `None` where there may be several.
    pub(crate) fn only(&self) -> Option<u32> {
        match self {
            Self::Process(tgid) => Some(*tgid),
            Self::Thread(thread) => Some(thread.tid),
            _ => None,
        }
    }

    /// Whether it takes kernel BTF to tell who is in it, or who comes into it.
    pub(crate) fn takes_btf(&self) -> bool {
        !matches!(self, Self::Process(_))
    }
}
