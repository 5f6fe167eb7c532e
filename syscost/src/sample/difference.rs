//! What changed between two samples, without what stayed the same.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use syscost_common::cell::PARTS;

use super::{
    CpuSample, DetailSample, GroupSample, GroupsSample, KindSample, OpenCallSample, Sample,
    SkippedRuns, Subject,
};

/// What changed from one sample to a later one. Applied to the first, it gives exactly the second.
///
/// Counters are kept as differences, which are small numbers in an encoding with integers of variable length, and
/// counters that did not move are left out. It is for memory: unlike a sample, it has no format that lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    attached_at_ns: Step,
    begin_ns: Step,
    end_ns: Step,
    subject: Option<Subject>,
    kinds: ListChange<KindSample, KindChange>,
    open_calls: Change<Option<Vec<OpenCallSample>>, ListChange<OpenCallSample, OpenCallSample>>,
    groups: Change<Option<GroupsSample>, GroupsChange>,
    ledger: LedgerChange,
    detail: DetailSample,
    cpu: CpuSample,
    ring_at_attach: bool,
    other_tracers: Option<u32>,
}

impl Difference {
    /// What changed from `before` to `after`. The lists in both must be in the order that [`Sample`] says.
    pub fn between(before: &Sample, after: &Sample) -> Self {
        Self {
            attached_at_ns: Step::between(before.attached_at_ns, after.attached_at_ns),
            begin_ns: Step::between(before.begin_ns, after.begin_ns),
            end_ns: Step::between(before.end_ns, after.end_ns),
            subject: (before.subject != after.subject).then(|| after.subject.clone()),
            kinds: ListChange::between(&before.kinds, &after.kinds),
            open_calls: match (&before.open_calls, &after.open_calls) {
                (Some(before), Some(after)) => Change::Part(ListChange::between(before, after)),
                _ => Change::Whole(after.open_calls.clone()),
            },
            groups: match (&before.groups, &after.groups) {
                (Some(before), Some(after)) if before.by == after.by => {
                    Change::Part(GroupsChange {
                        groups: ListChange::between(&before.groups, &after.groups),
                        recording: after.recording,
                    })
                }
                _ => Change::Whole(after.groups.clone()),
            },
            ledger: LedgerChange {
                counters: steps(&before.ledger.counters, &after.ledger.counters),
                recording: after.ledger.recording,
                program_misses: after.ledger.program_misses,
            },
            detail: after.detail,
            cpu: after.cpu,
            ring_at_attach: after.ring_at_attach,
            other_tracers: after.other_tracers,
        }
    }

    /// Turns the first sample into the second.
    pub fn apply(self, sample: &mut Sample) {
        self.attached_at_ns.apply(&mut sample.attached_at_ns);
        self.begin_ns.apply(&mut sample.begin_ns);
        self.end_ns.apply(&mut sample.end_ns);
        if let Some(subject) = self.subject {
            sample.subject = subject;
        }
        self.kinds.apply(&mut sample.kinds);
        match (self.open_calls, &mut sample.open_calls) {
            (Change::Part(change), Some(calls)) => change.apply(calls),
            (Change::Whole(calls), before) => *before = calls,
            (Change::Part(_), None) => {}
        }
        match (self.groups, &mut sample.groups) {
            (Change::Part(change), Some(groups)) => {
                change.groups.apply(&mut groups.groups);
                groups.recording = change.recording;
            }
            (Change::Whole(groups), before) => *before = groups,
            (Change::Part(_), None) => {}
        }
        apply_steps(self.ledger.counters, &mut sample.ledger.counters);
        sample.ledger.recording = self.ledger.recording;
        sample.ledger.program_misses = self.ledger.program_misses;
        sample.detail = self.detail;
        sample.cpu = self.cpu;
        sample.ring_at_attach = self.ring_at_attach;
        sample.other_tracers = self.other_tracers;
    }
}

/// By how much a number has changed, modulo 2^64: nothing is lost whatever the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Step(i64);

impl Step {
    fn between(before: u64, after: u64) -> Self {
        Self(after.wrapping_sub(before) as i64)
    }

    fn apply(self, number: &mut u64) {
        *number = number.wrapping_add_signed(self.0);
    }
}

/// Distances between the indices of counters that have moved, and by how much they have.
type Steps = Vec<(u16, Step)>;

fn steps<const N: usize>(before: &[u64; N], after: &[u64; N]) -> Steps {
    let mut next = 0;
    let moved = (0..N).filter(|index| before[*index] != after[*index]);
    moved
        .map(|index| {
            let distance = index - next;
            next = index + 1;
            (distance as u16, Step::between(before[index], after[index]))
        })
        .collect()
}

fn apply_steps<const N: usize>(steps: Steps, counters: &mut [u64; N]) {
    let mut next = 0;
    for (distance, step) in steps {
        let index = next + usize::from(distance);
        step.apply(&mut counters[index]);
        next = index + 1;
    }
}

/// A new value, or what changed in the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Change<T, C> {
    Whole(T),
    Part(C),
}

/// An entry of a list that is in order.
trait Entry: Clone {
    /// What is kept of a change.
    type Change;

    /// Where `other` belongs in the list, compared with this entry. Equal: they are the same entry.
    fn order(&self, other: &Self) -> Ordering;

    /// What changed in the same entry; `None` if nothing did.
    fn change_to(&self, after: &Self) -> Option<Self::Change>;

    fn apply(&mut self, change: Self::Change);
}

/// What changed in a list that is in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ListChange<T, C> {
    /// Distances between the indices of entries that changed, and what changed in them.
    changed: Vec<(u32, C)>,
    /// Distances between the indices of entries that are gone.
    gone: Vec<u32>,
    /// New entries.
    new: Vec<T>,
}

impl<T: Entry> ListChange<T, T::Change> {
    fn between(before: &[T], after: &[T]) -> Self {
        let (mut changed, mut gone, mut new) = (Vec::new(), Vec::new(), Vec::new());
        let (mut next_changed, mut next_gone) = (0, 0);
        let mut go = |index: usize| {
            gone.push((index - next_gone) as u32);
            next_gone = index + 1;
        };
        let mut former = before.iter().enumerate().peekable();
        for entry in after {
            let is_before = |(_, former): &(usize, &T)| former.order(entry) == Ordering::Less;
            while let Some((index, _)) = former.next_if(is_before) {
                go(index);
            }
            let is_same = |(_, former): &(usize, &T)| former.order(entry) == Ordering::Equal;
            match former.next_if(is_same) {
                None => new.push(entry.clone()),
                Some((index, former)) => {
                    if let Some(change) = former.change_to(entry) {
                        changed.push(((index - next_changed) as u32, change));
                        next_changed = index + 1;
                    }
                }
            }
        }
        former.for_each(|(index, _)| go(index));
        Self { changed, gone, new }
    }

    fn apply(self, list: &mut Vec<T>) {
        let mut next = 0;
        for (distance, change) in self.changed {
            let index = next + distance as usize;
            list[index].apply(change);
            next = index + 1;
        }
        if !self.gone.is_empty() {
            let mut gone = indices(self.gone).peekable();
            let mut index = 0;
            list.retain(|_| {
                let stays = gone.next_if_eq(&index).is_none();
                index += 1;
                stays
            });
        }
        if !self.new.is_empty() {
            list.extend(self.new);
            list.sort_by(Entry::order);
        }
    }
}

/// The indices that have these distances between them.
fn indices(distances: Vec<u32>) -> impl Iterator<Item = usize> {
    distances.into_iter().scan(0, |next, distance| {
        let index = *next + distance as usize;
        *next = index + 1;
        Some(index)
    })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KindChange {
    sum_ns: Step,
    min_ns: Step,
    max_ns: Step,
    buckets: Steps,
    parts: [(Step, Steps); PARTS],
    /// Per errno, those that changed. An errno that is not in a sample has occurred 0 times.
    errnos: Vec<(u16, Step)>,
}

impl Entry for KindSample {
    type Change = KindChange;

    fn order(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }

    fn change_to(&self, after: &Self) -> Option<KindChange> {
        (self != after).then(|| KindChange {
            sum_ns: Step::between(self.sum_ns, after.sum_ns),
            min_ns: Step::between(self.min_ns, after.min_ns),
            max_ns: Step::between(self.max_ns, after.max_ns),
            buckets: steps(&self.buckets, &after.buckets),
            parts: std::array::from_fn(|of| {
                let (before, after) = (&self.parts[of], &after.parts[of]);
                let buckets = steps(&before.buckets, &after.buckets);
                (Step::between(before.sum_ns, after.sum_ns), buckets)
            }),
            errnos: errno_steps(&self.errnos, &after.errnos),
        })
    }

    fn apply(&mut self, change: KindChange) {
        change.sum_ns.apply(&mut self.sum_ns);
        change.min_ns.apply(&mut self.min_ns);
        change.max_ns.apply(&mut self.max_ns);
        apply_steps(change.buckets, &mut self.buckets);
        for (part, (sum_ns, buckets)) in self.parts.iter_mut().zip(change.parts) {
            sum_ns.apply(&mut part.sum_ns);
            apply_steps(buckets, &mut part.buckets);
        }
        for (errno, step) in change.errnos {
            let place = self.errnos.binary_search_by_key(&errno, |(errno, _)| *errno);
            let place = place.unwrap_or_else(|place| {
                self.errnos.insert(place, (errno, 0));
                place
            });
            step.apply(&mut self.errnos[place].1);
        }
        self.errnos.retain(|(_, count)| *count > 0);
    }
}

fn errno_steps(before: &[(u16, u64)], after: &[(u16, u64)]) -> Vec<(u16, Step)> {
    let count = |list: &[(u16, u64)], errno| {
        list.binary_search_by_key(&errno, |(errno, _)| *errno).map_or(0, |place| list[place].1)
    };
    let mut errnos: Vec<u16> = before.iter().chain(after).map(|(errno, _)| *errno).collect();
    errnos.sort_unstable();
    errnos.dedup();
    let step = |errno| (errno, Step::between(count(before, errno), count(after, errno)));
    errnos.into_iter().map(step).filter(|(_, step)| step.0 != 0).collect()
}

impl Entry for OpenCallSample {
    type Change = Self;

    fn order(&self, other: &Self) -> Ordering {
        (self.thread.tid, self.thread.pid).cmp(&(other.thread.tid, other.thread.pid))
    }

    fn change_to(&self, after: &Self) -> Option<Self> {
        (self != after).then(|| after.clone())
    }

    fn apply(&mut self, change: Self) {
        *self = change;
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct GroupsChange {
    groups: ListChange<GroupSample, GroupChange>,
    recording: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct GroupChange {
    name: Option<Option<String>>,
    alive: bool,
    threads: Step,
    calls: Step,
    errors: Step,
    total_ns: Step,
    parts_ns: [Step; PARTS],
    parted: Step,
}

impl Entry for GroupSample {
    type Change = GroupChange;

    fn order(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }

    fn change_to(&self, after: &Self) -> Option<GroupChange> {
        (self != after).then(|| GroupChange {
            name: (self.name != after.name).then(|| after.name.clone()),
            alive: after.alive,
            threads: Step::between(self.threads, after.threads),
            calls: Step::between(self.calls, after.calls),
            errors: Step::between(self.errors, after.errors),
            total_ns: Step::between(self.total_ns, after.total_ns),
            parts_ns: std::array::from_fn(|of| {
                Step::between(self.parts_ns[of], after.parts_ns[of])
            }),
            parted: Step::between(self.parted, after.parted),
        })
    }

    fn apply(&mut self, change: GroupChange) {
        if let Some(name) = change.name {
            self.name = name;
        }
        self.alive = change.alive;
        change.threads.apply(&mut self.threads);
        change.calls.apply(&mut self.calls);
        change.errors.apply(&mut self.errors);
        change.total_ns.apply(&mut self.total_ns);
        for (ns, step) in self.parts_ns.iter_mut().zip(change.parts_ns) {
            step.apply(ns);
        }
        change.parted.apply(&mut self.parted);
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LedgerChange {
    counters: Steps,
    recording: u64,
    program_misses: SkippedRuns,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::arbitrary;

    proptest! {
        #[test]
        fn a_difference_turns_one_sample_into_the_other(
            before in arbitrary::sample(),
            after in arbitrary::sample(),
        ) {
            let difference = Difference::between(&before, &after);
            let bytes = postcard::to_stdvec(&difference).unwrap();
            let difference: Difference = postcard::from_bytes(&bytes).unwrap();
            let mut sample = before;
            difference.apply(&mut sample);
            prop_assert_eq!(sample, after);
        }

        #[test]
        fn no_difference_has_no_entries(sample in arbitrary::sample()) {
            let none = Difference::between(&sample, &sample);
            prop_assert!(postcard::to_stdvec(&none).unwrap().len() < 80);
        }
    }
}
