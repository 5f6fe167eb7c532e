//! A latency distribution: percentiles from all of its buckets, never from an average.

use histogram::Histogram;
use syscost_common::hist::{BUCKETS, GROUPING_POWER, MAX_VALUE_POWER, bucket_bounds};

/// The latencies of one syscall in one window.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram,
    count: u64,
    min_ns: u64,
    max_ns: u64,
}

/// A bucket that counted something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Smallest latency it counts, ns.
    pub low_ns: u64,
    /// Largest latency it counts, ns; of the open last bucket, the largest that was seen.
    pub high_ns: u64,
    /// How many calls took that long.
    pub count: u64,
}

impl Latency {
    /// A distribution from its bucket counters and its known extremes (ns).
    pub fn new(buckets: &[u64; BUCKETS], min_ns: u64, max_ns: u64) -> Self {
        let histogram =
            Histogram::from_buckets(GROUPING_POWER as u8, MAX_VALUE_POWER as u8, buckets.to_vec())
                .expect("the kernel's buckets have the histogram crate's layout");
        Self { histogram, count: buckets.iter().sum(), min_ns, max_ns }
    }

    /// The number of calls.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The shortest latency, ns.
    pub fn min_ns(&self) -> u64 {
        self.min_ns
    }

    /// The longest latency, ns.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The latency (ns) that `quantile` (0.0..=1.0) of the calls do not exceed: the upper bound of
    /// the bucket with that rank (so at most 1/16 too high), kept within the known extremes.
    ///
    /// # Panics
    /// When `quantile` is not between 0 and 1.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        let bucket = self.histogram.quantile_bucket(quantile).expect("a quantile is in 0..=1")?;
        // The last bucket is open above: only the extreme says how far it reaches.
        let high =
            if bucket.end() >= (1 << MAX_VALUE_POWER) - 1 { self.max_ns } else { bucket.end() };
        Some(high.clamp(self.min_ns, self.max_ns))
    }

    /// The buckets that counted something, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.histogram.as_slice().iter().enumerate().filter(|(_, count)| **count > 0).map(
            |(index, &count)| {
                let (low_ns, high) = bucket_bounds(index);
                let high_ns = if high == u64::MAX { self.max_ns.max(low_ns) } else { high };
                Bucket { low_ns, high_ns, count }
            },
        )
    }
}

impl PartialEq for Latency {
    fn eq(&self, other: &Self) -> bool {
        self.min_ns == other.min_ns
            && self.max_ns == other.max_ns
            && self.histogram.as_slice() == other.histogram.as_slice()
    }
}
