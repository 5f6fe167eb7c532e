//! Groups: calls added up by who made them, beside the histograms by syscall.
//!
//! Each thread adds up its own calls in its own storage, where nobody else writes. When it dies,
//! its totals move to the totals of its group.

use crate::{cell::PARTS, open_call::ThreadIds};

/// No totals are kept.
pub const NONE: u32 = 0;
/// Totals of the dead are kept by process.
pub const BY_PROCESS: u32 = 1;
/// Totals of the dead are kept by thread.
pub const BY_THREAD: u32 = 2;
/// Totals of the dead are kept by cgroup.
pub const BY_CGROUP: u32 = 3;
/// Totals of the dead are kept by process name.
pub const BY_COMM: u32 = 4;

/// Room for groups with dead threads, that of all others among them.
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

/// Which group: by process the tgid and its start, by thread the tid and its start, by cgroup its
/// id and 0, by name the name. Starts (ns of CLOCK_MONOTONIC) tell reused ids apart.
pub type Key = [u64; 2];

/// The group that takes in what found no room elsewhere. No id has these values.
pub const OTHER: Key = [u64::MAX; 2];

/// Where the group [`OTHER`] is among the groups.
pub const OTHER_INDEX: u32 = 0;

/// What is kept of a group's dead threads. All-zero bytes are a group that nobody has died of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Group {
    /// Which group. Written once, before there are any calls; of [`OTHER_INDEX`] not at all.
    pub key: Key,
    /// Their calls.
    pub totals: Totals,
    /// The name of the process they belonged to, as of the last of them that made the entry.
    pub comm: crate::comm::Comm,
}

const _: () = assert!(size_of::<Group>() == 88);

/// What the iterator over threads writes for each thread with totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadTotals {
    /// The thread.
    pub ids: ThreadIds,
    /// When the thread was started, ns of CLOCK_MONOTONIC.
    pub started_at: u64,
    /// When its process was started, ns of CLOCK_MONOTONIC.
    pub process_started_at: u64,
    /// The cgroup it is in (of the unified hierarchy).
    pub cgroup_id: u64,
    /// Its calls.
    pub totals: Totals,
}

const _: () = assert!(size_of::<ThreadTotals>() == 104);
