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
        let shift = value.ilog2() - self.grouping_power;
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

/// [`bucket_index`] where each instruction counts.
// BPF has no count-leading-zeros instruction; LLVM expands `ilog2` to some 45 instructions that all
// run. From 2^5 on buckets repeat: a value 2^n times as large is n powers of two further up. So a table
// of short latencies serves longer ones as well.
#[inline(always)]
pub const fn bucket_index_by_table(value: u64) -> usize {
    if value < SHORT {
        return INDICES[(value % SHORT) as usize] as usize;
    }
    let shift = match value {
        0..0x8000 => 5,
        0x8000..0x10_0000 => 10,
        0x10_0000..0x200_0000 => 15,
        0x200_0000..0x4000_0000 => 20,
        0x4000_0000..0x8_0000_0000 => 25,
        0x8_0000_0000..0x100_0000_0000 => 30,
        _ => return BUCKETS - 1,
    };
    INDICES[((value >> shift) % SHORT) as usize] as usize + (shift << LATENCY.grouping_power)
}

/// The index of the bucket that counts the part `value` (in ns), in `0..PART_BUCKETS`, by the same table.
#[inline(always)]
pub const fn part_index_by_table(value: u64) -> usize {
    part_index_of_bucket(bucket_index_by_table(value))
}

/// The index of the bucket of parts that has all values of the latency bucket `index`: parts are coarser, and end at a
/// smaller value.
#[inline(always)]
pub const fn part_index_of_bucket(index: usize) -> usize {
    const { assert!(LATENCY.grouping_power == 4 && PART.grouping_power == 2) };
    let part = match index {
        // One value each in both.
        0..8 => index,
        // One value each among latencies.
        8..16 => (index >> 1) + 4,
        // Four of one power of two in one.
        _ => (index >> 2) + 8,
    };
    if part < PART_BUCKETS { part } else { PART_BUCKETS - 1 }
}

/// Values below this are in the table: calls that take less than a microsecond.
const SHORT: u64 = 1 << 10;

/// The bucket of each short value.
const INDICES: [u8; SHORT as usize] = {
    let mut indices = [0; SHORT as usize];
    let mut value = 0;
    while value < SHORT {
        let index = LATENCY.index(value);
        assert!(index <= u8::MAX as usize);
        indices[value as usize] = index as u8;
        value += 1;
    }
    indices
};
