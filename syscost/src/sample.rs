//! A sample: everything one look at the kernel read. Raw, cumulative, owned, recordable.
//!
//! Knows no rates, no percentiles and no names; those are the model's.

use syscost_common::{
    cell::PARTS,
    hist::{BUCKETS, PART_BUCKETS},
    kind::AbiClass,
    ledger::COUNTERS,
};

use crate::{group::GroupBy, reading::Reading, spread::Spread};

/// What was read at one moment, counted since the probes were attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it was read, ns of CLOCK_MONOTONIC (which stops in suspend).
    pub at_ns: u64,
    /// How long reading it took after that, ns. Calls that ended in this time may be in it.
    pub read_ns: u64,
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
    /// How much detail is collected.
    pub detail: DetailSample,
    /// CPU time that what is measured has used.
    pub cpu: CpuSample,
    /// Whether one of the processes held a ring of io_uring's when the probes were attached.
    pub ring_at_attach: bool,
    /// How many other BPF programs were at the hooks of calls then; `None` where that is not known.
    pub other_tracers: Option<u32>,
    /// What crossing into the kernel costs on this machine; `None` where nobody has calibrated.
    pub calibrated: Option<Calibrated>,
    /// What the programs themselves cost when that was last measured; `None` where it never was.
    pub cost: Option<CostSample>,
}

/// CPU time that what is measured has used since attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuSample {
    /// By its threads, inside calls and outside, ns.
    pub used_ns: Reading<u64>,
    /// By the kernel threads that io_uring runs in its processes, ns.
    pub io_workers_ns: Reading<u64>,
    /// Grows whenever some of that time is not seen.
    pub unseen: u64,
}

impl CpuSample {
    /// Where nothing is known.
    pub const UNKNOWN: Self =
        Self { used_ns: Reading::NotCollected, io_workers_ns: Reading::NotCollected, unseen: 0 };
}

/// What the programs cost, measured for a moment: the kernel's statistics are not for free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostSample {
    /// How long they ran, over all CPUs, percent of one CPU.
    pub run_pct: f64,
    /// How long one run took on average, ns; `None` where none ran.
    pub run_ns: Option<f64>,
    /// When that was, ns of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// What they may cost at most, percent of one CPU; `None` without a budget.
    pub budget_pct: Option<f64>,
    /// How much detail was collected then.
    pub detail: Detail,
}

/// What `syscost calibrate` found out about the machine, as far as it bears on what is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibrated {
    /// What crossing into the kernel and back costs by itself, ns.
    pub crossing_ns: Spread,
    /// What being measured adds to a call, ns; `None` where it is not known.
    pub target_tax_ns: Option<Spread>,
    /// What it adds to a call of everybody else, ns; `None` where it is not known.
    pub bystander_tax_ns: Option<Spread>,
}

/// How much detail is collected, from most to least; each level goes without what those before it
/// have as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Everything.
    #[default]
    Full,
    /// Waiting for a CPU is not told from being blocked: wake-ups are not seen.
    NoRunq,
    /// Time on the CPU is not told from that off it: context switches are not seen.
    NoOnCpu,
    /// One call of so many, a power of two, is measured, and stands for all.
    Sampling(u32),
}

impl Detail {
    /// All that are used, in order.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::NoRunq, Self::NoOnCpu, Self::Sampling(16), Self::Sampling(256)];

    /// What it is called in what programs read.
    pub fn id(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoRunq => "no_runq",
            Self::NoOnCpu => "no_on_cpu",
            Self::Sampling(_) => "sampling",
        }
    }

    /// Of how many calls one is measured.
    pub fn one_in(self) -> u32 {
        match self {
            Self::Sampling(one_in) => one_in,
            Self::Full | Self::NoRunq | Self::NoOnCpu => 1,
        }
    }
}

/// What was collected of that which can be gone without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetailSample {
    /// Whether these hooks can tell what a latency consists of.
    pub parts: bool,
    /// The level at the moment.
    pub level: Detail,
    /// How long, since attach, wake-ups were not seen, ns.
    pub without_wakeups_ns: u64,
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
    /// When it was entered, ns of CLOCK_MONOTONIC; `None` when that was before attaching, or is not known.
    pub entered_at_ns: Option<u64>,
    /// Whether another call of a sample stands for it: when it was entered is not known.
    pub sampled_out: bool,
    /// Its arguments, as the registers held them; `None` when it returned before they were read.
    pub args: Option<[u64; 6]>,
    /// Whether the thread could run, rather than waited; `None` likewise.
    pub runnable: Option<bool>,
    /// Whether a signal interrupted it and a handler runs, or has not returned to it yet.
    pub interrupted: bool,
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
    /// Why there may be no calls of it; `None` where nothing is known that would explain it.
    pub why_empty: Option<WhyEmpty>,
}

/// Why there may be no calls to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyEmpty {
    /// No process was there that is what was asked for.
    NoProcess,
    /// The processes that were given made no calls, but have this many living children, which are not
    /// measured.
    OnlyChildren(usize),
    /// The filter leaves out every call.
    NoKinds,
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
    /// The groups with a finished call, in no particular order. Read before the syscalls, which have all that
    /// is in here.
    pub groups: Vec<GroupSample>,
    /// Calls that were being added to their threads' when these were read, see [`LedgerSample::recording`].
    pub recording: u64,
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
    /// How many threads these calls are of, dead ones included. A thread that has left the group is not
    /// among them.
    pub threads: u64,
    /// Finished calls.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Sum of their latencies, ns.
    pub total_ns: u64,
    /// What the latencies of `parted` of them consist of, ns; indexed by
    /// [`syscost_common::cell::PartOf`].
    pub parts_ns: [u64; PARTS],
    /// The calls of which that is known.
    pub parted: u64,
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
    /// All dead threads that found no room for a group of their own, merged.
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
    /// What the latencies consist of, indexed by [`syscost_common::cell::PartOf`].
    pub parts: Box<[PartSample; PARTS]>,
    /// Failed calls per errno, in ascending order, those that occurred. Errno 0 stands for
    /// errors beyond the kernel's table.
    pub errnos: Vec<(u16, u64)>,
}

/// One part of the latencies of a kind's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSample {
    /// Sum over the calls, ns.
    pub sum_ns: u64,
    /// Calls per bucket; see [`syscost_common::hist::PART`] and [`syscost_common::cell::Part`].
    pub buckets: [u64; PART_BUCKETS],
}

impl PartSample {
    const EMPTY: Self = Self { sum_ns: 0, buckets: [0; PART_BUCKETS] };
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
            parts: Box::new([PartSample::EMPTY; PARTS]),
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
    /// Calls that were being recorded when their syscall was read, all the time that it was tried: their
    /// number, their latency, its parts and their errno may not all be in the sample, but will be in the next.
    /// Nearly always 0.
    pub recording: u64,
    /// Program runs that the kernel skipped (`recursion_misses`), over all our programs.
    pub program_misses: SkippedRuns,
}

/// What is known of program runs that the kernel skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SkippedRuns {
    /// The kernel has no such count. Kernels before 5.12 have none, and need none: they run whatever is
    /// attached to a raw tracepoint, without a guard against recursion that could skip it.
    #[default]
    NotCounted,
    /// The kernel counts them, but did not tell how many: some may have been skipped.
    Unknown,
    /// So many.
    Counted(u64),
}

impl SkippedRuns {
    /// How many, where that is known.
    pub fn counted(self) -> Option<u64> {
        match self {
            Self::Counted(n) => Some(n),
            Self::NotCounted | Self::Unknown => None,
        }
    }

    /// Those of two programs together. What is not known of one is not known of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Counted(one), Self::Counted(other)) => Self::Counted(one + other),
            (Self::NotCounted, known) | (known, Self::NotCounted) => known,
        }
    }
}

/// The number, or nothing.
impl serde::Serialize for SkippedRuns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.counted().serialize(serializer)
    }
}
