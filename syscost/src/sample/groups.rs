//! The calls added up by process, thread, cgroup or name.

use serde::{Deserialize, Serialize};
use syscost_common::cell::PARTS;

use super::by_part;
use crate::group::GroupBy;

/// The calls added up by process, thread, cgroup or name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupsSample {
    /// What they are added up by.
    pub by: GroupBy,
    /// The groups with a finished call, in ascending order of key. They are read before the syscalls, which have all
    /// calls that are in here.
    pub groups: Vec<GroupSample>,
    /// Calls that were being added to their threads' totals when these were read, see
    /// [`LedgerSample::recording`](super::LedgerSample::recording).
    pub recording: u64,
}

/// The calls of one group since attach: by threads that live and by threads that have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSample {
    /// Which group.
    pub key: GroupKey,
    /// The name of the process, or the path of the cgroup, printable; `None` where it is not known.
    pub name: Option<String>,
    /// Whether one of the threads that made the calls lives.
    pub alive: bool,
    /// How many threads made the calls, ended ones included. A thread that has moved to another group is not counted.
    pub threads: u64,
    /// Finished calls.
    pub calls: u64,
    /// Finished calls that failed.
    pub errors: u64,
    /// Sum of the latencies, ns.
    pub total_ns: u64,
    /// The parts of the latencies, ns, of the calls whose parts are known; indexed by
    /// [`syscost_common::cell::PartOf`].
    #[serde(with = "by_part")]
    pub parts_ns: [u64; PARTS],
    /// The number of calls whose parts are known.
    pub parted: u64,
}

/// Which calls a group adds up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKey {
    /// Those of a process. Its start time tells it from another process that had the same PID.
    Process {
        /// Its PID in the user's PID namespace.
        pid: u32,
        /// When it was started, ns of CLOCK_MONOTONIC.
        started_at_ns: u64,
    },
    /// Those of a thread.
    Thread {
        /// Its tid in the user's PID namespace.
        tid: u32,
        /// When it was started, ns of CLOCK_MONOTONIC.
        started_at_ns: u64,
    },
    /// Those of a cgroup of the unified hierarchy.
    Cgroup {
        /// Its id: the inode number of its directory.
        id: u64,
    },
    /// Those of all processes with this name.
    Comm(String),
    /// Those of all ended threads for which there was no room to keep a group of their own.
    Other,
}
