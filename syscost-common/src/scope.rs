//! The scope: the kernel's predicate for whose calls are measured, set before loading.

/// The scope is the process with tgid [`Scope::id`], with all of its threads.
pub const PROCESS: u32 = 0;
/// The scope is the thread with tid [`TargetState::id`] of the process with tgid [`Scope::id`].
pub const THREAD: u32 = 1;
/// The scope is the processes whose tgids are in the map of targets.
pub const PROCESSES: u32 = 2;
/// The scope is the threads whose tids are in the map of targets.
pub const THREADS: u32 = 3;
/// The scope is all processes whose leader is called [`Scope::comm`].
pub const COMM: u32 = 4;
/// The scope is all tasks in the cgroup [`Scope::cgroup_id`] and its descendants.
pub const CGROUP: u32 = 5;
/// The scope is all tasks of the real uid [`Scope::id`].
pub const USER: u32 = 6;
/// The scope is every task.
pub const HOST: u32 = 7;

/// Room in the map of targets: processes followed, or threads chosen, at the same time.
pub const MAX_TARGETS: u32 = 16384;

/// Room for the forks on the whole host while the targets' children are being looked for.
pub const MAX_FORKS: u32 = 16384;

/// In the map of targets: user space has entered it.
pub const GIVEN: u32 = 0;
/// In the map of targets: a child, which counts in [`TargetState::children`].
pub const FOLLOWED: u32 = 1;
/// In the map of targets: a child that existed before; user space has entered it and is checking that
/// it still lives. Its own children are not followed yet.
pub const CHECKED: u32 = 2;

/// What has become of the targets since they were entered. All-zero bytes: none is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TargetState {
    /// For [`THREAD`] the tid of the thread now, which exec can change; for [`PROCESS`] the tgid. 0 once
    /// the thread, or the process, has ended: others may get its id then.
    pub id: u64,
    /// For [`PROCESSES`] and [`THREADS`]: how many of the given ones have ended.
    pub given_ended: u64,
    /// How many followed children live, less those that user space has entered.
    pub children: u64,
    /// 1: for [`PROCESS`] without kernel BTF, the first thread has ended.
    pub leader_ended: u64,
    /// For [`THREAD`] and [`THREADS`]: how often a thread has taken the tid of a first thread by an exec. For
    /// [`THREADS`], in any process of the host.
    pub leaders_replaced: u64,
    /// 1: when the probes were attached, a task in scope held a ring of io_uring's.
    pub holds_ring: u64,
}

const _: () = assert!(size_of::<TargetState>() == 48);

/// What the iterator over tasks writes about each: its ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TaskIds {
    /// Its tid in the root PID namespace.
    pub tid: u32,
    /// Its tid in the PID namespace of the reader; 0 if it has none there.
    pub shown_tid: u32,
    /// How deep that namespace lies; 0 for the root one.
    pub reader_level: u32,
}

const _: () = assert!(size_of::<TaskIds>() == 12);

/// Whose calls are measured. Ids are those of the root PID namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Scope {
    /// Which predicate; one of this module's constants.
    pub mode: u32,
    /// A tgid, a tid or a uid.
    pub id: u32,
    /// 1: the children of processes in scope come into scope when they are forked.
    pub follow: u32,
    /// The tgid that is left out of [`COMM`] to [`HOST`]: the tracer itself. 0 for none.
    pub not_tgid: u32,
    /// The depth of the cgroup; 0 for the root.
    pub cgroup_level: u32,
    /// Nesting depth of the PID namespace that ids are shown in; 0 for the root one.
    pub pid_level: u32,
    /// The cgroup's id: the inode number of its directory.
    pub cgroup_id: u64,
    /// A process name, padded with zeroes.
    pub comm: crate::comm::Comm,
    /// Device of the PID namespace that [`COMM`] to [`HOST`] are confined to, as the kernel encodes
    /// it; counts only where `pid_level` is not 0.
    pub pid_ns_dev: u64,
    /// Its inode number.
    pub pid_ns_ino: u64,
}

const _: () = assert!(size_of::<Scope>() == 64);
