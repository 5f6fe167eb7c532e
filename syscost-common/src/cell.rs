//! A cell: the calls of one syscall kind that one CPU has recorded.
//!
//! Cells lie in one mmap-able array, indexed by [`index`]. A slot is a column of cells, one per
//! possible CPU, handed to a syscall kind when it first occurs.

use crate::hist::{BUCKETS, PART_BUCKETS};

/// Slots of a host. Slot 0 is shared by the kinds that found no slot left.
pub const SLOTS: u32 = 156;

/// The slot of the kinds that found none of their own.
pub const OVERFLOW_SLOT: u32 = 0;

/// `errnos[n]` counts returns of `-n`; errors beyond the table are counted in `errnos[0]`.
/// Linux's highest errno is 133 (EHWPOISON, include/uapi/asm-generic/errno.h).
pub const ERRNOS: usize = 136;

/// The calls of one syscall kind that one CPU has recorded since the map was made.
///
/// Each counter is cumulative and only ever written by its CPU. The 32-bit ones wrap: a reader
/// that looks more often than every 2^32 calls of one CPU gets exact counts from wrapping
/// differences. All-zero bytes are the empty cell.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Cell {
    /// Calls whose recording has begun. Of each call, this is written first and its bucket last. So a copy has all of each
    /// call if its buckets add up to this (modulo 2^32), and this has not changed while it was made. It has 64 bits and does
    /// not wrap.
    pub begun: u64,
    /// Sum of the latencies, ns, of the calls whose parts are not known. The others' is the sum of
    /// their parts.
    pub unparted_sum_ns: u64,
    /// Longest latency in ns; 0 when there was none.
    pub max_ns: u64,
    /// `u64::MAX` minus the shortest latency in ns; 0 when there was none. Kept as a
    /// complement so that zeroed memory is empty and both extremes only ever grow.
    pub min_complement_ns: u64,
    /// The parts of the latencies, indexed by [`PartOf`].
    pub parts: [Part; PARTS],
    /// Calls per latency bucket, see [`crate::hist`]. Their sum is the number of calls.
    pub buckets: [u32; BUCKETS],
    /// Failed calls per errno. Their sum is the number of failed calls.
    pub errnos: [u32; ERRNOS],
}

impl Cell {
    /// Without a call.
    pub const EMPTY: Self = Self {
        begun: 0,
        unparted_sum_ns: 0,
        max_ns: 0,
        min_complement_ns: 0,
        parts: [Part { sum_ns: 0, buckets: [0; PART_BUCKETS] }; PARTS],
        buckets: [0; BUCKETS],
        errnos: [0; ERRNOS],
    };
}

const _: () = assert!(size_of::<Cell>() == 32 + 3 * 568 + 4 * BUCKETS + 4 * ERRNOS);
const _: () = assert!(size_of::<Cell>() == 4648);

/// Which part of a latency; its value is the index into [`Cell::parts`]. The three add up to the
/// latency of each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum PartOf {
    /// The thread was on a CPU.
    OnCpu = 0,
    /// The thread could run, and waited for a CPU.
    Runq = 1,
    /// The thread waited for something else.
    Blocked = 2,
}

/// The number of parts.
pub const PARTS: usize = 3;

/// One part of the latencies of a cell's calls.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Part {
    /// Sum over the calls, ns.
    pub sum_ns: u64,
    /// Calls per bucket, see [`crate::hist::PART`]. Run queue and blocked: only calls that spent time there. On-CPU: all calls
    /// whose parts are known, as the difference (modulo 2^32) to what [`Cell::buckets`] say of all calls' latencies, in these
    /// coarser buckets. So a call that never left the CPU, as most calls, is in its latency's bucket only.
    pub buckets: [u32; PART_BUCKETS],
}

const _: () = assert!(size_of::<Part>() == 568);

/// The place of (`cpu`, `slot`) in the array of cells.
#[inline(always)]
pub const fn index(cpu: u32, slot: u32) -> u32 {
    cpu * SLOTS + slot
}

/// The number of cells that `cpus` possible CPUs need.
pub const fn count(cpus: u32) -> u32 {
    cpus * SLOTS
}
