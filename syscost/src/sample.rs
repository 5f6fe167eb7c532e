//! A sample: everything one look at the kernel read. Raw, cumulative, owned, recordable.
//!
//! Knows no rates, no percentiles and no names; those are the model's.

use syscost_common::{hist::BUCKETS, kind::AbiClass, ledger::COUNTERS};

use crate::{group::GroupBy, reading::Reading};

/// What was read at one moment, counted since the probes were attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it was read, ns of CLOCK_MONOTONIC (which stops in suspend).
    pub at_ns: u64,
    /// When the probes were attached, on the same clock.
    pub attached_at_ns: u64,
    /// What is measured.
    pub subject: Subject,
    /// One entry for each syscall kind that has occurred, in order of ABI and number; the
    /// shared overflow entry, if it has anything, comes last.
    pub kinds: Vec<KindSample>,
    /// The calls that were open, in no particular order; `None` where they cannot be listed.
    pub open_calls: Option<Vec<OpenCallSample>>,
    /// The calls by who made them; `None` where that was not asked for.
    pub groups: Option<GroupsSample>,
    /// The ledger.
    pub ledger: LedgerSample,
}

/// A call that was open when the sample was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCallSample {
    /// The thread that made it, and its process.
    pub thread: ThreadName,
    /// How it came in.
    pub abi: AbiClass,
    /// Its number within the ABI.
    pub nr: u32,
    /// When it was entered, ns of CLOCK_MONOTONIC; `None` when that was before attaching.
    pub entered_at_ns: Option<u64>,
    /// Its arguments, as the registers held them.
    pub args: [u64; 6],
    /// Whether the thread could run, rather than waited.
    pub runnable: bool,
}

/// A thread and the process it belongs to, as the user's PID namespace numbers them; 0 for what it
/// does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadName {
    /// The thread.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// The name of the process.
    pub comm: String,
}

/// What is measured, as it was when the sample was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What was asked for.
    pub kind: SubjectKind,
    /// Its name: of a process, its `/proc/PID/comm`, up to 15 bytes.
    pub name: String,
    /// Which one of that name, in a few words: `pid 1234`.
    pub detail: String,
    /// The process, where it is one, as the user's PID namespace numbers it.
    pub pid: Option<u32>,
    /// How many threads it has.
    pub threads: Reading<u32>,
    /// Which calls are recorded, in a few words; `None` for all.
    pub only: Option<String>,
    /// `true` once it has exited; then nothing in the sample changes any more.
    pub exited: bool,
}

/// What kind of thing is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
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
    /// A command that was started to be measured, and its children.
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

/// The calls by who made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsSample {
    /// What they are added up by.
    pub by: GroupBy,
    /// The groups with a finished call, in no particular order.
    pub groups: Vec<GroupSample>,
}

/// The calls of one group since attach: those of its living threads and of its dead ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSample {
    /// Which group.
    pub key: GroupKey,
    /// The name of the process, or the path of the cgroup; `None` where it is not known.
    pub name: Option<String>,
    /// Whether a thread that made some of the calls lives.
    pub alive: bool,
    /// Finished calls.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Sum of their latencies, ns.
    pub total_ns: u64,
}

/// Who made calls that are added up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupKey {
    /// A process; `started_at_ns` (CLOCK_MONOTONIC) tells reused PIDs apart.
    Process {
        /// Its PID, as the user's PID namespace numbers it.
        pid: u32,
        /// When it was started.
        started_at_ns: u64,
    },
    /// A thread.
    Thread {
        /// Its tid, as the user's PID namespace numbers it.
        tid: u32,
        /// When it was started.
        started_at_ns: u64,
    },
    /// A cgroup of the unified hierarchy.
    Cgroup {
        /// Its id: the inode number of its directory.
        id: u64,
    },
    /// All processes of this name.
    Comm(String),
    /// Everybody dead for whom there was no room.
    Other,
}

/// Which syscalls a [`KindSample`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KindKey {
    /// One number of one ABI; `nr` is [`syscost_common::kind::NR_OUT_OF_RANGE`] for all numbers
    /// beyond the table.
    Call {
        /// How the call came in.
        abi: AbiClass,
        /// Its number within the ABI.
        nr: u32,
    },
    /// All the kinds that found no slot left.
    Overflow,
}

/// The cells of one syscall kind, merged over all CPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct KindSample {
    /// Which syscalls it counts.
    pub key: KindKey,
    /// Sum of latencies, ns.
    pub sum_ns: u64,
    /// Shortest latency, ns. Meaningless when no bucket counts anything.
    pub min_ns: u64,
    /// Longest latency, ns.
    pub max_ns: u64,
    /// Calls per latency bucket; see [`syscost_common::hist`].
    pub buckets: Box<[u64; BUCKETS]>,
    /// Failed calls per errno, in ascending order, those that occurred. Errno 0 stands for
    /// errors beyond the kernel's table.
    pub errnos: Vec<(u16, u64)>,
}

impl KindSample {
    /// An entry that counts nothing yet.
    pub fn empty(key: KindKey) -> Self {
        Self {
            key,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            buckets: Box::new([0; BUCKETS]),
            errnos: Vec::new(),
        }
    }

    /// The number of finished calls.
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The ledger's counters, summed over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerSample {
    /// Indexed by [`syscost_common::ledger::Counter`].
    pub counters: [u64; COUNTERS],
    /// Program runs that the kernel skipped (`recursion_misses`), over all our programs.
    /// Kernels before 5.12 do not count them.
    pub program_misses: Option<u64>,
}
