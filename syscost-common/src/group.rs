//! Groups: calls added up by process, thread, cgroup or name, beside the histograms by syscall.
//!
//! Each thread adds up its own calls in its own storage, where no other thread writes. When it dies, its totals move to
//! those of its group.

use crate::{cell::PARTS, in_flight::ThreadIds};

/// No totals are kept.
pub const NONE: u32 = 0;
/// Totals of dead threads are added up by process.
pub const BY_PROCESS: u32 = 1;
/// Totals of dead threads are added up by thread.
pub const BY_THREAD: u32 = 2;
/// Totals of dead threads are added up by cgroup.
pub const BY_CGROUP: u32 = 3;
/// Totals of dead threads are added up by process name.
pub const BY_COMM: u32 = 4;

/// Room for groups with dead threads, `(other)` among them.
pub const MAX_GROUPS: u32 = 16384;

/// The calls of a thread or a group, added up since attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Totals {
    /// Finished calls.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Sum of their latencies, ns.
    pub total_ns: u64,
    /// What those whose parts are known consist of, ns; indexed by [`crate::cell::PartOf`].
    pub parts_ns: [u64; PARTS],
    /// Finished calls whose parts are known.
    pub parted: u64,
}

/// The totals of a living thread, in its own storage. Written by the thread alone; `mark` by the iterator that lists
/// threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnTotals {
    /// Its calls. `calls` is the first to be written, all else of the call after that.
    pub totals: Totals,
    /// `totals.calls` again, written last. While the two differ, a call is being added.
    pub complete: u64,
    /// Which listing of threads saw it last, see [`mark`]; 0 for none.
    pub mark: u64,
}

const _: () = assert!(size_of::<OwnTotals>() == 72);

/// The bits of a mark that hold a tid: no tid is longer (PID_MAX_LIMIT, include/linux/threads.h).
const MARK_TID_BITS: u32 = 24;

/// The mark of a thread in one listing: the number of the listing, and the tid in the root PID namespace. No other listing
/// or thread has the same.
#[inline(always)]
pub const fn mark(listing: u64, tid: u32) -> u64 {
    listing << MARK_TID_BITS | (tid as u64 & ((1 << MARK_TID_BITS) - 1))
}

/// The tid in a mark.
pub const fn marked_tid(mark: u64) -> u32 {
    (mark & ((1 << MARK_TID_BITS) - 1)) as u32
}

/// Which group: by process the tgid and its start, by thread the tid and its start, by cgroup its
/// id and 0, by name the name. The start (ns of CLOCK_MONOTONIC) differs where an id is used again.
pub type Key = [u64; 2];

/// The group `(other)`, for threads whose group found no room. No id has these values.
pub const OTHER: Key = [u64::MAX; 2];

/// The index of the group [`OTHER`].
pub const OTHER_INDEX: u32 = 0;

/// What is kept of a group's dead threads. All zero: an unused entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Group {
    /// Which group. Written once, before there are any calls; of [`OTHER_INDEX`] not at all.
    pub key: Key,
    /// Their calls.
    pub totals: Totals,
    /// How many dead threads these calls are of.
    pub threads: u64,
    /// By thread the thread's name, else that of the process; as of the thread that made the entry.
    pub comm: crate::comm::Comm,
}

const _: () = assert!(size_of::<Group>() == 96);

/// How many deaths are remembered one by one.
pub const DEATHS: u32 = 16384;

/// A thread whose totals have moved to its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Death {
    /// Its last [`OwnTotals::mark`].
    pub mark: u64,
    /// Where its group is among the groups.
    pub group: u32,
    /// Explicit padding: kernel memory holds nothing undefined.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Death>() == 16);

/// What the iterator over threads writes for each thread with totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadTotals {
    /// The thread. By thread, `comm` is the thread's own name.
    pub ids: ThreadIds,
    /// When the thread was started, ns of CLOCK_MONOTONIC.
    pub started_at: u64,
    /// When its process was started, ns of CLOCK_MONOTONIC.
    pub process_started_at: u64,
    /// The cgroup it is in (of the unified hierarchy).
    pub cgroup_id: u64,
    /// Its calls.
    pub totals: Totals,
    /// How many of these calls were being added at that moment, and may lack their time; nearly always 0.
    pub unfinished: u64,
    /// Its mark in this listing.
    pub mark: u64,
    /// Its mark before that; 0 if no listing has seen it.
    pub previous: u64,
}

const _: () = assert!(size_of::<ThreadTotals>() == 128);
