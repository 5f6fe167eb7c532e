//! The ledger: one counter for every way an event can end, so that calls add up.

use crate::detail::Knobs;

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
    /// Calls that were exited and recorded. The histograms count them as well; here they lie
    /// beside `Enters`, so that the calls in flight can be told while others come and go.
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
    /// Exits by which a signal took a call out of the kernel that had not returned by that. A call
    /// that then turns out to have failed with EINTR moves from here to `Matched`.
    Interrupted = 10,
    /// Enters by which the kernel took such a call up again: no calls of their own.
    Restarts = 11,
    /// Interrupted calls that were taken for failed with EINTR, because another one was
    /// interrupted before it was clear what became of them.
    RestartsGuessed = 12,
    /// Finished calls that the filter on results leaves out: not failed, or not in the way asked.
    Filtered = 13,
    /// Children that were not followed because there was no room for another target.
    TargetsFull = 14,
    /// Dead threads whose totals went to the group of all others for want of room.
    GroupsFull = 15,
    /// Followed children that live: raised when one is forked, lowered when it is dead.
    Children = 16,
    /// Times a thread went on after waiting although its wake-up was not seen, on a kernel whose
    /// scheduler keeps no account either: what it waited for a CPU after that is taken for blocked.
    WakeupsMissed = 17,
    /// Calls recorded for several, where calls are sampled; each counts its weight in `Matched`.
    Sampled = 18,
    /// Calls entered that another one of the sample stands for; they are not in `Enters`.
    SampledOut = 19,
    /// Calls recorded without what their latency consists of, though these hooks can tell: context
    /// switches were not seen all along.
    Unparted = 20,
}

/// The number of counters.
pub const COUNTERS: usize = 22;

/// The counters of one CPU, each only ever written by that CPU, and the settings, which user space
/// writes to all CPUs alike. Three cache lines, the first of which each call takes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Ledger {
    /// How much detail is collected.
    pub knobs: Knobs,
    /// Not 0 once enters are seen: until then, exits without one are of calls that began before.
    pub sees_enters: u64,
    /// Indexed by [`Counter`].
    pub counters: [u64; COUNTERS],
}

const _: () = assert!(size_of::<Ledger>() == 192);
