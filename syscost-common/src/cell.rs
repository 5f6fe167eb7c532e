//! A cell: what one CPU has recorded of one syscall kind.
//!
//! Cells lie in one mmap-able array, indexed by [`index`]. A slot is a column of cells, one per
//! possible CPU, handed to a syscall kind when it first occurs.

use crate::hist::BUCKETS;

/// Slots of a host. Slot 0 is shared by the kinds that found no slot left.
pub const SLOTS: u32 = 160;

/// The slot of the kinds that found none of their own.
pub const OVERFLOW_SLOT: u32 = 0;

/// `errnos[n]` counts returns of `-n`; errors beyond the table are counted in `errnos[0]`.
/// Linux's highest errno is 133 (EHWPOISON, include/uapi/asm-generic/errno.h).
pub const ERRNOS: usize = 136;

/// What one CPU has recorded of one syscall kind since the map was made.
///
/// Each counter is cumulative and only ever written by its CPU. The 32-bit ones wrap: a reader
/// that looks more often than every 2^32 calls of one CPU gets exact counts from wrapping
/// differences. All-zero bytes are the empty cell.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Cell {
    /// Sum of all latencies in ns.
    pub sum_ns: u64,
    /// Longest latency in ns; 0 when there was none.
    pub max_ns: u64,
    /// `u64::MAX` minus the shortest latency in ns; 0 when there was none. Kept as a
    /// complement so that zeroed memory is empty and both extremes only ever grow.
    pub min_complement_ns: u64,
    /// Calls per latency bucket, see [`crate::hist`]. Their sum is the number of calls.
    pub buckets: [u32; BUCKETS],
    /// Failed calls per errno. Their sum is the number of failed calls.
    pub errnos: [u32; ERRNOS],
}

const _: () = assert!(size_of::<Cell>() == 24 + 4 * BUCKETS + 4 * ERRNOS);
const _: () = assert!(size_of::<Cell>() == 2936);

/// The place of (`cpu`, `slot`) in the array of cells.
#[inline(always)]
pub const fn index(cpu: u32, slot: u32) -> u32 {
    cpu * SLOTS + slot
}

/// The number of cells that `cpus` possible CPUs need.
pub const fn count(cpus: u32) -> u32 {
    cpus * SLOTS
}
