//! The ledger: one counter for every way an event can end, so that calls add up.

use crate::settings::Settings;

/// A counter of the ledger; its value is the index into [`Ledger::counters`].
///
/// Every enter that the programs see is counted in `Enters`. Every exit they see is counted in
/// exactly one of `Matched`, `OrphanExits`, `OpenAtAttach`, `NewbornExits`, `Discarded`,
/// `Interrupted`, `Filtered`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Calls entered.
    Enters = 0,
    /// Calls that were exited and recorded. The programs count them in the cells, see
    /// [`crate::cell::Cell::begun`]; user space puts the sum cpu.
    Matched = 1,
    /// Exits without an enter: of calls that were not made, because seccomp denied them or a tracer
    /// replaced their number by -1.
    OrphanExits = 2,
    /// Exits of calls that were already open when the probes were attached, or when their thread
    /// came into scope.
    OpenAtAttach = 3,
    /// First exits of threads born while attached: the child's side of fork, vfork, clone.
    NewbornExits = 4,
    /// Pairs with an impossible time: the exit's clock lies before the enter's.
    Discarded = 5,
    /// Enters that found the thread's former call still open: its exit was never seen.
    ExitsMissed = 6,
    /// Calls still open when their thread died (exit, exit_group, death inside a call).
    EndedWithoutExit = 7,
    /// Calls recorded under the shared overflow slot because all slots were taken.
    SlotsFull = 8,
    /// Enters not recorded because there was no room for the thread's open call.
    OpenCallsFull = 9,
    /// Exits by which a signal took a call out of the kernel before it had a result. If the call turns out to have failed
    /// with EINTR, or to be abandoned, it moves from here to `Matched`.
    Interrupted = 10,
    /// Enters by which the kernel took such a call up again. They are not new calls.
    Restarts = 11,
    /// Interrupted calls whose end or begin was guessed: taken for abandoned for want of room, or by a
    /// stack pointer that turned out to be misleading. Each may count as one call too many, or
    /// without its EINTR. User space adds the threads that were stopped in a call at attach, where no
    /// iterator can look at them.
    RestartsGuessed = 12,
    /// Finished calls that the filter on results leaves out: not failed, or not in the way asked.
    Filtered = 13,
    /// Children that were not followed because there was no room for another target.
    TargetsFull = 14,
    /// Dead threads whose totals went to the group `(other)` because there was no room for another group. No call is lost.
    GroupsFull = 15,
    /// Times a thread went on after waiting although its wake-up was not seen, on a kernel whose
    /// scheduler keeps no account either: what it waited for a CPU after that is taken for blocked.
    WakeupsMissed = 17,
    /// Calls recorded for several, where calls are sampled; each counts its weight in `Matched`.
    Sampled = 18,
    /// Calls entered that are sampled out; they are not in `Enters`.
    SampledOut = 19,
    /// The further calls that those of [`Counter::Sampled`] were recorded for, all of them together:
    /// they are too many in `Matched`, where the calls in `SampledOut` are missing.
    StoodFor = 23,
    /// Calls recorded without the parts of their latency, with hooks that can see them: context switches were not seen all
    /// along.
    Unparted = 20,
    /// Interrupted calls that were abandoned: a handler left by siglongjmp, setcontext or execve, or
    /// its thread died in it. Each is recorded as well, without an errno.
    Abandoned = 21,
    /// Dying threads whose totals began to move to their group.
    GroupMovesBegun = 25,
    /// Dying threads whose totals have moved. While the two differ, over all CPUs, some totals are in neither
    /// place.
    GroupMovesDone = 26,
    /// Calls of io_uring's own that were entered but that the filter leaves out.
    IoUringCalls = 28,
    /// Slices of CPU time of tasks in scope whose begin or end was not seen: they are in no sum.
    SlicesMissed = 29,
}

/// The number of counters, those without a name yet among them.
pub const COUNTERS: usize = 30;

/// The counters of one CPU, each only ever written by that CPU, and the settings, which user space
/// writes to all CPUs alike. Four cache lines, the first of which each call takes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Ledger {
    /// What user space sets while the programs run.
    pub settings: Settings,
    /// Not 0 once enters are seen. Until then, an exit without an enter is of a call that began earlier.
    pub sees_enters: u64,
    /// Indexed by [`Counter`].
    pub counters: [u64; COUNTERS],
}

const _: () = assert!(size_of::<Ledger>() == 256);
