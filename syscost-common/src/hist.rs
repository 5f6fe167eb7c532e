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

/// What [`Scheme::index`] says of `value` (in ns) among latencies, and what among parts, where each
/// instruction counts.
// BPF has no count-leading-zeros instruction; LLVM expands `ilog2` to some 45 instructions that all
// run. From 2^5 on buckets repeat: a value 2^n times as large is n powers of two further up. So a table
// of short latencies serves longer ones as well.
#[inline(always)]
pub const fn indices(value: u64) -> (usize, usize) {
    if value < SHORT {
        return of_short(value);
    }
    let shift = match value {
        0..0x8000 => 5,
        0x8000..0x10_0000 => 10,
        0x10_0000..0x200_0000 => 15,
        0x200_0000..0x4000_0000 => 20,
        0x4000_0000..0x8_0000_0000 => 25,
        0x8_0000_0000..0x100_0000_0000 => 30,
        _ => return (BUCKETS - 1, PART_BUCKETS - 1),
    };
    let (latency, part) = of_short(value >> shift);
    let part = part + (shift << PART.grouping_power);
    // Parts end at a smaller value.
    let part = if part < PART_BUCKETS { part } else { PART_BUCKETS - 1 };
    (latency + (shift << LATENCY.grouping_power), part)
}

/// [`indices`] of a value below [`SHORT`].
#[inline(always)]
const fn of_short(value: u64) -> (usize, usize) {
    let [latency, part] = INDICES[(value % SHORT) as usize].to_ne_bytes();
    (latency as usize, part as usize)
}

/// Values below this are in the table: calls that take less than a microsecond.
const SHORT: u64 = 1 << 10;

/// The two indices of each short value, a byte each and both in one word: one load finds both.
const INDICES: [u16; SHORT as usize] = {
    let mut indices = [0; SHORT as usize];
    let mut value = 0;
    while value < SHORT {
        let (latency, part) = (LATENCY.index(value), PART.index(value));
        assert!(latency <= u8::MAX as usize && part <= u8::MAX as usize);
        indices[value as usize] = u16::from_ne_bytes([latency as u8, part as u8]);
        value += 1;
    }
    indices
};
