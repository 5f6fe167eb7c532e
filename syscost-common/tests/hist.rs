//! The promises of the bucket arithmetic.

use histogram::Histogram;
use proptest::{collection::vec, prelude::*};
use syscost_common::hist::{
    BUCKETS, LATENCY, PART, PART_BUCKETS, Scheme, bucket_bounds, bucket_index,
    bucket_index_by_table, part_index_by_table, part_index_of_bucket,
};

const SCHEMES: [Scheme; 2] = [LATENCY, PART];

/// The histogram that the crate would make with the same parameters.
fn reference(scheme: Scheme) -> Histogram {
    Histogram::new(scheme.grouping_power as u8, scheme.max_value_power as u8).unwrap()
}

fn max_value(scheme: Scheme) -> u64 {
    1 << scheme.max_value_power
}

/// Values of every magnitude: uniform ones would nearly all have 64 bits.
fn any_latency() -> impl Strategy<Value = u64> {
    (0..u64::BITS, any::<u64>()).prop_map(|(shift, bits)| bits >> shift)
}

#[test]
fn buckets_tile_all_values_without_gap_or_overlap() {
    for scheme in SCHEMES {
        let mut next = 0;
        for index in 0..scheme.buckets() {
            let (low, high) = scheme.bounds(index);
            assert_eq!(low, next, "{scheme:?} {index}");
            assert!(low <= high, "{scheme:?} {index}");
            next = high.wrapping_add(1);
        }
        // The last one is open above: one past its end is one past the largest number.
        assert_eq!(next, 0);
        assert!(scheme.bounds(scheme.buckets() - 1).0 < max_value(scheme));
    }
}

#[test]
fn every_value_of_a_bucket_leads_back_to_it() {
    for scheme in SCHEMES {
        for index in 0..scheme.buckets() {
            let (low, high) = scheme.bounds(index);
            for value in [low, low + (high - low) / 2, high] {
                assert_eq!(scheme.index(value), index, "{scheme:?} {value}");
            }
        }
    }
}

#[test]
fn buckets_are_those_of_the_histogram_crate() {
    assert_eq!((BUCKETS, PART_BUCKETS), (592, 140));
    for scheme in SCHEMES {
        let reference = reference(scheme);
        assert_eq!(reference.as_slice().len(), scheme.buckets());
        for (index, bucket) in reference.iter().enumerate() {
            let (low, high) = scheme.bounds(index);
            // The crate has no open bucket: its last one ends at the largest value it takes.
            assert_eq!((bucket.start(), bucket.end()), (low, high.min(max_value(scheme) - 1)));
        }
    }
}

#[test]
fn small_values_have_a_bucket_each() {
    for scheme in SCHEMES {
        for value in 0..scheme.linear() {
            assert_eq!(scheme.bounds(scheme.index(value)), (value, value));
        }
    }
}

#[test]
fn no_bucket_is_wider_than_its_share_of_its_values() {
    for (scheme, parts) in [(LATENCY, 16), (PART, 4)] {
        for index in 1..scheme.buckets() - 1 {
            let (low, high) = scheme.bounds(index);
            let width = high - low + 1;
            // Those of width 1 know their value and have no error.
            assert!(width == 1 || width * parts <= low, "{scheme:?} {index}: {low}..={high}");
        }
    }
}

/// Both indices of a value, as the hot path finds them.
fn by_table(value: u64) -> (usize, usize) {
    (bucket_index_by_table(value), part_index_by_table(value))
}

/// Both, each by its scheme.
fn by_schemes(value: u64) -> (usize, usize) {
    (LATENCY.index(value), PART.index(value))
}

#[test]
fn a_bucket_of_parts_has_whole_buckets_of_latencies() {
    for index in 0..BUCKETS {
        let (low, high) = bucket_bounds(index);
        assert_eq!(part_index_of_bucket(index), PART.index(low), "{index}");
        assert_eq!(part_index_of_bucket(index), PART.index(high), "{index}");
    }
}

#[test]
fn the_hot_path_finds_the_buckets_of_both_schemes() {
    for scheme in SCHEMES {
        for (low, high) in (0..scheme.buckets()).map(|index| scheme.bounds(index)) {
            for value in [low, low + (high - low) / 2, high] {
                assert_eq!(by_table(value), by_schemes(value), "{value}");
            }
        }
    }
}

#[test]
fn only_very_long_calls_share_the_open_bucket() {
    let max = max_value(LATENCY);
    for value in [max - 1, max, max + 1, u64::MAX] {
        assert_eq!(bucket_index(value), BUCKETS - 1);
    }
    // A minute of waiting is nothing unusual.
    let minute = 60_000_000_000;
    let (low, high) = bucket_bounds(bucket_index(minute));
    assert!(low <= minute && minute <= high);
    assert!(high - low < minute / 16);
}

#[test]
#[should_panic(expected = "bucket index out of range")]
fn there_is_no_bucket_beyond_the_last() {
    bucket_bounds(BUCKETS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_value_lies_in_its_bucket(value in any_latency()) {
        let index = bucket_index(value);
        prop_assert!(index < BUCKETS);
        let (low, high) = bucket_bounds(index);
        prop_assert!(low <= value && value <= high);
        let (low, high) = PART.bounds(PART.index(value));
        prop_assert!(low <= value && value <= high);
    }

    #[test]
    fn the_hot_path_finds_the_buckets_of_any_value(value in any_latency()) {
        prop_assert_eq!(by_table(value), by_schemes(value));
    }

    #[test]
    fn the_index_grows_with_the_value(a in any_latency(), b in any_latency()) {
        prop_assert!(bucket_index(a.min(b)) <= bucket_index(a.max(b)));
    }

    #[test]
    fn the_upper_bound_is_at_most_a_sixteenth_too_high(value in any_latency()) {
        let (_, high) = bucket_bounds(bucket_index(value));
        prop_assert!(high == u64::MAX || (high - value) * 16 <= value);
    }
}

proptest! {
    #[test]
    fn the_index_is_that_of_the_histogram_crate(values in vec(any_latency(), 1..500)) {
        for scheme in SCHEMES {
            let mut reference = reference(scheme);
            let mut counts = vec![0; scheme.buckets()];
            for value in &values {
                counts[scheme.index(*value)] += 1;
                // Beyond its range the crate has no answer; here the last bucket takes the rest.
                reference.increment((*value).min(max_value(scheme) - 1)).unwrap();
            }
            prop_assert_eq!(reference.as_slice(), counts);
        }
    }

    #[test]
    fn shards_merged_are_the_whole(calls in vec((0..8_usize, any_latency()), 0..500)) {
        let mut shards = vec![vec![0_u64; BUCKETS]; 8];
        let mut whole = vec![0_u64; BUCKETS];
        for (cpu, latency_ns) in calls {
            shards[cpu][bucket_index(latency_ns)] += 1;
            whole[bucket_index(latency_ns)] += 1;
        }
        let merged: Vec<u64> =
            (0..BUCKETS).map(|bucket| shards.iter().map(|shard| shard[bucket]).sum()).collect();
        prop_assert_eq!(merged, whole);
    }
}
