//! Adds up the cells of all CPUs into one count per syscall kind. Pure arithmetic on what was read.

use syscost_common::{
    cell::{Cell, ERRNOS, PARTS, PartOf},
    hist::{BUCKETS, PART_BUCKETS, part_index_of_bucket},
};

use crate::sample::{KindKey, KindSample};

/// The counts of one slot, over all CPUs and since attach.
///
/// The kernel's bucket counters have 32 bits and wrap. Their sum over all CPUs is taken modulo 2^32, so the calls since
/// the last fold are the wrapping difference of two sums. That is exact unless a bucket gains 2^32 calls between two
/// folds.
pub(super) struct Folded {
    buckets: [Counter; BUCKETS],
    errnos: [Counter; ERRNOS],
    parts: [[PartCounter; PART_BUCKETS]; PARTS],
}

#[derive(Clone, Copy, Default)]
struct Counter {
    total: u64,
    last_sum: u32,
}

impl Counter {
    fn advance(&mut self, sum: u32) -> u64 {
        self.total += u64::from(sum.wrapping_sub(self.last_sum));
        self.last_sum = sum;
        self.total
    }
}

/// A counter that a partial copy can also show a little lower than before: it has a call's parts, but not its latency. The
/// counter then stays as it was.
#[derive(Clone, Copy, Default)]
struct PartCounter {
    total: i64,
    last_sum: u32,
    shown: u64,
}

/// By less than this a sum can be lower than before: the weights of the calls that all CPUs are recording at one moment.
const IN_PART: u32 = 1 << 24;

impl PartCounter {
    /// Exact as long as a counter is folded before 2^32 - [`IN_PART`] are added to it.
    fn advance(&mut self, sum: u32) -> u64 {
        let gained = sum.wrapping_sub(self.last_sum);
        let lost = gained.wrapping_neg();
        self.total += if lost < IN_PART { -i64::from(lost) } else { i64::from(gained) };
        self.last_sum = sum;
        self.shown = self.shown.max(u64::try_from(self.total).unwrap_or(0));
        self.shown
    }
}

impl Default for Folded {
    fn default() -> Self {
        Self {
            buckets: [Counter::default(); BUCKETS],
            errnos: [Counter::default(); ERRNOS],
            parts: [[PartCounter::default(); PART_BUCKETS]; PARTS],
        }
    }
}

impl Folded {
    /// Adds the slot's cells, one per CPU, and returns the counts since attach.
    pub(super) fn advance<'a>(
        &mut self,
        key: KindKey,
        cells: impl Iterator<Item = &'a Cell>,
    ) -> KindSample {
        let mut sample = KindSample::empty(key);
        let mut buckets = [0u32; BUCKETS];
        let mut errnos = [0u32; ERRNOS];
        let mut parts = [[0u32; PART_BUCKETS]; PARTS];
        for cell in cells {
            sample.sum_ns = sample.sum_ns.wrapping_add(cell.unparted_sum_ns);
            sample.max_ns = sample.max_ns.max(cell.max_ns);
            if cell.min_complement_ns != 0 {
                sample.min_ns = sample.min_ns.min(u64::MAX - cell.min_complement_ns);
            }
            add(&mut buckets, &cell.buckets);
            add(&mut errnos, &cell.errnos);
            for (which, part) in cell.parts.iter().enumerate() {
                sample.sum_ns = sample.sum_ns.wrapping_add(part.sum_ns);
                sample.parts[which].sum_ns = sample.parts[which].sum_ns.wrapping_add(part.sum_ns);
                add(&mut parts[which], &part.buckets);
            }
        }
        // What the cells have of on-CPU time is the difference to this, see `Part::buckets`.
        for (index, sum) in buckets.iter().enumerate() {
            let on_cpu = &mut parts[PartOf::OnCpu as usize][part_index_of_bucket(index)];
            *on_cpu = on_cpu.wrapping_add(*sum);
        }
        for (which, buckets) in parts.into_iter().enumerate() {
            for (index, sum) in buckets.into_iter().enumerate() {
                let counter = &mut self.parts[which][index];
                sample.parts[which].buckets[index] = counter.advance(sum);
            }
        }
        for (index, sum) in buckets.into_iter().enumerate() {
            sample.buckets[index] = self.buckets[index].advance(sum);
        }
        for (errno, sum) in errnos.into_iter().enumerate() {
            let count = self.errnos[errno].advance(sum);
            if count > 0 {
                sample.errnos.push((errno as u16, count));
            }
        }
        sample
    }
}

/// Adds the counters of one CPU to the sums over all CPUs, modulo 2^32.
fn add(sums: &mut [u32], counters: &[u32]) {
    for (sum, count) in sums.iter_mut().zip(counters) {
        *sum = sum.wrapping_add(*count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syscost_common::{
        cell::PartOf,
        hist::{PART, bucket_index},
    };

    use super::*;

    const KEY: KindKey = KindKey::Overflow;

    /// Records as the kernel program does.
    fn record(cell: &mut Cell, latency_ns: u64, errno: usize) {
        let bucket = &mut cell.buckets[bucket_index(latency_ns)];
        *bucket = bucket.wrapping_add(1);
        cell.max_ns = cell.max_ns.max(latency_ns);
        cell.min_complement_ns = cell.min_complement_ns.max(u64::MAX - latency_ns);
        if errno != 0 {
            cell.errnos[errno] += 1;
        }
        let Some(blocked_ns) = blocked_ns(latency_ns, errno) else {
            cell.unparted_sum_ns += latency_ns;
            add_to_part(cell, PartOf::OnCpu, latency_ns, -1);
            return;
        };
        cell.parts[PartOf::OnCpu as usize].sum_ns += latency_ns - blocked_ns;
        if blocked_ns > 0 {
            add_to_part(cell, PartOf::OnCpu, latency_ns, -1);
            add_to_part(cell, PartOf::OnCpu, latency_ns - blocked_ns, 1);
            cell.parts[PartOf::Blocked as usize].sum_ns += blocked_ns;
            add_to_part(cell, PartOf::Blocked, blocked_ns, 1);
        }
    }

    fn add_to_part(cell: &mut Cell, of: PartOf, ns: u64, by: i32) {
        let bucket = &mut cell.parts[of as usize].buckets[PART.index(ns)];
        *bucket = bucket.wrapping_add_signed(by);
    }

    /// How long the calls of these tests are blocked: a third of the time, if at all. `None`: the switches of one in five
    /// were not seen.
    fn blocked_ns(latency_ns: u64, errno: usize) -> Option<u64> {
        if errno.is_multiple_of(5) {
            return None;
        }
        Some(if errno.is_multiple_of(2) { latency_ns / 3 } else { 0 })
    }

    proptest! {
        #[test]
        fn shards_of_any_number_of_cpus_add_up_to_the_whole(
            calls in prop::collection::vec((0u64..1 << 41, 0usize..ERRNOS, 0usize..8), 0..200),
        ) {
            let mut whole = Cell::EMPTY;
            let mut shards = [Cell::EMPTY; 8];
            for &(latency_ns, errno, cpu) in &calls {
                record(&mut whole, latency_ns, errno);
                record(&mut shards[cpu], latency_ns, errno);
            }
            let expected = Folded::default().advance(KEY, [whole].iter());
            let folded = Folded::default().advance(KEY, shards.iter());
            prop_assert_eq!(&folded, &expected);
            prop_assert_eq!(folded.calls(), calls.len() as u64);
            prop_assert_eq!(folded.sum_ns, calls.iter().map(|call| call.0).sum::<u64>());
            let seen = calls.iter().filter(|call| !call.1.is_multiple_of(5));
            let parts: u64 = folded.parts.iter().map(|part| part.sum_ns).sum();
            prop_assert_eq!(parts, seen.map(|call| call.0).sum::<u64>());
            // Whether a call left the CPU or not, its on-CPU time is in a bucket.
            let mut on_cpu = [0; PART_BUCKETS];
            let mut blocked = [0; PART_BUCKETS];
            for &(latency_ns, errno, _) in &calls {
                if let Some(blocked_ns) = blocked_ns(latency_ns, errno) {
                    on_cpu[PART.index(latency_ns - blocked_ns)] += 1;
                    if blocked_ns > 0 {
                        blocked[PART.index(blocked_ns)] += 1;
                    }
                }
            }
            prop_assert_eq!(folded.parts[PartOf::OnCpu as usize].buckets, on_cpu);
            prop_assert_eq!(folded.parts[PartOf::Blocked as usize].buckets, blocked);
        }

        #[test]
        fn folding_often_or_once_comes_to_the_same(
            calls in prop::collection::vec((0u64..1 << 41, 0usize..ERRNOS, 0usize..4), 1..100),
        ) {
            let mut shards = [Cell::EMPTY; 4];
            let mut often = Folded::default();
            let mut last = None;
            for &(latency_ns, errno, cpu) in &calls {
                record(&mut shards[cpu], latency_ns, errno);
                last = Some(often.advance(KEY, shards.iter()));
            }
            prop_assert_eq!(last, Some(Folded::default().advance(KEY, shards.iter())));
        }
    }

    #[test]
    fn a_call_that_is_there_in_part_takes_nothing_back() {
        let mut cell = Cell::EMPTY;
        record(&mut cell, 9, 1);
        let mut folded = Folded::default();
        let on_cpu =
            |sample: &KindSample| sample.parts[PartOf::OnCpu as usize].buckets[PART.index(9)];
        assert_eq!(on_cpu(&folded.advance(KEY, [cell].iter())), 1);
        // Its parts are there, its latency is not.
        add_to_part(&mut cell, PartOf::OnCpu, 9, -1);
        assert_eq!(on_cpu(&folded.advance(KEY, [cell].iter())), 1);
        cell.buckets[bucket_index(9)] += 1;
        assert_eq!(on_cpu(&folded.advance(KEY, [cell].iter())), 1);
        record(&mut cell, 9, 1);
        assert_eq!(on_cpu(&folded.advance(KEY, [cell].iter())), 2);
    }

    #[test]
    fn a_part_that_gains_more_than_half_its_range_loses_nothing() {
        let mut cell = Cell::EMPTY;
        cell.buckets[bucket_index(9)] = u32::MAX - IN_PART;
        let sample = Folded::default().advance(KEY, [cell].iter());
        let on_cpu = sample.parts[PartOf::OnCpu as usize].buckets[PART.index(9)];
        assert_eq!(on_cpu, u64::from(u32::MAX - IN_PART));
    }

    #[test]
    fn counters_that_wrap_lose_nothing() {
        let mut cells = [Cell::EMPTY, Cell::EMPTY];
        cells[0].buckets[7] = u32::MAX;
        cells[1].buckets[7] = u32::MAX - 1;
        cells[1].errnos[2] = u32::MAX;
        let mut folded = Folded::default();
        // The first sums wrap already: what was there before is known modulo 2^32 only.
        let before = folded.advance(KEY, cells.iter());
        record(&mut cells[0], 7, 0);
        record(&mut cells[0], 7, 0);
        record(&mut cells[1], 7, 0);
        cells[1].errnos[2] = cells[1].errnos[2].wrapping_add(5);
        let after = folded.advance(KEY, cells.iter());
        assert_eq!(after.buckets[7] - before.buckets[7], 3);
        assert_eq!(after.errnos, [(2, u64::from(u32::MAX) + 5)]);
    }
}
