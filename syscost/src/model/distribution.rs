//! A distribution of times: percentiles from all of its buckets, never from an average.

use histogram::Histogram;
use syscost_common::hist::Scheme;

/// How long the calls of one syscall took in one window, or a part of that.
#[derive(Clone, Debug)]
pub struct Distribution {
    scheme: Scheme,
    histogram: Histogram,
    count: u64,
    min_ns: u64,
    max_ns: u64,
}

/// A bucket that counted something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Smallest time it counts, ns.
    pub low_ns: u64,
    /// Largest time it counts, ns; of the open last bucket, the largest that was seen.
    pub high_ns: u64,
    /// How many calls took that long.
    pub count: u64,
}

impl Distribution {
    /// A distribution from the counters of a scheme's buckets and its known extremes (ns).
    ///
    /// # Panics
    /// When there are not as many counters as the scheme has buckets.
    pub fn new(scheme: Scheme, buckets: &[u64], min_ns: u64, max_ns: u64) -> Self {
        let histogram = Histogram::from_buckets(
            scheme.grouping_power as u8,
            scheme.max_value_power as u8,
            buckets.to_vec(),
        )
        .expect("the kernel's buckets have the histogram crate's layout");
        // If the first calls were being recorded meanwhile, the minimum can be above the maximum.
        let max_ns = max_ns.max(min_ns);
        Self { scheme, histogram, count: buckets.iter().sum(), min_ns, max_ns }
    }

    /// The number of calls.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The shortest time, ns.
    pub fn min_ns(&self) -> u64 {
        self.min_ns
    }

    /// The longest time, ns.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The time (ns) that a share `quantile` (0.0..=1.0) of the calls do not exceed: the upper bound of the
    /// bucket with that rank, kept within the known extremes. At most the width of a bucket too high.
    ///
    /// # Panics
    /// When `quantile` is not between 0 and 1.
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        let bucket = self.histogram.quantile_bucket(quantile).expect("a quantile is in 0..=1")?;
        // The last bucket has no upper bound: the known maximum takes its place.
        let open = bucket.end() >= (1 << self.scheme.max_value_power) - 1;
        let high = if open { self.max_ns } else { bucket.end() };
        Some(high.max(self.min_ns).min(self.max_ns))
    }

    /// The buckets that counted something, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.histogram.as_slice().iter().enumerate().filter(|(_, count)| **count > 0).map(
            |(index, &count)| {
                let (low_ns, high) = self.scheme.bounds(index);
                let high_ns = if high == u64::MAX { self.max_ns.max(low_ns) } else { high };
                Bucket { low_ns, high_ns, count }
            },
        )
    }
}

impl PartialEq for Distribution {
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.min_ns == other.min_ns
            && self.max_ns == other.max_ns
            && self.histogram.as_slice() == other.histogram.as_slice()
    }
}
