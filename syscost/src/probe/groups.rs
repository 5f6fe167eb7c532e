//! The calls of each group: totals in the storage of living threads, and totals that dead threads have left.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{Ordering::Acquire, fence},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result};
use aya::{Ebpf, programs::Iter};
use syscost_common::{
    cpu_state::CpuState,
    group::{DEATHS, Death, Group, Key, OTHER, OTHER_INDEX, ThreadTotals, Totals},
    ledger::Counter,
};

use super::{
    bpf,
    cpu_states::CPUS,
    mapped::Mapped,
    object, scope,
    tally::{Found, Sum, Tally},
};
use crate::{
    group::GroupBy,
    sample::{GroupKey, GroupSample, GroupsSample},
};

/// How often to list the threads again when more of them die meanwhile than the ring of deaths holds.
const TRIES: u32 = 4;

/// How long to wait until no dying thread is moving its totals to its group. A move takes a microsecond, unless the
/// machine's virtual CPU is stopped meanwhile. After this time the groups stay as the reading before found them.
const PATIENCE: Duration = Duration::from_millis(100);

/// The groups of attached programs.
pub(super) struct Groups {
    by: GroupBy,
    cpus: Mapped<CpuState>,
    groups: Mapped<Group>,
    deaths: Mapped<Death>,
    death_count: Mapped<u64>,
    threads: OwnedFd,
    /// A copy of `groups`, up to the last one in use.
    dead: Vec<Group>,
    /// How many deaths that copy has.
    seen: u64,
    /// Whether the ring of deaths has overflowed since the last reading.
    forgot: bool,
    tally: Tally,
    /// Set once the last reading was taken; the text says why it failed.
    last: Option<Result<(), String>>,
}

impl Groups {
    /// Groups in the maps of `ebpf`, which have room for `room` groups, on a host with `cpus` possible CPUs. The
    /// program of the iterator must be loaded. `tasks`: the threads to list.
    pub(super) fn open(
        ebpf: &mut Ebpf,
        by: GroupBy,
        room: u32,
        cpus: u32,
        tasks: bpf::Tasks,
    ) -> Result<Self> {
        object::fill_queue(ebpf, "FREE_GROUPS", OTHER_INDEX + 1..room)?;
        let program: &mut Iter = object::program(ebpf, "thread_totals")?;
        let threads = bpf::link_task_iterator(program.fd()?.as_fd(), tasks)
            .context("cannot link the iterator over threads")?;
        Ok(Self {
            by,
            cpus: Mapped::open(ebpf, CPUS, cpus)?,
            groups: Mapped::open(ebpf, "GROUPS", room)?,
            deaths: Mapped::open(ebpf, "DEATHS", DEATHS)?,
            death_count: Mapped::open(ebpf, "DEATH_COUNT", 1)?,
            threads,
            dead: Vec::new(),
            seen: 0,
            forgot: false,
            tally: Tally::new(by, room),
            last: None,
        })
    }

    /// The calls of each group so far.
    pub(super) fn read(&mut self) -> Result<GroupsSample> {
        match &self.last {
            // If it fails for lack of time, the groups stay as the reading before found them.
            None => drop(self.advance()?),
            Some(last) => last.clone().map_err(Error::msg)?,
        }
        let sums = self.tally.sums().iter().filter(|(_, sum)| sum.totals.calls > 0);
        let groups = sums.map(|(key, sum)| self.sample(*key, sum)).collect();
        let recording = self.tally.sums().values().map(|sum| sum.unfinished).sum();
        Ok(GroupsSample { by: self.by, groups, recording })
    }

    /// Takes the last reading: no call is recorded any more, and the iterator is about to be closed. If it fails,
    /// [`Groups::read`] returns the error.
    pub(super) fn read_last(&mut self) {
        let advanced = self.advance().and_then(|all| {
            all.context(
                "threads were dying faster than they can be listed: some calls are in no group",
            )
        });
        self.last = Some(advanced.map_err(|error| format!("{error:#}")));
    }

    /// Lists the threads, then reads which of them have died since: their calls are in the groups. `None`: too many
    /// have died.
    fn advance(&mut self) -> Result<Option<()>> {
        for _ in 0..TRIES {
            let before = self.death_count.read(0);
            let threads: Vec<ThreadTotals> =
                bpf::run_iterator(self.threads.as_fd()).context("cannot list the threads")?;
            if let Some(Deaths { deaths, all }) = self.read_deaths() {
                self.forgot |= !all;
                // Otherwise the ring no longer tells which of the listed threads have died.
                if self.seen - before < u64::from(DEATHS) {
                    self.tally.advance(&Found {
                        threads: &threads,
                        dead: &self.dead,
                        deaths: &deaths,
                        all_deaths: !self.forgot,
                    });
                    self.forgot = false;
                    return Ok(Some(()));
                }
                self.forgot = true;
            }
            self.tally.pass_over(&threads);
        }
        Ok(None)
    }

    /// Brings `dead` up to date. `None`: within [`PATIENCE`], threads were always moving their totals.
    fn read_deaths(&mut self) -> Option<Deaths> {
        let give_up = Instant::now() + PATIENCE;
        let mut rounds = 0_u32;
        loop {
            // If as many moves were done before as are begun after, none was going on in between.
            let done = self.count(Counter::GroupMovesDone);
            fence(Acquire);
            let (count, deaths) = self.deaths_since_seen();
            let changed = match &deaths {
                Some(deaths) => {
                    let mut changed: Vec<_> = deaths.iter().map(|death| death.group).collect();
                    changed.sort_unstable();
                    changed.dedup();
                    changed
                }
                None => (0..self.groups.entries()).collect(),
            };
            let changed: Vec<(u32, Group)> =
                changed.into_iter().map(|index| (index, self.groups.read(index))).collect();
            fence(Acquire);
            if self.count(Counter::GroupMovesBegun) == done {
                for (index, group) in changed.into_iter().filter(|(_, group)| group.threads > 0) {
                    let index = index as usize;
                    self.dead.resize(self.dead.len().max(index + 1), Group::default());
                    self.dead[index] = group;
                }
                self.seen = count;
                let all = deaths.is_some();
                // Too many for the ring, which still has the latest.
                let deaths = deaths.unwrap_or_else(|| self.deaths_up_to(count));
                return Some(Deaths { deaths, all });
            }
            if Instant::now() >= give_up {
                return None;
            }
            rounds += 1;
            // A thread that was preempted during its move may be waiting for this CPU.
            if rounds.is_multiple_of(64) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// How many deaths there were since attach, and the deaths since the last reading; `None` if these are too many.
    fn deaths_since_seen(&self) -> (u64, Option<Vec<Death>>) {
        let count = self.death_count.read(0);
        let few = count - self.seen < u64::from(DEATHS);
        let deaths = few.then(|| (self.seen..count).map(|number| self.death(number)).collect());
        (count, deaths)
    }

    fn deaths_up_to(&self, count: u64) -> Vec<Death> {
        let first = count.saturating_sub(u64::from(DEATHS));
        (first..count).map(|number| self.death(number)).collect()
    }

    fn death(&self, number: u64) -> Death {
        self.deaths.read(number as u32 % DEATHS)
    }

    fn count(&self, counter: Counter) -> u64 {
        let counts = self.cpus.iter().map(|cpu| cpu.ledger.counters[counter as usize]);
        counts.fold(0, u64::wrapping_add)
    }

    fn sample(&self, key: Key, sum: &Sum) -> GroupSample {
        let comm = scope::name(sum.comm);
        let key = match self.by {
            _ if key == OTHER => GroupKey::Other,
            GroupBy::Process => GroupKey::Process { pid: key[0] as u32, started_at_ns: key[1] },
            GroupBy::Thread => GroupKey::Thread { tid: key[0] as u32, started_at_ns: key[1] },
            GroupBy::Cgroup => GroupKey::Cgroup { id: key[0] },
            GroupBy::Comm | GroupBy::Syscall => GroupKey::Comm(scope::name(key)),
        };
        let named = matches!(key, GroupKey::Process { .. } | GroupKey::Thread { .. });
        let Totals { calls, errors, total_ns, parts_ns, parted } = sum.totals;
        let (alive, threads) = (sum.alive, sum.threads);
        let name = named.then_some(comm);
        GroupSample { key, name, alive, threads, calls, errors, total_ns, parts_ns, parted }
    }
}

/// Threads that have died since the last reading.
struct Deaths {
    deaths: Vec<Death>,
    /// Whether no death is missing.
    all: bool,
}

// SAFETY: integers only.
unsafe impl bpf::Record for ThreadTotals {}
