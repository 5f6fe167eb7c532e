//! Copies cells while programs write to them, so that a copy has either all words of a call or none.

use std::{
    mem::{offset_of, size_of},
    ptr,
    sync::atomic::{Ordering::Acquire, fence},
};

use anyhow::Result;
use aya::Ebpf;
use syscost_common::{
    cell::{self, Cell},
    hist::BUCKETS,
};

use super::mapped::Mapped;

/// How often to copy a cell again when a call was recorded meanwhile. A copy takes less than a microsecond, as does
/// the time between two calls of a thread that does nothing else.
const TRIES: u32 = 500;

/// The cells of all CPUs.
pub(super) struct Cells {
    cells: Mapped<Cell>,
}

/// A cell as it was at one moment.
pub(super) struct Copied {
    pub(super) cell: Cell,
    /// How many calls may be in it in part, because every try found one being recorded; nearly always 0.
    pub(super) unfinished: u64,
}

impl Cells {
    /// The cells in the maps of `ebpf`, on a host with `cpus` possible CPUs.
    pub(super) fn open(ebpf: &Ebpf, cpus: u32) -> Result<Self> {
        Ok(Self { cells: Mapped::open(ebpf, "CELLS", cell::count(cpus))? })
    }

    /// How many calls are recorded or being recorded in the cell of `cpu` and `slot`.
    pub(super) fn begun(&self, cpu: u32, slot: u32) -> u64 {
        let place = self.cells.place(cell::index(cpu, slot));
        // SAFETY: inside the mapping; an aligned word that the kernel writes at once.
        unsafe { (&raw const (*place).begun).read_volatile() }
    }

    /// Copies the cell of `cpu` and `slot`.
    pub(super) fn read(&self, cpu: u32, slot: u32) -> Copied {
        let place = self.cells.place(cell::index(cpu, slot));
        let mut copied = copy(place);
        for _ in 1..TRIES {
            if copied.unfinished == 0 {
                return copied;
            }
            std::hint::spin_loop();
            copied = copy(place);
        }
        copied
    }
}

/// Copies the words of a cell in reverse order of writing.
fn copy(from: *const Cell) -> Copied {
    const BUCKETS_AT: usize = offset_of!(Cell, buckets);
    const BEHIND: usize = BUCKETS_AT + size_of::<[u32; BUCKETS]>();
    let mut cell = Cell::EMPTY;
    let to = (&raw mut cell).cast::<u8>();
    // SAFETY: `from` is a whole cell inside a mapping, whose values are laid out by the shared declaration,
    // and any bytes are a valid cell (integers only). The kernel writes concurrently, one aligned word at a
    // time; `begun` shows whether the copy mixes two states.
    unsafe {
        let bytes = from.cast::<u8>();
        let begun = (&raw const (*from).begun).read_volatile();
        fence(Acquire);
        ptr::copy_nonoverlapping(bytes.add(BUCKETS_AT), to.add(BUCKETS_AT), BEHIND - BUCKETS_AT);
        fence(Acquire);
        ptr::copy_nonoverlapping(bytes, to, BUCKETS_AT);
        ptr::copy_nonoverlapping(bytes.add(BEHIND), to.add(BEHIND), size_of::<Cell>() - BEHIND);
        fence(Acquire);
        cell.begun = (&raw const (*from).begun).read_volatile();
        let complete = cell.buckets.iter().fold(0, |sum: u32, count| sum.wrapping_add(*count));
        let moved = cell.begun.wrapping_sub(begun);
        Copied { cell, unfinished: moved.max((cell.begun as u32).wrapping_sub(complete).into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release,
    };

    use syscost_common::cell::PartOf;

    use super::*;

    /// Records a call of `ns` as the kernel's programs do.
    unsafe fn record(cell: *mut Cell, ns: u64) {
        // SAFETY: as the caller says; the words are aligned.
        unsafe {
            let part = (&raw mut (*cell).parts[PartOf::OnCpu as usize]).cast::<u8>();
            let sum = AtomicU64::from_ptr(part.cast());
            let known = AtomicU32::from_ptr(part.add(8 + 4 * ns as usize).cast());
            let begun = AtomicU64::from_ptr(&raw mut (*cell).begun);
            let bucket = AtomicU32::from_ptr(&raw mut (*cell).buckets[ns as usize]);
            let errno = AtomicU32::from_ptr(&raw mut (*cell).errnos[ns as usize]);
            begun.store(begun.load(Relaxed) + 1, Release);
            errno.store(errno.load(Relaxed) + 1, Release);
            sum.store(sum.load(Relaxed) + ns, Release);
            known.store(known.load(Relaxed) + 1, Release);
            bucket.store(bucket.load(Relaxed) + 1, Release);
        }
    }

    #[test]
    fn a_copy_has_all_of_a_call_or_says_so() {
        struct Shared(*mut Cell);
        // SAFETY: only ever reached by raw pointers, as memory that is shared with the kernel.
        unsafe impl Sync for Shared {}
        let mut memory = Box::new(Cell::EMPTY);
        let shared = Shared(&raw mut *memory);
        let ended = AtomicBool::new(false);
        let mut whole = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let shared = &shared;
                for call in 0_u64.. {
                    // SAFETY: the memory outlives the scope, and nobody else writes to it.
                    unsafe { record(shared.0, 1 + call % 8) };
                    if ended.load(Relaxed) {
                        break;
                    }
                }
            });
            let mut last = 0;
            while whole < 1_000 {
                let Copied { cell, unfinished } = copy(shared.0);
                assert!(cell.begun >= last);
                last = cell.begun;
                if unfinished > 0 {
                    std::thread::yield_now();
                    continue;
                }
                whole += 1;
                let sum = |counts: &[u32]| counts.iter().map(|n| u64::from(*n)).sum::<u64>();
                let part = &cell.parts[PartOf::OnCpu as usize];
                assert_eq!(sum(&cell.buckets), cell.begun);
                assert_eq!(sum(&part.buckets), cell.begun);
                assert_eq!(sum(&cell.errnos), cell.begun);
                let ns = |(ns, n): (usize, &u32)| ns as u64 * u64::from(*n);
                assert_eq!(cell.buckets.iter().enumerate().map(ns).sum::<u64>(), part.sum_ns);
            }
            ended.store(true, Relaxed);
        });
    }

    #[test]
    fn a_call_that_is_being_recorded_is_told() {
        let mut cell = Cell::EMPTY;
        (cell.begun, cell.buckets[3]) = (7, 5);
        assert_eq!(copy(&raw const cell).unfinished, 2);
        // Buckets wrap, and so do their sums.
        (cell.begun, cell.buckets[3], cell.buckets[4]) = ((1 << 32) + 1, u32::MAX, 2);
        assert_eq!(copy(&raw const cell).unfinished, 0);
    }
}
