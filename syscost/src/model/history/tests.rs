use proptest::{collection::vec, prelude::*, sample::Index};
use syscost_common::{hist::bucket_index, kind::AbiClass, ledger::Counter};

use super::*;
use crate::{
    group::GroupBy,
    sample::{GroupKey, GroupSample, GroupsSample, KindKey, KindSample, arbitrary},
    view::fixture,
};

const ALL: Limits = Limits { intervals: 1_000, bytes: 1 << 20 };

fn history(samples: &[Sample], limits: Limits) -> History {
    let mut history = History::new(samples[0].clone(), Costs::default(), limits);
    samples.iter().for_each(|sample| history.advance(sample.clone()));
    history
}

/// Samples of one measurement: each is the one before, with some parts taken from any other sample.
fn run() -> impl Strategy<Value = Vec<Sample>> {
    let step = (arbitrary::sample(), any::<[bool; 5]>(), 1u64..1 << 31);
    (arbitrary::sample(), vec(step, 1..8)).prop_map(|(first, steps)| {
        let mut samples = vec![first];
        for (other, [kinds, open_calls, groups, ledger, rest], passed_ns) in steps {
            let mut sample = samples.last().expect("there is a first").clone();
            sample.begin_ns += passed_ns;
            sample.end_ns = sample.begin_ns + other.read_ns();
            if kinds {
                sample.kinds = other.kinds;
            }
            if open_calls {
                sample.open_calls = other.open_calls;
            }
            if groups {
                sample.groups = other.groups;
            }
            if ledger {
                sample.ledger = other.ledger;
            }
            if rest {
                (sample.subject, sample.cpu, sample.detail) =
                    (other.subject, other.cpu, other.detail);
            }
            samples.push(sample);
        }
        samples
    })
}

proptest! {
    #[test]
    fn a_span_is_the_interval_between_its_samples(samples in run()) {
        let history = history(&samples, ALL);
        prop_assert_eq!(history.oldest(), 1);
        // Tick n is the sample n - 1.
        for to in 1..=samples.len() {
            let end = &samples[to - 1];
            prop_assert_eq!(history.span(0, to as u64), Some(Model::since_attach(end)));
            for from in 1..to {
                let span = history.span(from as u64, to as u64);
                prop_assert_eq!(span, Some(Model::interval(end, &samples[from - 1])));
            }
        }
    }

    #[test]
    fn what_is_merged_is_gone_and_the_rest_is_exact(
        samples in run(),
        intervals in 0usize..5,
        tick in any::<Index>(),
    ) {
        let limits = Limits { intervals, bytes: usize::MAX };
        let history = history(&samples, limits);
        let newest = samples.len() as u64;
        let oldest = newest.saturating_sub(intervals as u64).max(1);
        prop_assert_eq!((history.oldest(), history.newest()), (oldest, newest));
        let latest = samples.last().expect("there is a first");
        prop_assert_eq!(history.since_start(), Model::since_attach(latest));
        let last = samples.len().checked_sub(2);
        let last = last.map_or(Model::since_attach(latest), |before| {
            Model::interval(latest, &samples[before])
        });
        prop_assert_eq!(history.last(), last);
        let from = tick.index(samples.len()) as u64;
        let is_kept = from == 0 || from >= oldest;
        prop_assert_eq!(history.span(from, newest).is_some(), is_kept && from < newest);
    }
}

#[test]
fn there_is_no_span_without_two_ticks() {
    let sample = fixture::nginx();
    let mut history = History::new(sample.clone(), Costs::default(), ALL);
    assert_eq!((history.oldest(), history.newest()), (0, 0));
    assert_eq!(history.span(0, 0), None);
    assert_eq!(history.span(0, 1), None);
    assert_eq!(history.last(), Model::since_attach(&sample));
    history.advance(sample.clone());
    assert_eq!(history.span(0, 1), Some(Model::since_attach(&sample)));
    assert_eq!(history.span(1, 1), None);
    assert_eq!(history.span(1, 2), None);
}

/// A host under load: 40 syscalls and 1,000 processes, of which all move in every interval.
fn host(tick: u64) -> Sample {
    let mut sample = fixture::sample(Vec::new());
    sample.begin_ns += tick * 1_000_000_000;
    sample.end_ns = sample.begin_ns + 250_000;
    // No two intervals alike: a generator of Lehmer's.
    let mut random = tick * 2 + 1;
    let mut next = |below: u64| {
        random = random.wrapping_mul(0xda94_2042_e4dd_58b5);
        (random >> 33) % below
    };
    for nr in 0..40 {
        let mut kind = KindSample::empty(KindKey::Call { abi: AbiClass::Native, nr });
        (kind.min_ns, kind.max_ns) = (50, 50_000_000_000);
        // A distribution over 60 buckets around a median, different for each syscall.
        let median = bucket_index(700 << (nr % 12));
        for bucket in median - 20..median + 40 {
            let calls = tick * (1_000 >> (bucket.abs_diff(median) / 5)) + next(100);
            kind.buckets[bucket] += calls;
            kind.sum_ns += calls * 1_234;
            for (of, part) in kind.parts.iter_mut().enumerate() {
                part.buckets[bucket / 8 + of] += calls / (of as u64 + 1);
                part.sum_ns += calls * 400;
            }
        }
        kind.errnos = vec![(4, tick), (11, 1 + tick * 100)];
        sample.kinds.push(kind);
    }
    let group = |pid: u32, calls: u64| GroupSample {
        key: GroupKey::Process { pid, started_at_ns: u64::from(pid) << 30 },
        name: Some(format!("worker-{pid}")),
        alive: true,
        threads: 4,
        calls,
        errors: calls / 50,
        total_ns: calls * 12_345,
        parts_ns: [calls * 2_345, calls * 1_000, calls * 9_000],
        parted: calls,
    };
    let groups = (1..=1_000).map(|pid| group(pid, tick * 3_000 + next(1_000))).collect();
    sample.groups = Some(GroupsSample { by: GroupBy::Process, groups, recording: 0 });
    let calls = sample.kinds.iter().map(KindSample::calls).sum();
    sample.ledger.counters[Counter::Enters as usize] = calls;
    sample.ledger.counters[Counter::Matched as usize] = calls;
    sample
}

#[test]
fn memory_has_a_bound() {
    let limits = Limits { intervals: 20, bytes: 10 << 20 };
    let mut history = History::new(host(0), Costs::default(), limits);
    for tick in 1..=30 {
        history.advance(host(tick));
    }
    assert_eq!((history.oldest(), history.newest()), (10, 30));
    // All of 600 such intervals: below 32 MiB.
    let for_600 = history.bytes() / 20 * 600;
    assert!((10 << 20..32 << 20).contains(&for_600), "{for_600}");

    // A bound in bytes is kept as well, and costs ticks.
    let bytes = history.bytes() / 2;
    let mut small = History::new(host(0), Costs::default(), Limits { bytes, ..limits });
    for tick in 1..=30 {
        small.advance(host(tick));
        assert!(small.bytes() <= bytes, "{tick}");
    }
    assert!((19..22).contains(&small.oldest()), "{}", small.oldest());
    assert_eq!(small.since_start(), Model::since_attach(&host(30)));
    assert_eq!(small.span(25, 30), Some(Model::interval(&host(30), &host(25))));
}

#[test]
fn an_idle_interval_takes_next_to_nothing() {
    let mut history = History::new(host(1), Costs::default(), ALL);
    for second in 0..100 {
        let mut sample = host(1);
        sample.begin_ns += second * 1_000_000_000;
        sample.end_ns = sample.begin_ns + 250_000;
        history.advance(sample);
    }
    assert!(history.bytes() < 100 * 80, "{}", history.bytes());
}
