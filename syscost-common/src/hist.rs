//! The histogram's arithmetic: value -> bucket index -> bucket bounds. The only copy of it.
//!
//! The buckets are log-linear (H2): the first [`LINEAR`] values have a bucket each, and from there
//! on every power of two is split into 2^[`GROUPING_POWER`] buckets of equal width. A bucket at
//! value `v` is at most `v / 2^GROUPING_POWER` wide, which bounds the relative error.
//! The scheme and its terms are those of the `histogram` crate (H2 histograms,
//! <https://h2histogram.org>), so that a row of counters can be handed to it as it is.

/// 2^4 buckets for each power of two: a relative error of at most 1/16.
pub const GROUPING_POWER: u32 = 4;

/// Values below 2^40 ns (18.3 minutes) have buckets of their own; the last one takes the rest.
pub const MAX_VALUE_POWER: u32 = 40;

/// Values below this have a bucket of width 1 each.
pub const LINEAR: u64 = 1 << (GROUPING_POWER + 1);

/// The number of buckets of a histogram.
pub const BUCKETS: usize = ((MAX_VALUE_POWER - GROUPING_POWER + 1) << GROUPING_POWER) as usize;

/// The index of the bucket that counts `value` (in ns), in `0..BUCKETS`.
#[inline(always)]
pub const fn bucket_index(value: u64) -> usize {
    if value < LINEAR {
        return value as usize;
    }
    if value >= 1 << MAX_VALUE_POWER {
        return BUCKETS - 1;
    }
    let shift = ilog2(value) - GROUPING_POWER;
    ((shift as usize) << GROUPING_POWER) + (value >> shift) as usize
}

/// The smallest and the largest value (in ns, both inclusive) that bucket `index` counts.
///
/// The last bucket is open above: its upper bound is `u64::MAX`.
///
/// # Panics
/// When `index` is not below [`BUCKETS`].
pub const fn bucket_bounds(index: usize) -> (u64, u64) {
    assert!(index < BUCKETS, "bucket index out of range");
    let index = index as u64;
    if index < LINEAR {
        return (index, index);
    }
    let shift = (index >> GROUPING_POWER) - 1;
    let low = (index - (shift << GROUPING_POWER)) << shift;
    if index as usize == BUCKETS - 1 {
        return (low, u64::MAX);
    }
    (low, low + (1 << shift) - 1)
}

/// The position of the highest set bit. `value` must be at least [`LINEAR`] and below
/// 2^[`MAX_VALUE_POWER`].
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
