//! The histogram's arithmetic: value -> bucket index -> bucket bounds. The only copy of it.
//!
//! The buckets are log-linear (H2): the first values have a bucket each, and from there on every
//! power of two is split into 2^g buckets of equal width, g being the grouping power. A bucket at
//! value `v` is at most `v / 2^g` wide, which bounds the relative error.
//! The scheme and its terms are those of the `histogram` crate (H2 histograms,
//! <https://h2histogram.org>), so that a row of counters can be handed to it as it is.

/// How a histogram's range is cut into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// 2^this buckets for each power of two: a relative error of at most 1 / 2^this.
    pub grouping_power: u32,
    /// Values below 2^this have buckets of their own; the last one takes the rest.
    pub max_value_power: u32,
}

/// Latencies: to 1/16, below 2^40 ns (18.3 minutes).
pub const LATENCY: Scheme = Scheme { grouping_power: 4, max_value_power: 40 };

/// The parts of a latency: to 1/4, below 2^36 ns (68.7 s). Coarser, so that three more histograms of
/// each syscall and CPU fit beside the first.
pub const PART: Scheme = Scheme { grouping_power: 2, max_value_power: 36 };

/// The number of buckets of a latency histogram.
pub const BUCKETS: usize = LATENCY.buckets();

/// The number of buckets of a part's histogram.
pub const PART_BUCKETS: usize = PART.buckets();

impl Scheme {
    /// Values below this have buckets of width 1 each.
    #[inline(always)]
    pub const fn linear(self) -> u64 {
        1 << (self.grouping_power + 1)
    }

    /// The number of buckets.
    pub const fn buckets(self) -> usize {
        ((self.max_value_power - self.grouping_power + 1) << self.grouping_power) as usize
    }

    /// The index of the bucket that counts `value` (in ns), in `0..self.buckets()`.
    #[inline(always)]
    pub const fn index(self, value: u64) -> usize {
        if value < self.linear() {
            return value as usize;
        }
        if value >= 1 << self.max_value_power {
            return self.buckets() - 1;
        }
        let shift = ilog2(value) - self.grouping_power;
        ((shift as usize) << self.grouping_power) + (value >> shift) as usize
    }

    /// The smallest and the largest value (in ns, both inclusive) that bucket `index` counts.
    ///
    /// The last bucket is open above: its upper bound is `u64::MAX`.
    ///
    /// # Panics
    /// When `index` is not below [`Scheme::buckets`].
    pub const fn bounds(self, index: usize) -> (u64, u64) {
        assert!(index < self.buckets(), "bucket index out of range");
        let last = index == self.buckets() - 1;
        let index = index as u64;
        if index < self.linear() {
            return (index, index);
        }
        let shift = (index >> self.grouping_power) - 1;
        let low = (index - (shift << self.grouping_power)) << shift;
        if last {
            return (low, u64::MAX);
        }
        (low, low + (1 << shift) - 1)
    }
}

/// The index of the bucket that counts the latency `value` (in ns), in `0..BUCKETS`.
#[inline(always)]
pub const fn bucket_index(value: u64) -> usize {
    LATENCY.index(value)
}

/// The bounds (in ns, both inclusive) of the latency bucket `index`; see [`Scheme::bounds`].
///
/// # Panics
/// When `index` is not below [`BUCKETS`].
pub const fn bucket_bounds(index: usize) -> (u64, u64) {
    LATENCY.bounds(index)
}

/// The bucket of a part as long as the latencies in bucket `index`: each bucket of a part is a union
/// of theirs. Saves the hot path looking for the highest bit a second time.
#[inline(always)]
pub const fn part_index_of_bucket(index: usize) -> usize {
    const FINER: u32 = LATENCY.grouping_power - PART.grouping_power;
    if index < LATENCY.linear() as usize {
        return PART.index(index as u64);
    }
    let index = (index >> FINER) + ((FINER as usize) << PART.grouping_power);
    if index < PART_BUCKETS { index } else { PART_BUCKETS - 1 }
}

/// The position of the highest set bit. `value` must not be 0.
// BPF has no count-leading-zeros instruction, and LLVM expands `leading_zeros` to some 45
// instructions that all run. Halving the range takes a fifth of that.
#[inline(always)]
const fn ilog2(value: u64) -> u32 {
    let mut rest = value;
    let mut log = 0;
    if rest >= 1 << 32 {
        rest >>= 32;
        log += 32;
    }
    if rest >= 1 << 16 {
        rest >>= 16;
        log += 16;
    }
    if rest >= 1 << 8 {
        rest >>= 8;
        log += 8;
    }
    if rest >= 1 << 4 {
        rest >>= 4;
        log += 4;
    }
    if rest >= 1 << 2 {
        rest >>= 2;
        log += 2;
    }
    if rest >= 1 << 1 {
        log += 1;
    }
    log
}
