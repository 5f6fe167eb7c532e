//! Adds up the calls of each group from one reading to the next: those of living threads, and those that dead
//! threads have left to their group. Pure arithmetic on what was read.
//!
//! When a thread changes its group (a new name, another cgroup), its totals in the kernel go on counting. The calls
//! that earlier readings found stay with the old group; only later calls count in the new one.

use std::collections::{BTreeMap, HashMap};

use syscost_common::{
    comm::Comm,
    group::{Death, Group, Key, OTHER, OTHER_INDEX, ThreadTotals, Totals, marked_tid},
};

use crate::group::GroupBy;

/// What one reading found.
pub(super) struct Found<'a> {
    /// The threads that were listed. Some may have died since.
    pub(super) threads: &'a [ThreadTotals],
    /// The groups of dead threads, by index; read after the threads.
    pub(super) dead: &'a [Group],
    /// The deaths since the last reading and before `dead` was read, in order.
    pub(super) deaths: &'a [Death],
    /// Whether `deaths` has all of them.
    pub(super) all_deaths: bool,
}

/// The sums of all groups, and what the next reading needs to continue them.
pub(super) struct Tally {
    by: GroupBy,
    /// How many groups without threads there may be, besides those in the kernel.
    room: usize,
    sums: BTreeMap<Key, Sum>,
    /// The threads of the last reading. Key: tid.
    known: HashMap<u32, Known>,
    /// What threads counted in a group before they left it. It is subtracted from the group that they are in now.
    left: BTreeMap<Key, Left>,
}

/// The sums of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) totals: Totals,
    /// The name of its process or thread.
    pub(super) comm: Comm,
    /// Whether any of its threads lives.
    pub(super) alive: bool,
    /// How many threads have made these calls, living ones included.
    pub(super) threads: u64,
    /// How many of these calls may lack their time.
    pub(super) unfinished: u64,
}

/// A living thread at the last reading.
#[derive(Clone, Copy)]
struct Known {
    mark: u64,
    key: Key,
    totals: Totals,
    comm: Comm,
}

/// Totals to add to a group, modulo 2^64.
#[derive(Clone, Copy, Default)]
struct Left {
    totals: Totals,
    comm: Comm,
}

impl Tally {
    pub(super) fn new(by: GroupBy, room: u32) -> Self {
        Self {
            by,
            room: room as usize,
            sums: BTreeMap::new(),
            known: HashMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// The sums as of the last reading.
    pub(super) fn sums(&self) -> &BTreeMap<Key, Sum> {
        &self.sums
    }

    /// Adds a reading.
    pub(super) fn advance(&mut self, found: &Found<'_>) {
        let Found { threads, dead, deaths, all_deaths } = *found;
        let mut sums = BTreeMap::new();
        for (index, group) in dead.iter().enumerate().filter(|(_, group)| group.threads > 0) {
            let Group { totals, comm, threads, .. } = *group;
            let sum = Sum { totals, comm, threads, ..Sum::default() };
            sums.insert(key_of_group(index, group), sum);
        }
        let mut moves = Vec::new();
        let listed: HashMap<u64, &ThreadTotals> =
            threads.iter().map(|thread| (thread.mark, thread)).collect();
        let mut gone: HashMap<u64, ()> = HashMap::new();
        for death in deaths.iter().filter(|death| death.mark != 0) {
            gone.insert(death.mark, ());
            let mark = listed.get(&death.mark).map_or(death.mark, |thread| thread.previous);
            let group = death.group as usize;
            if let Some(known) = self.take(mark)
                && let Some(to) = dead.get(group).map(|dead| key_of_group(group, dead))
            {
                moves.push((known, to));
            }
        }
        let mut living = HashMap::new();
        for thread in threads.iter().filter(|thread| !gone.contains_key(&thread.mark)) {
            let key = self.key_of(thread);
            if let Some(known) = self.take(thread.previous) {
                moves.push((known, key));
            }
            let ThreadTotals { totals, mark, unfinished, ids, .. } = *thread;
            let known = Known { mark, key, totals, comm: ids.comm };
            add_living(&mut sums, &known, unfinished);
            living.insert(marked_tid(mark), known);
        }
        if all_deaths {
            // Not listed, and not dead: an exec has changed the thread's tid during the listing.
            for (tid, known) in self.known.drain() {
                add_living(&mut sums, &known, 0);
                living.entry(tid).or_insert(known);
            }
        }
        self.known = living;
        self.keep_in_old_groups(moves, &mut sums);
        self.sums = sums;
    }

    /// Notes the marks of a listing that led to no reading.
    pub(super) fn pass_over(&mut self, threads: &[ThreadTotals]) {
        for thread in threads {
            if let Some(known) = self.take(thread.previous) {
                let mark = thread.mark;
                self.known.insert(marked_tid(mark), Known { mark, ..known });
            }
        }
    }

    /// Removes the thread that had this mark at the last reading, and returns it.
    fn take(&mut self, mark: u64) -> Option<Known> {
        let tid = marked_tid(mark);
        // A listing that ended early may have left a newer mark than the last reading knows.
        self.known.get(&tid).filter(|known| known.mark <= mark)?;
        self.known.remove(&tid)
    }

    /// Leaves with their old groups the calls of threads that have moved to another group.
    fn keep_in_old_groups(&mut self, moves: Vec<(Known, Key)>, sums: &mut BTreeMap<Key, Sum>) {
        for (Known { key, totals, comm, .. }, to) in moves {
            if key == to {
                continue;
            }
            if to == OTHER && !sums.contains_key(&key) {
                // The whole group was merged.
                self.merge(&key);
                continue;
            }
            let from = self.left.entry(key).or_default();
            from.comm = comm;
            add(&mut from.totals, &totals);
            subtract(&mut self.left.entry(to).or_default().totals, &totals);
        }
        self.left.retain(|_, left| left.totals != Totals::default());
        if self.left.len() > self.room {
            let empty = |key: &&Key| **key != OTHER && !sums.contains_key(*key);
            let all: Vec<Key> = self.left.keys().filter(empty).copied().collect();
            all.iter().for_each(|key| self.merge(key));
        }
        for (key, left) in &self.left {
            let sum = sums.entry(*key).or_insert(Sum { comm: left.comm, ..Sum::default() });
            add(&mut sum.totals, &left.totals);
        }
    }

    /// Adds what is left of a group without threads to the group "(other)".
    fn merge(&mut self, key: &Key) {
        if let Some(left) = self.left.remove(key) {
            add(&mut self.left.entry(OTHER).or_default().totals, &left.totals);
        }
    }

    /// The group to which the kernel's programs would add the thread's calls if it died now.
    fn key_of(&self, thread: &ThreadTotals) -> Key {
        match self.by {
            GroupBy::Process => [thread.ids.tgid.into(), thread.process_started_at],
            GroupBy::Thread => [thread.ids.tid.into(), thread.started_at],
            GroupBy::Cgroup => [thread.cgroup_id, 0],
            GroupBy::Comm => thread.ids.comm,
            GroupBy::Syscall => OTHER,
        }
    }
}

fn key_of_group(index: usize, group: &Group) -> Key {
    if index == OTHER_INDEX as usize { OTHER } else { group.key }
}

fn add_living(sums: &mut BTreeMap<Key, Sum>, thread: &Known, unfinished: u64) {
    let sum = sums.entry(thread.key).or_default();
    sum.alive = true;
    sum.threads += 1;
    sum.comm = thread.comm;
    sum.unfinished += unfinished;
    add(&mut sum.totals, &thread.totals);
}

fn add(to: &mut Totals, by: &Totals) {
    combine(to, by, u64::wrapping_add);
}

fn subtract(from: &mut Totals, by: &Totals) {
    combine(from, by, u64::wrapping_sub);
}

fn combine(to: &mut Totals, with: &Totals, f: fn(u64, u64) -> u64) {
    let Totals { calls, errors, total_ns, parts_ns, parted } = *with;
    to.calls = f(to.calls, calls);
    to.errors = f(to.errors, errors);
    to.total_ns = f(to.total_ns, total_ns);
    to.parted = f(to.parted, parted);
    for (to, ns) in to.parts_ns.iter_mut().zip(parts_ns) {
        *to = f(*to, ns);
    }
}

#[cfg(test)]
mod tests {
    use syscost_common::{group::mark, in_flight::ThreadIds};

    use super::*;

    /// What the kernel holds: groups of dead threads, and deaths.
    #[derive(Default)]
    struct Kernel {
        groups: Vec<Group>,
        room: usize,
        deaths: Vec<Death>,
        listing: u64,
    }

    impl Kernel {
        fn new(room: usize) -> Self {
            Self { groups: vec![Group::default()], room, ..Self::default() }
        }

        fn list(&mut self, threads: &mut [ThreadTotals]) -> Vec<ThreadTotals> {
            self.listing += 1;
            for thread in threads.iter_mut() {
                thread.previous = thread.mark;
                thread.mark = mark(self.listing, thread.ids.tid);
            }
            threads.to_vec()
        }

        fn die(&mut self, thread: &ThreadTotals, by: GroupBy) {
            let key = Tally::new(by, 0).key_of(thread);
            let found = self.groups[1..].iter().position(|group| group.key == key);
            let index = match found {
                Some(at) => at + 1,
                None if self.groups.len() < self.room => {
                    self.groups.push(Group { key, comm: thread.ids.comm, ..Group::default() });
                    self.groups.len() - 1
                }
                None => 0,
            };
            let group = &mut self.groups[index];
            add(&mut group.totals, &thread.totals);
            group.threads += 1;
            self.deaths.push(Death { mark: thread.mark, group: index as u32, reserved: 0 });
        }

        fn read(&mut self, tally: &mut Tally, listed: &[ThreadTotals]) {
            let deaths = std::mem::take(&mut self.deaths);
            tally.advance(&Found {
                threads: listed,
                dead: &self.groups,
                deaths: &deaths,
                all_deaths: true,
            });
        }
    }

    fn thread(tid: u32, tgid: u32, comm: u64, calls: u64) -> ThreadTotals {
        ThreadTotals {
            ids: ThreadIds { tid, tgid, comm: [comm, 0] },
            started_at: 1000 + u64::from(tid),
            process_started_at: 1000 + u64::from(tgid),
            totals: Totals { calls, total_ns: calls * 10, parted: calls, ..Totals::default() },
            ..ThreadTotals::default()
        }
    }

    fn calls(tally: &Tally) -> Vec<(Key, u64)> {
        let sums = tally.sums().iter().filter(|(_, sum)| sum.totals.calls > 0);
        sums.map(|(key, sum)| (*key, sum.totals.calls)).collect()
    }

    fn sum(tally: &Tally) -> u64 {
        tally.sums().values().map(|sum| sum.totals.calls).sum()
    }

    #[test]
    fn who_dies_while_being_listed_counts_once_whenever_that_is() {
        let by = GroupBy::Process;
        let mut kernel = Kernel::new(16);
        let mut tally = Tally::new(by, 16);
        let mut threads = [thread(7, 7, 1, 5), thread(8, 8, 1, 6), thread(9, 9, 1, 7)];
        // Before its turn, after its turn, and never.
        kernel.die(&threads[0], by);
        let listed = kernel.list(&mut threads[1..]);
        kernel.die(&threads[1], by);
        kernel.read(&mut tally, &listed);
        assert_eq!(calls(&tally), [([7, 1007], 5), ([8, 1008], 6), ([9, 1009], 7)]);
        let listed = kernel.list(&mut threads[2..]);
        kernel.read(&mut tally, &listed);
        assert_eq!(calls(&tally), [([7, 1007], 5), ([8, 1008], 6), ([9, 1009], 7)]);
    }

    #[test]
    fn the_dead_without_room_are_merged_and_not_brought_back() {
        let by = GroupBy::Process;
        let mut kernel = Kernel::new(2);
        let mut tally = Tally::new(by, 2);
        for tid in 1..=100 {
            let mut threads = [thread(tid, tid, 1, 3)];
            // Seen alive, dead at the next reading.
            let listed = kernel.list(&mut threads);
            kernel.read(&mut tally, &listed);
            threads[0].totals.calls += 1;
            kernel.die(&threads[0], by);
            kernel.read(&mut tally, &[]);
            assert_eq!(sum(&tally), u64::from(tid) * 4);
        }
        assert_eq!(calls(&tally), [([1, 1001], 4), (OTHER, 99 * 4)]);
        assert_eq!(tally.sums()[&OTHER].threads, 99);
        assert!(tally.left.is_empty() && tally.known.is_empty());
    }

    #[test]
    fn a_process_keeps_what_a_thread_of_it_had_that_died_without_room() {
        let by = GroupBy::Process;
        let mut kernel = Kernel::new(1);
        let mut tally = Tally::new(by, 1);
        let mut threads = [thread(7, 7, 1, 5), thread(8, 7, 1, 6)];
        let listed = kernel.list(&mut threads);
        kernel.read(&mut tally, &listed);
        threads[1].totals.calls += 2;
        kernel.die(&threads[1], by);
        let listed = kernel.list(&mut threads[..1]);
        kernel.read(&mut tally, &listed);
        assert_eq!(calls(&tally), [([7, 1007], 11), (OTHER, 2)]);
        kernel.die(&threads[0], by);
        kernel.read(&mut tally, &[]);
        assert_eq!(calls(&tally), [(OTHER, 13)]);
    }

    #[test]
    fn a_thread_that_takes_another_name_leaves_its_calls_behind() {
        let by = GroupBy::Comm;
        let mut kernel = Kernel::new(16);
        let mut tally = Tally::new(by, 16);
        let mut threads = [thread(7, 7, 1, 5)];
        for (name, more, expected) in [
            (1, 0, vec![([1, 0], 5)]),
            (2, 3, vec![([1, 0], 5), ([2, 0], 3)]),
            (1, 4, vec![([1, 0], 9), ([2, 0], 3)]),
        ] {
            threads[0].ids.comm = [name, 0];
            threads[0].totals.calls += more;
            let listed = kernel.list(&mut threads);
            kernel.read(&mut tally, &listed);
            assert_eq!(calls(&tally), expected);
        }
        threads[0].ids.comm = [3, 0];
        threads[0].totals.calls += 1;
        kernel.die(&threads[0], by);
        kernel.read(&mut tally, &[]);
        assert_eq!(calls(&tally), [([1, 0], 9), ([2, 0], 3), ([3, 0], 1)]);
    }

    #[test]
    fn names_without_end_take_bounded_memory() {
        let by = GroupBy::Comm;
        let mut kernel = Kernel::new(16);
        let mut tally = Tally::new(by, 8);
        let mut threads = [thread(7, 7, 1, 0)];
        for name in 1..=1000 {
            threads[0].ids.comm = [name, 0];
            threads[0].totals.calls += 1;
            let listed = kernel.list(&mut threads);
            kernel.read(&mut tally, &listed);
            assert_eq!(sum(&tally), name);
            assert!(tally.left.len() <= 10, "{}", tally.left.len());
        }
    }

    #[test]
    fn a_listing_that_led_to_no_reading_loses_nobody() {
        let by = GroupBy::Comm;
        let mut kernel = Kernel::new(16);
        let mut tally = Tally::new(by, 16);
        let mut threads = [thread(7, 7, 1, 5), thread(8, 8, 1, 1)];
        let listed = kernel.list(&mut threads);
        kernel.read(&mut tally, &listed);
        let listed = kernel.list(&mut threads);
        tally.pass_over(&listed);
        threads[0].ids.comm = [2, 0];
        kernel.die(&threads[1], by);
        let listed = kernel.list(&mut threads[..1]);
        kernel.read(&mut tally, &listed);
        assert_eq!(calls(&tally), [([1, 0], 6)]);
    }

    #[test]
    fn who_is_not_listed_and_not_dead_is_still_there() {
        let by = GroupBy::Process;
        let mut kernel = Kernel::new(16);
        let mut tally = Tally::new(by, 16);
        let mut threads = [thread(7, 7, 1, 5)];
        let listed = kernel.list(&mut threads);
        kernel.read(&mut tally, &listed);
        kernel.read(&mut tally, &[]);
        assert_eq!(calls(&tally), [([7, 1007], 5)]);
        kernel.die(&threads[0], by);
        kernel.read(&mut tally, &[]);
        assert_eq!(calls(&tally), [([7, 1007], 5)]);
        assert!(!tally.sums()[&[7, 1007]].alive);
    }

    #[test]
    fn a_record_that_found_no_room_in_the_buffer_is_no_second_thread() {
        let by = GroupBy::Process;
        let mut kernel = Kernel::new(16);
        let mut tally = Tally::new(by, 16);
        let mut threads = [thread(7, 7, 1, 5)];
        let listed = kernel.list(&mut threads);
        kernel.read(&mut tally, &listed);
        // Marked, not written, and dead before it was looked at again.
        let _ = kernel.list(&mut threads);
        kernel.die(&threads[0], by);
        kernel.read(&mut tally, &[]);
        assert_eq!(calls(&tally), [([7, 1007], 5)]);
        // Marked, not written, and looked at again by the same listing.
        let mut threads = [thread(8, 8, 1, 5)];
        let listed = kernel.list(&mut threads);
        kernel.read(&mut tally, &listed);
        let mut listed = kernel.list(&mut threads);
        listed[0].previous = listed[0].mark;
        kernel.read(&mut tally, &listed);
        assert_eq!(calls(&tally), [([7, 1007], 5), ([8, 1008], 5)]);
    }
}
