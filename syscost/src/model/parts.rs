//! The parts of latencies: on a CPU, in the run queue, blocked.

use syscost_common::{
    cell::PartOf,
    hist::{PART, PART_BUCKETS},
};

use super::Distribution;
use crate::sample::{KindSample, PartSample};

/// Sums of the three parts, over the calls whose parts are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartSums {
    /// Calls whose parts are known.
    pub calls: u64,
    /// On a CPU, ns.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU, ns.
    pub runq_ns: u64,
    /// Blocked: waiting for anything else, ns.
    pub blocked_ns: u64,
}

impl PartSums {
    /// The sum of one part, ns.
    pub fn get(self, of: PartOf) -> u64 {
        match of {
            PartOf::OnCpu => self.on_cpu_ns,
            PartOf::Runq => self.runq_ns,
            PartOf::Blocked => self.blocked_ns,
        }
    }

    /// The sum of both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            on_cpu_ns: self.on_cpu_ns + other.on_cpu_ns,
            runq_ns: self.runq_ns + other.runq_ns,
            blocked_ns: self.blocked_ns + other.blocked_ns,
        }
    }

    /// The difference to `before`; each number is at least 0.
    pub(super) fn less(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            on_cpu_ns: self.on_cpu_ns.saturating_sub(before.on_cpu_ns),
            runq_ns: self.runq_ns.saturating_sub(before.runq_ns),
            blocked_ns: self.blocked_ns.saturating_sub(before.blocked_ns),
        }
    }
}

/// The distribution of each part over the calls whose parts are known. A call without any time in a part counts
/// as 0 there.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    on_cpu: Distribution,
    runq: Distribution,
    blocked: Distribution,
}

impl Parts {
    /// One of the three.
    pub fn get(&self, of: PartOf) -> &Distribution {
        match of {
            PartOf::OnCpu => &self.on_cpu,
            PartOf::Runq => &self.runq,
            PartOf::Blocked => &self.blocked,
        }
    }

    /// The parts of the calls of a kind since `before`, and their sums. `max_ns`: the longest latency, which no
    /// part exceeds. `None` where no parts are known.
    pub(super) fn new(
        kind: &KindSample,
        before: Option<&KindSample>,
        max_ns: u64,
    ) -> Option<(Self, PartSums)> {
        let since = |of: PartOf| {
            let now = &kind.parts[of as usize];
            let before = before.map(|before| &before.parts[of as usize]);
            subtract(now, before)
        };
        let [on_cpu, runq, blocked] = [PartOf::OnCpu, PartOf::Runq, PartOf::Blocked].map(since);
        // Every call whose parts are known has been on a CPU.
        let calls = on_cpu.buckets.iter().sum();
        if calls == 0 {
            return None;
        }
        let sums = PartSums {
            calls,
            on_cpu_ns: on_cpu.sum_ns,
            runq_ns: runq.sum_ns,
            blocked_ns: blocked.sum_ns,
        };
        let distribution = |part| distribution(part, calls, max_ns);
        let parts = Self {
            on_cpu: distribution(on_cpu),
            runq: distribution(runq),
            blocked: distribution(blocked),
        };
        Some((parts, sums))
    }
}

fn subtract(now: &PartSample, before: Option<&PartSample>) -> PartSample {
    let mut since = *now;
    if let Some(before) = before {
        // Both were read while calls were recorded, so that a difference could be below 0.
        since.sum_ns = since.sum_ns.saturating_sub(before.sum_ns);
        for (count, before) in since.buckets.iter_mut().zip(before.buckets) {
            *count = count.saturating_sub(before);
        }
    }
    since
}

/// The distribution of a part over `calls` calls. Calls that the kernel did not count have no time in it.
fn distribution(mut part: PartSample, calls: u64, longest_ns: u64) -> Distribution {
    let counted: u64 = part.buckets.iter().sum();
    part.buckets[0] += calls.saturating_sub(counted);
    let occupied = |index: &usize| part.buckets[*index] > 0;
    let min_ns = PART.bounds((0..PART_BUCKETS).find(occupied).unwrap_or(0)).0;
    let max_ns = PART.bounds((0..PART_BUCKETS).rfind(occupied).unwrap_or(0)).1;
    // Where a sample was read too early, the longest latency may be too short.
    let max_ns = max_ns.min(longest_ns.max(min_ns));
    Distribution::new(PART, &part.buckets, min_ns, max_ns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syscost_common::{hist::bucket_index, kind::AbiClass, off_cpu::OffCpu};

    use super::*;
    use crate::{
        model::{Row, TableRow},
        sample::KindKey,
    };

    /// Records as the kernel does: `runq_ns` and `blocked_ns` as they were added up, whatever they are.
    fn read(calls: &[(u64, u64, u64)]) -> KindSample {
        let mut kind = KindSample::empty(KindKey::Call { abi: AbiClass::Native, nr: 0 });
        for &(latency_ns, runq_ns, blocked_ns) in calls {
            let off = OffCpu { runq_ns, blocked_ns }.within(latency_ns);
            let on_cpu_ns = latency_ns - off.runq_ns - off.blocked_ns;
            for (of, ns) in [
                (PartOf::OnCpu, on_cpu_ns),
                (PartOf::Runq, off.runq_ns),
                (PartOf::Blocked, off.blocked_ns),
            ] {
                if ns != 0 || of == PartOf::OnCpu {
                    kind.parts[of as usize].sum_ns += ns;
                    kind.parts[of as usize].buckets[PART.index(ns)] += 1;
                }
            }
            kind.buckets[bucket_index(latency_ns)] += 1;
            kind.sum_ns += latency_ns;
            kind.min_ns = kind.min_ns.min(latency_ns);
            kind.max_ns = kind.max_ns.max(latency_ns);
        }
        kind
    }

    proptest! {
        #[test]
        fn the_parts_add_up_to_the_latency(
            calls in prop::collection::vec((0u64..1 << 41, 0u64..1 << 41, 0u64..1 << 41), 1..100),
            before in 0usize..100,
        ) {
            let before = &calls[..before.min(calls.len() - 1)];
            let row = Row::new(&read(&calls), Some(&read(before))).unwrap();
            let parts = row.sum().parts;
            prop_assert_eq!(parts.on_cpu_ns + parts.runq_ns + parts.blocked_ns, row.total_ns);
            prop_assert_eq!(parts.calls, row.calls);
            for of in [PartOf::OnCpu, PartOf::Runq, PartOf::Blocked] {
                let distribution = row.parts.as_ref().unwrap().get(of);
                prop_assert_eq!(distribution.count(), row.calls);
                prop_assert!(distribution.max_ns() <= row.latency.max_ns().max(distribution.min_ns()));
                let quantiles = [0.0, 0.5, 0.9, 0.99, 1.0].map(|q| row.part_quantile_ns(of, q));
                prop_assert!(quantiles.is_sorted());
                let whole = [0.0, 0.5, 0.9, 0.99, 1.0].map(|q| row.latency.quantile_ns(q));
                prop_assert!(quantiles.iter().zip(whole).all(|(part, whole)| *part <= whole));
            }
        }
    }

    #[test]
    fn who_never_left_the_cpu_was_blocked_for_0() {
        let row =
            Row::new(&read(&[(100, 0, 0), (100, 0, 0), (9_000, 1_000, 7_000)]), None).unwrap();
        let parts = row.parts.unwrap();
        assert_eq!(parts.get(PartOf::Blocked).quantile_ns(0.5), Some(0));
        let longest = parts.get(PartOf::Blocked).quantile_ns(1.0).unwrap();
        assert!((7_000..=8_750).contains(&longest), "{longest}");
        assert_eq!(parts.get(PartOf::OnCpu).quantile_ns(0.0), Some(PART.bounds(PART.index(100)).1));
    }

    #[test]
    fn without_a_known_call_there_is_nothing() {
        let mut kind = read(&[(100, 0, 0)]);
        kind.parts = KindSample::empty(kind.key).parts;
        assert_eq!(Row::new(&kind, None).unwrap().parts, None);
    }
}
