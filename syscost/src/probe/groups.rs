//! The calls of each group: what its living threads have in their storage, and what its dead ones
//! have left behind.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result};
use aya::{Ebpf, programs::Iter};
use syscost_common::group::{
    BY_CGROUP, BY_COMM, BY_PROCESS, BY_THREAD, Group, Key, NONE, OTHER, OTHER_INDEX, ThreadTotals,
    Totals,
};

use super::{bpf, load, maps::Mapped, scope};
use crate::{
    group::GroupBy,
    sample::{GroupKey, GroupSample, GroupsSample},
};

/// Threads that die while they are being listed would be missed or count twice. After so many
/// tries to find a moment when none does, missing some for this once has to do.
const TRIES: usize = 8;

/// What the programs are told about `by`.
pub(super) fn constant(by: GroupBy) -> u32 {
    match by {
        GroupBy::Syscall => NONE,
        GroupBy::Process => BY_PROCESS,
        GroupBy::Thread => BY_THREAD,
        GroupBy::Cgroup => BY_CGROUP,
        GroupBy::Comm => BY_COMM,
    }
}

/// The groups of attached programs.
pub(super) struct Groups {
    by: GroupBy,
    dead: Mapped<Group>,
    threads: OwnedFd,
    last: BTreeMap<Key, Sum>,
    settled: bool,
}

/// What is known of a group.
#[derive(Clone, Copy, Default)]
struct Sum {
    group: Group,
    alive: bool,
}

impl Groups {
    /// The groups `by` of a loaded object, which has room for `room` of them; the iterator's program
    /// must be loaded.
    pub(super) fn open(ebpf: &mut Ebpf, by: GroupBy, room: u32) -> Result<Self> {
        load::fill_queue(ebpf, "FREE_GROUPS", OTHER_INDEX + 1..room)?;
        let dead = Mapped::open(ebpf, "GROUPS", room)?;
        let program: &mut Iter = load::typed(ebpf, "thread_totals")?;
        let threads = bpf::link_task_iterator(program.fd()?.as_fd(), bpf::Tasks::All)
            .context("cannot link the iterator over threads")?;
        Ok(Self { by, dead, threads, last: BTreeMap::new(), settled: false })
    }

    /// The calls of each group so far.
    pub(super) fn read(&mut self) -> Result<GroupsSample> {
        if !self.settled {
            self.last = self.sums_now()?;
        }
        let sums = self.last.iter().filter(|(_, sum)| sum.group.totals.calls > 0);
        let groups = sums.map(|(key, sum)| self.sample(*key, sum)).collect();
        Ok(GroupsSample { by: self.by, groups })
    }

    /// Reads for the last time: no call is recorded any more, and the iterator is about to go.
    pub(super) fn settle(&mut self) {
        if let Ok(sums) = self.sums_now() {
            self.last = sums;
        }
        self.settled = true;
    }

    fn sums_now(&self) -> Result<BTreeMap<Key, Sum>> {
        let mut dead = self.dead();
        for _ in 0..TRIES {
            let living = self.living()?;
            let after = self.dead();
            if dead == after {
                return Ok(self.sums(dead, living));
            }
            dead = after;
        }
        // The dead first: who dies after that is in neither reading, never in both.
        let dead = self.dead();
        Ok(self.sums(dead, self.living()?))
    }

    fn sums(&self, dead: BTreeMap<Key, Group>, living: Vec<ThreadTotals>) -> BTreeMap<Key, Sum> {
        let of_dead = |(key, group)| (key, Sum { group, alive: false });
        let mut sums: BTreeMap<Key, Sum> = dead.into_iter().map(of_dead).collect();
        for thread in living {
            let sum = sums.entry(key_of(self.by, &thread)).or_default();
            sum.alive = true;
            let group = &mut sum.group;
            group.comm = thread.ids.comm;
            group.totals.calls += thread.totals.calls;
            group.totals.errors += thread.totals.errors;
            group.totals.total_ns += thread.totals.total_ns;
            group.totals.parted += thread.totals.parted;
            for (sum, ns) in group.totals.parts_ns.iter_mut().zip(thread.totals.parts_ns) {
                *sum += ns;
            }
        }
        // Threads stay in their process: what it had, it still has, even if one that is just dying
        // was missed. All other groups can be left, and then really have less.
        if self.by == GroupBy::Process {
            for (key, last) in &self.last {
                let Totals { calls, errors, total_ns, parts_ns, parted } = last.group.totals;
                let group = &mut sums.entry(*key).or_insert(*last).group;
                group.totals.calls = group.totals.calls.max(calls);
                group.totals.errors = group.totals.errors.max(errors);
                group.totals.total_ns = group.totals.total_ns.max(total_ns);
                group.totals.parted = group.totals.parted.max(parted);
                for (sum, ns) in group.totals.parts_ns.iter_mut().zip(parts_ns) {
                    *sum = (*sum).max(ns);
                }
            }
        }
        sums
    }

    fn sample(&self, key: Key, Sum { group, alive }: &Sum) -> GroupSample {
        let comm = scope::name(group.comm);
        let key = match self.by {
            _ if key == OTHER => GroupKey::Other,
            GroupBy::Process => GroupKey::Process { pid: key[0] as u32, started_at_ns: key[1] },
            GroupBy::Thread => GroupKey::Thread { tid: key[0] as u32, started_at_ns: key[1] },
            GroupBy::Cgroup => GroupKey::Cgroup { id: key[0] },
            GroupBy::Comm | GroupBy::Syscall => GroupKey::Comm(scope::name(key)),
        };
        let named = matches!(key, GroupKey::Process { .. } | GroupKey::Thread { .. });
        let Totals { calls, errors, total_ns, parts_ns, parted } = group.totals;
        let name = named.then_some(comm);
        GroupSample { key, name, alive: *alive, calls, errors, total_ns, parts_ns, parted }
    }

    fn dead(&self) -> BTreeMap<Key, Group> {
        let mut dead: BTreeMap<Key, Group> = self
            .dead
            .iter()
            .filter(|group| group.totals.calls > 0)
            .map(|group| (group.key, group))
            .collect();
        // Where the key of all others would be is no key at all.
        if let Some(other) = dead.remove(&Key::default()) {
            dead.insert(OTHER, other);
        }
        dead
    }

    fn living(&self) -> Result<Vec<ThreadTotals>> {
        bpf::run_iterator(self.threads.as_fd()).context("cannot list the threads")
    }
}

// SAFETY: integers only.
unsafe impl bpf::Record for ThreadTotals {}

/// The group that the kernel's programs would put a dying thread's calls in.
fn key_of(by: GroupBy, thread: &ThreadTotals) -> Key {
    match by {
        GroupBy::Process => [thread.ids.tgid.into(), thread.process_started_at],
        GroupBy::Thread => [thread.ids.tid.into(), thread.started_at],
        GroupBy::Cgroup => [thread.cgroup_id, 0],
        GroupBy::Comm => thread.ids.comm,
        GroupBy::Syscall => OTHER,
    }
}
