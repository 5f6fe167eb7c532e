//! Recording: a call into its cell, an event into the ledger.
//!
//! Cells and ledgers belong to a CPU, but on recent kernels a program can be preempted by another
//! one on the same CPU, so that every update is atomic.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_smp_processor_id};
use syscost_common::{
    cell::{self, Cell, ERRNOS, OVERFLOW_SLOT},
    group::NONE,
    hist::{BUCKETS, bucket_index},
    kind::KINDS,
    ledger::Counter,
    open_call::OpenCall,
};

use crate::atomic::{self, Raise};
use crate::{
    filter,
    maps::{CELLS, FREE_SLOTS, GROUP_BY, LEDGER, SLOT_OF_KIND, SLOT_OWNERS},
};

/// Adds 1 to `counter`.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    add(counter, 1);
}

/// Takes 1 from `counter`: what it counted turned out to be something else.
#[inline(always)]
pub(crate) fn uncount(counter: Counter) {
    // Over all CPUs the sum is right, though this CPU's share of it may wrap below zero.
    add(counter, u64::MAX);
}

#[inline(always)]
fn add(counter: Counter, by: u64) {
    // The ledger has an entry for every possible CPU, so that this look-up does not fail.
    let Some(ledger) = LEDGER.get_ptr_mut(cpu()) else { return };
    // SAFETY: the pointer is to a live map value; the counter's index is below their number.
    unsafe { atomic::add64(&raw mut (*ledger).counters[counter as usize], by) };
}

/// Records a call of `kind` that a thread has finished: its latency and, if it failed, its errno.
#[inline(always)]
pub(crate) fn call<R: Raise>(thread: &mut OpenCall, kind: u32, latency_ns: u64, ret: i64) {
    // Only -4095..=-1 are errors (IS_ERR_VALUE, include/linux/err.h).
    let negated = (ret as u64).wrapping_neg();
    let errno = if negated.wrapping_sub(1) < 4095 { negated } else { 0 };
    if !filter::wants(errno) {
        return count(Counter::Filtered);
    }
    count(Counter::Matched);
    if GROUP_BY.load() != NONE {
        thread.totals.calls += 1;
        thread.totals.errors += u64::from(errno != 0);
        thread.totals.total_ns += latency_ns;
    }
    let slot = slot_of(kind);
    // As above: there is a cell for every possible CPU and slot.
    let Some(cell) = CELLS.get_ptr_mut(cell::index(cpu(), slot)) else { return };
    // The bucket last: a reader that sees the call counted sees the rest of it as well.
    // SAFETY: the pointers are to fields of a live map value.
    unsafe {
        atomic::add64(&raw mut (*cell).sum_ns, latency_ns);
        R::raise(&raw mut (*cell).max_ns, latency_ns);
        R::raise(&raw mut (*cell).min_complement_ns, u64::MAX - latency_ns);
    }
    let bucket = bucket_index(latency_ns);
    if bucket < BUCKETS {
        // SAFETY: the pointer is to a live map value, and the index was just checked.
        unsafe { atomic::add32((&raw mut (*cell).buckets).cast::<u32>().add(bucket), 1) };
    }
    if errno != 0 {
        failed(cell, errno);
    }
}

#[inline(always)]
fn failed(cell: *mut Cell, errno: u64) {
    let known = if errno < ERRNOS as u64 { errno as usize } else { 0 };
    // SAFETY: the pointer is to a live map value, and the index was just bounded.
    unsafe { atomic::add32((&raw mut (*cell).errnos).cast::<u32>().add(known), 1) };
}

/// What the table of slots says of `kind`.
#[inline(always)]
pub(crate) fn slot_entry(kind: u32) -> u32 {
    // There is an entry for every kind.
    // SAFETY: the pointer is to a live map value.
    SLOT_OF_KIND.get_ptr(kind % KINDS).map_or(OVERFLOW_SLOT, |slot| unsafe { slot.read_volatile() })
}

/// The slot of `kind`, handed out at its first occurrence.
#[inline(always)]
fn slot_of(kind: u32) -> u32 {
    let Some(cached) = SLOT_OF_KIND.get_ptr_mut(kind % KINDS) else { return OVERFLOW_SLOT };
    // SAFETY: the pointer is to a live map value; the only value ever stored here is the owner's.
    let slot = unsafe { cached.read_volatile() };
    if slot != OVERFLOW_SLOT {
        return slot;
    }
    let slot = hand_out(kind);
    if slot == OVERFLOW_SLOT {
        count(Counter::SlotsFull);
    }
    // SAFETY: as above.
    unsafe { cached.write_volatile(slot) };
    slot
}

#[inline(never)]
fn hand_out(kind: u32) -> u32 {
    // SAFETY: entries are never removed, and written once.
    if let Some(slot) = unsafe { SLOT_OWNERS.get(&kind) } {
        return *slot;
    }
    let Ok(Some(slot)) = FREE_SLOTS.pop() else { return OVERFLOW_SLOT };
    if SLOT_OWNERS.insert(&kind, &slot, BPF_NOEXIST.into()).is_ok() {
        return slot;
    }
    // Another CPU was faster: its slot counts, ours goes back.
    let _ = FREE_SLOTS.push(&slot, 0);
    // SAFETY: as above.
    unsafe { SLOT_OWNERS.get(&kind) }.map_or(OVERFLOW_SLOT, |slot| *slot)
}

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}
