//! Recording: a call into its cell, which belongs to a CPU (`own`).

use aya_ebpf::bindings::BPF_NOEXIST;
use syscost_common::{
    cell::{self, Cell, ERRNOS, OVERFLOW_SLOT, Part, PartOf},
    group::{NONE, OwnTotals},
    hist::{self, BUCKETS, PART_BUCKETS},
    kind::KINDS,
    ledger::Counter,
    off_cpu::OffCpu,
};

use crate::{
    filter,
    maps::{CELLS, FREE_SLOTS, GROUP_BY, NO_SLOT_LEFT, SLOT_OF_KIND, SLOT_OWNERS},
    this_cpu::ThisCpu,
    update::{Plain, Update},
};

/// What is known of a call that a thread has finished.
#[derive(Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) latency_ns: u64,
    /// Whether context switches were seen all along. No `Option`: LLVM leaves what is behind a `None`
    /// undefined, and spills it, which the verifier refuses.
    pub(crate) seen: bool,
    /// How much of the latency the thread was off the CPU, where that was seen.
    pub(crate) off: OffCpu,
    /// How many calls it stands for.
    pub(crate) weight: u32,
    /// See [`errno`].
    pub(crate) errno: u64,
}

/// The negated result of a failed call; 0 of one that did not fail.
#[inline(always)]
pub(crate) fn errno(ret: i64) -> u64 {
    // Only -4095..=-1 are errors (IS_ERR_VALUE, include/linux/err.h).
    let negated = (ret as u64).wrapping_neg();
    if negated.wrapping_sub(1) < 4095 { negated } else { 0 }
}

/// Records a call: its latency, what it consists of, and, if it failed, its errno. `totals`: its
/// thread's, where groups may be asked for. `cell`: finds the one for its kind; not asked for calls that
/// the filter leaves out.
#[inline(always)]
pub(crate) fn call<U: Update>(
    cpu: ThisCpu,
    finished: Finished,
    totals: Option<&mut OwnTotals>,
    cell: impl FnOnce() -> u32,
) {
    let Finished { latency_ns, seen, off, weight, errno } = finished;
    if !filter::wants(errno) {
        return cpu.count_by(Counter::Filtered, weight);
    }
    if let Some(totals) = totals
        && GROUP_BY.load() != NONE
    {
        add_to_totals(totals, &finished);
    }
    // There is a cell for every possible CPU and slot.
    let Some(cell) = CELLS.get_ptr_mut(cell()) else { return };
    // SAFETY: the pointers are to fields of a live map value.
    unsafe {
        // First, as the latency's bucket is last: a reader can tell that it has all of each call.
        U::add64(&raw mut (*cell).begun, weight.into());
        U::raise(&raw mut (*cell).max_ns, latency_ns);
        U::raise(&raw mut (*cell).min_complement_ns, u64::MAX - latency_ns);
    }
    if errno != 0 {
        failed::<U>(cell, errno, weight);
    }
    // The thread never left the CPU: nothing to divide.
    let undivided = seen && off.runq_ns | off.blocked_ns == 0;
    if !seen {
        // By hooks that cannot tell, nothing is missing.
        if cpu.settings().detail != 0 {
            cpu.count_by(Counter::Unparted, weight);
        }
        if weight > 1 {
            cpu.count(Counter::Sampled);
            cpu.count_by(Counter::StoodFor, weight - 1);
        }
        // SAFETY: as above.
        unsafe {
            U::add64(&raw mut (*cell).unparted_sum_ns, latency_ns * u64::from(weight));
        }
    } else if !undivided {
        parts::<U>(cell, latency_ns, off.runq_ns, off.blocked_ns);
    }
    // The buckets last, also because the verifier walks all that follows once for each way through
    // their arithmetic; and the latency's behind all, see `Cell::begun`.
    let (bucket, part_bucket) = hist::indices(latency_ns);
    if undivided {
        part::<U>(cell, PartOf::OnCpu, latency_ns, part_bucket);
    }
    if bucket < BUCKETS {
        // SAFETY: the pointer is to a live map value, and the index was just checked.
        unsafe { U::add32((&raw mut (*cell).buckets).cast::<u32>().add(bucket), weight) };
    }
}

/// Adds a call to its thread's totals, in an order by which a reader on another CPU can tell that it has
/// all of the call or nothing.
#[inline(always)]
fn add_to_totals(own: &mut OwnTotals, finished: &Finished) {
    let Finished { latency_ns, seen, off, weight, errno } = *finished;
    let weight = u64::from(weight);
    let totals = &raw mut own.totals;
    // SAFETY: the pointers are to fields of a live map value, which only this thread writes to.
    unsafe {
        Plain::add64(&raw mut (*totals).calls, weight);
        Plain::add64(&raw mut (*totals).errors, u64::from(errno != 0) * weight);
        Plain::add64(&raw mut (*totals).total_ns, latency_ns * weight);
        if seen {
            let off = off.within(latency_ns);
            let on_cpu_ns = latency_ns - off.runq_ns - off.blocked_ns;
            let parts = (&raw mut (*totals).parts_ns).cast::<u64>();
            Plain::add64(&raw mut (*totals).parted, 1);
            Plain::add64(parts.add(PartOf::OnCpu as usize), on_cpu_ns);
            Plain::add64(parts.add(PartOf::Runq as usize), off.runq_ns);
            Plain::add64(parts.add(PartOf::Blocked as usize), off.blocked_ns);
        }
        Plain::add64(&raw mut own.complete, weight);
    }
}

/// Divides the latency of a call that left the CPU. Out of line: it is rare where calls are many.
#[inline(never)]
fn parts<U: Update>(cell: *mut Cell, latency_ns: u64, runq_ns: u64, blocked_ns: u64) {
    let off = OffCpu { runq_ns, blocked_ns }.within(latency_ns);
    let on_cpu_ns = latency_ns - off.runq_ns - off.blocked_ns;
    part::<U>(cell, PartOf::OnCpu, on_cpu_ns, part_bucket_of(on_cpu_ns));
    if off.runq_ns != 0 {
        part::<U>(cell, PartOf::Runq, off.runq_ns, part_bucket_of(off.runq_ns));
    }
    if off.blocked_ns != 0 {
        part::<U>(cell, PartOf::Blocked, off.blocked_ns, part_bucket_of(off.blocked_ns));
    }
}

#[inline(always)]
fn part_bucket_of(ns: u64) -> usize {
    let (_, part_bucket) = hist::indices(ns);
    part_bucket
}

/// Adds a part of a call to its sum and its bucket.
#[inline(always)]
fn part<U: Update>(cell: *mut Cell, of: PartOf, ns: u64, bucket: usize) {
    // SAFETY: the pointers are to fields of a live map value, and the index is checked.
    unsafe {
        let part: *mut Part = (&raw mut (*cell).parts).cast::<Part>().add(of as usize);
        U::add64(&raw mut (*part).sum_ns, ns);
        if bucket < PART_BUCKETS {
            U::add32((&raw mut (*part).buckets).cast::<u32>().add(bucket), 1);
        }
    }
}

#[inline(always)]
fn failed<U: Update>(cell: *mut Cell, errno: u64, weight: u32) {
    let known = if errno < ERRNOS as u64 { errno as usize } else { 0 };
    // SAFETY: the pointer is to a live map value, and the index was just bounded.
    unsafe { U::add32((&raw mut (*cell).errnos).cast::<u32>().add(known), weight) };
}

/// What the table of slots says of `kind`.
#[inline(always)]
pub(crate) fn slot_entry(kind: u32) -> u32 {
    // There is an entry for every kind.
    // SAFETY: the pointer is to a live map value.
    SLOT_OF_KIND.get_ptr(kind % KINDS).map_or(OVERFLOW_SLOT, |slot| unsafe { slot.read_volatile() })
}

/// The cell for `kind`, see [`cell::index`].
#[inline(always)]
pub(crate) fn cell_of(cpu: ThisCpu, kind: u32, weight: u32) -> u32 {
    cell::index(cpu.number, slot_of(cpu, kind, weight))
}

/// The slot of `kind`, handed out at its first occurrence.
#[inline(always)]
pub(crate) fn slot_of(cpu: ThisCpu, kind: u32, weight: u32) -> u32 {
    let Some(cached) = SLOT_OF_KIND.get_ptr_mut(kind % KINDS) else { return OVERFLOW_SLOT };
    // SAFETY: the pointer is to a live map value; the only value ever stored here is the owner's.
    let slot = unsafe { cached.read_volatile() };
    if slot != OVERFLOW_SLOT {
        return slot;
    }
    let slot = hand_out(kind);
    if slot == OVERFLOW_SLOT {
        cpu.count_by(Counter::SlotsFull, weight);
        return slot;
    }
    // SAFETY: as above.
    unsafe { cached.write_volatile(slot) };
    slot
}

/// Whether it is worth while to ask the queue of free slots, which takes its lock.
#[inline(always)]
fn are_slots_left() -> bool {
    // SAFETY: the pointer is to a live map value.
    NO_SLOT_LEFT.get_ptr(0).is_some_and(|none| unsafe { none.read_volatile() } == 0)
}

#[inline(never)]
fn hand_out(kind: u32) -> u32 {
    // SAFETY: entries are never removed, and written once.
    if let Some(slot) = unsafe { SLOT_OWNERS.get(&kind) } {
        return *slot;
    }
    if !are_slots_left() {
        return OVERFLOW_SLOT;
    }
    let Ok(Some(slot)) = FREE_SLOTS.pop() else {
        if let Some(none) = NO_SLOT_LEFT.get_ptr_mut(0) {
            // SAFETY: the pointer is to a live map value; nothing else is ever stored there.
            unsafe { none.write_volatile(1) };
        }
        return OVERFLOW_SLOT;
    };
    if SLOT_OWNERS.insert(&kind, &slot, BPF_NOEXIST.into()).is_ok() {
        return slot;
    }
    // Another CPU was faster: its slot counts, ours goes back.
    let _ = FREE_SLOTS.push(&slot, 0);
    // SAFETY: as above.
    unsafe { SLOT_OWNERS.get(&kind) }.map_or(OVERFLOW_SLOT, |slot| *slot)
}
