//! A row: one syscall in one window.

use std::borrow::Cow;

use syscost_common::{
    cell::PartOf,
    hist::{BUCKETS, LATENCY, bucket_bounds},
};

use super::{Distribution, PartSums, Parts, TableRow, Total};
use crate::{
    decode::syscall::{self, Abi},
    sample::{KindKey, KindSample},
};

/// One syscall of one ABI in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its identity across windows.
    pub key: KindKey,
    /// Its name; see [`syscall::name`].
    pub name: Cow<'static, str>,
    /// Its ABI; `None` for the shared overflow row.
    pub abi: Option<Abi>,
    /// Its number within the ABI; `None` for the shared overflow row.
    pub nr: Option<u32>,
    /// Finished calls.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Sum of their latencies, ns.
    pub total_ns: u64,
    /// The distribution of latencies.
    pub latency: Distribution,
    /// The distributions of the parts of latencies; `None` where none is known.
    pub parts: Option<Parts>,
    /// The sums of these parts.
    pub part_sums: PartSums,
    /// Failed calls per errno, most first.
    pub errnos: Vec<(u16, u64)>,
}

impl Row {
    /// The row of a kind: its calls since `before`; `None` where there are none.
    pub(super) fn new(kind: &KindSample, before: Option<&KindSample>) -> Option<Self> {
        let mut buckets = kind.buckets.clone();
        let mut total_ns = kind.sum_ns;
        let mut errnos = kind.errnos.clone();
        if let Some(before) = before {
            // Both were read while calls were recorded, so that a difference could be below 0.
            for (count, before) in buckets.iter_mut().zip(before.buckets.iter()) {
                *count = count.saturating_sub(*before);
            }
            total_ns = total_ns.saturating_sub(before.sum_ns);
            for (errno, count) in &mut errnos {
                let former = before.errnos.iter().find(|(other, _)| other == errno);
                *count = count.saturating_sub(former.map_or(0, |(_, count)| *count));
            }
            errnos.retain(|(_, count)| *count > 0);
        }
        let calls = buckets.iter().sum();
        if calls == 0 {
            return None;
        }
        errnos.sort_by_key(|(errno, count)| (std::cmp::Reverse(*count), *errno));
        let (min_ns, max_ns) = extremes(kind, before, &buckets);
        let parts = Parts::new(kind, before, max_ns);
        let (parts, part_sums) =
            parts.map_or((None, PartSums::default()), |(parts, sums)| (Some(parts), sums));
        let (name, abi, nr) = match kind.key {
            KindKey::Call { abi, nr } => {
                let abi = Abi::of(abi);
                (syscall::name(abi, nr), Some(abi), Some(nr))
            }
            KindKey::Overflow => (Cow::Borrowed("(other)"), None, None),
        };
        Some(Self {
            key: kind.key,
            name,
            abi,
            nr,
            calls,
            errors: errnos.iter().map(|(_, count)| count).sum(),
            total_ns,
            latency: Distribution::new(LATENCY, &buckets[..], min_ns, max_ns),
            parts,
            part_sums,
            errnos,
        })
    }
}

impl Row {
    /// A percentile of one part, ns; `None` where it is not known. Buckets of parts are coarser than those of
    /// latencies. A part never exceeds the latency of its call, so neither does this percentile.
    pub fn part_quantile_ns(&self, of: PartOf, quantile: f64) -> Option<u64> {
        let part = self.parts.as_ref()?.get(of).quantile_ns(quantile)?;
        // The comparison is valid only if both are about the same calls.
        let same = self.part_sums.calls == self.calls;
        let whole = self.latency.quantile_ns(quantile).filter(|_| same);
        Some(whole.map_or(part, |whole| part.min(whole)))
    }
}

impl TableRow for Row {
    /// The name, with the ABI where it is not the machine's usual one.
    fn title(&self) -> Cow<'_, str> {
        match self.abi {
            Some(abi) if !abi.is_native() => Cow::Owned(format!("{}/{abi}", self.name)),
            _ => Cow::Borrowed(&self.name),
        }
    }

    fn sum(&self) -> Total {
        Total {
            calls: self.calls,
            errors: self.errors,
            total_ns: self.total_ns,
            parts: self.part_sums,
        }
    }

    fn parts(&self) -> Option<&Parts> {
        self.parts.as_ref()
    }

    fn latency(&self) -> Option<&Distribution> {
        Some(&self.latency)
    }
}

/// The shortest and the longest latency (ns) of a window.
///
/// The kernel keeps the extremes since attach. One that changed was set in this window and is exact. For one
/// that did not, the bounds of the outermost buckets are the best that is known: at most 1/16 too far out, and
/// never beyond the extreme since attach.
///
/// Each extreme lies in the outermost bucket on its side. A sample that was read while a call was recorded may
/// have its bucket without its extreme, or the reverse. The buckets decide then, because they count the calls.
fn extremes(
    kind: &KindSample,
    before: Option<&KindSample>,
    buckets: &[u64; BUCKETS],
) -> (u64, u64) {
    let occupied = |index: &usize| buckets[*index] > 0;
    let lowest = bucket_bounds((0..BUCKETS).find(occupied).unwrap_or(0));
    let highest = bucket_bounds((0..BUCKETS).rfind(occupied).unwrap_or(0));
    let (mut min_ns, mut max_ns) = (kind.min_ns, kind.max_ns);
    if let Some(before) = before.filter(|before| before.calls() > 0) {
        if min_ns >= before.min_ns {
            min_ns = lowest.0.max(min_ns);
        }
        if max_ns <= before.max_ns {
            max_ns = highest.1.min(max_ns);
        }
    }
    if !(lowest.0..=lowest.1).contains(&min_ns) {
        min_ns = lowest.0;
    }
    if !(highest.0..=highest.1).contains(&max_ns) {
        // The last bucket has no upper bound to fall back on.
        max_ns = if highest.1 == u64::MAX { highest.0 } else { highest.1 };
    }
    // Within one bucket, the one that was read too early may be on the wrong side of the other.
    (min_ns, max_ns.max(min_ns))
}

#[cfg(test)]
mod tests {
    use syscost_common::{hist::bucket_index, kind::AbiClass};

    use super::*;

    fn read(latencies: &[u64]) -> KindSample {
        let mut kind = KindSample::empty(KindKey::Call { abi: AbiClass::Native, nr: 0 });
        for &ns in latencies {
            kind.buckets[bucket_index(ns)] += 1;
            kind.sum_ns += ns;
            kind.min_ns = kind.min_ns.min(ns);
            kind.max_ns = kind.max_ns.max(ns);
        }
        kind
    }

    #[test]
    fn extremes_since_attach_are_exact() {
        let row = Row::new(&read(&[1_000, 77_777, 5_000_001]), None).unwrap();
        assert_eq!((row.latency.min_ns(), row.latency.max_ns()), (1_000, 5_000_001));
    }

    #[test]
    fn extremes_of_one_bucket_are_in_order_however_late_one_is() {
        let (short, long) = (1 << 40, 1 << 60);
        let late = KindSample { min_ns: long, max_ns: 0, ..read(&[short]) };
        let row = Row::new(&late, None).unwrap();
        assert_eq!((row.latency.min_ns(), row.latency.max_ns()), (long, long));
        assert_eq!(row.latency.quantile_ns(0.5), Some(long));
    }

    #[test]
    fn extremes_that_moved_in_the_window_are_exact() {
        let before = read(&[5_000]);
        let row = Row::new(&read(&[5_000, 1_001, 9_999]), Some(&before)).unwrap();
        assert_eq!((row.latency.min_ns(), row.latency.max_ns()), (1_001, 9_999));
    }

    #[test]
    fn extremes_that_did_not_move_are_those_of_the_outermost_buckets() {
        let before = read(&[10, 1_000_000]);
        let row = Row::new(&read(&[10, 1_000_000, 5_000, 7_000]), Some(&before)).unwrap();
        let (low, _) = bucket_bounds(bucket_index(5_000));
        let (_, high) = bucket_bounds(bucket_index(7_000));
        assert_eq!((row.latency.min_ns(), row.latency.max_ns()), (low, high));
    }

    #[test]
    fn a_call_read_before_its_extremes_has_those_of_its_bucket() {
        // The very first call of a kind: nothing but its bucket is there yet.
        let mut first = read(&[5_000]);
        (first.sum_ns, first.min_ns, first.max_ns) = (0, u64::MAX, 0);
        let row = Row::new(&first, None).unwrap();
        let (low, high) = bucket_bounds(bucket_index(5_000));
        assert!((low..=high).contains(&row.latency.min_ns()));
        assert!((row.latency.min_ns()..=high).contains(&row.latency.max_ns()));
        assert_eq!(row.latency.quantile_ns(0.5), Some(row.latency.max_ns()));

        // Later ones: both lie outside what the extremes know.
        let before = read(&[5_000]);
        for ns in [10, 1_000_000] {
            let mut late = read(&[5_000, ns]);
            (late.min_ns, late.max_ns) = (before.min_ns, before.max_ns);
            let row = Row::new(&late, Some(&before)).unwrap();
            let (low, high) = bucket_bounds(bucket_index(ns));
            assert!(low <= row.latency.min_ns() && row.latency.max_ns() <= high);
            assert!(row.latency.min_ns() <= row.latency.max_ns());
        }
    }
}
