//! The sink that is always on: adds a call to its cell, which belongs to a CPU and a kind.

use syscost_common::{
    cell::{Cell, ERRNOS, Part, PartOf},
    hist::{self, BUCKETS, PART_BUCKETS},
    ledger::Counter,
    off_cpu::OffCpu,
};

use crate::{finished::Finished, maps::CELLS, this_cpu::ThisCpu, update::Update};

/// Cell number `cell`. There is one for every possible CPU and slot.
#[inline(always)]
pub(crate) fn at(cell: u32) -> Option<*mut Cell> {
    CELLS.get_ptr_mut(cell)
}

/// Adds a call to `cell`: its latency, its parts, and its errno if it failed.
#[inline(always)]
pub(crate) fn add<U: Update>(cpu: ThisCpu, cell: *mut Cell, finished: &Finished) {
    let Finished { latency_ns, seen, off, weight, errno } = *finished;
    // SAFETY: the pointers are to fields of a live map value.
    unsafe {
        // First, as the latency's bucket is last: by that a reader knows that it has all of each call.
        U::add64(&raw mut (*cell).begun, weight.into());
        U::raise(&raw mut (*cell).max_ns, latency_ns);
        U::raise(&raw mut (*cell).min_complement_ns, u64::MAX - latency_ns);
    }
    if errno != 0 {
        add_errno::<U>(cell, errno, weight);
    }
    // The thread never left the CPU: nothing to divide.
    let undivided = seen && off.runq_ns | off.blocked_ns == 0;
    if !seen {
        add_unparted::<U>(cpu, cell, latency_ns, weight);
    } else if undivided {
        // SAFETY: as above.
        unsafe { U::add64(&raw mut (*cell).parts[PartOf::OnCpu as usize].sum_ns, latency_ns) };
    } else {
        add_parts::<U>(cell, latency_ns, off.runq_ns, off.blocked_ns);
    }
    // The last of all, see `Cell::begun`; also because the verifier walks all that follows once for each path through its
    // arithmetic.
    let bucket = hist::bucket_index_by_table(latency_ns);
    if bucket < BUCKETS {
        if !undivided {
            // Its on-CPU time is not where its latency's bucket puts it, see `Part::buckets`.
            let part_bucket = hist::part_index_of_bucket(bucket);
            add_to_bucket::<U>(cell, PartOf::OnCpu, part_bucket, weight.wrapping_neg());
        }
        // SAFETY: the pointer is to a live map value, and the index was just checked.
        unsafe { U::add32((&raw mut (*cell).buckets).cast::<u32>().add(bucket), weight) };
    }
}

#[inline(always)]
fn add_errno<U: Update>(cell: *mut Cell, errno: u64, weight: u32) {
    let known = if errno < ERRNOS as u64 { errno as usize } else { 0 };
    // SAFETY: the pointer is to a live map value, and the index was just bounded.
    unsafe { U::add32((&raw mut (*cell).errnos).cast::<u32>().add(known), weight) };
}

/// Adds the latency of a call whose parts are not known.
#[inline(always)]
fn add_unparted<U: Update>(cpu: ThisCpu, cell: *mut Cell, latency_ns: u64, weight: u32) {
    // Hooks that never see context switches have detail 0: there, nothing is missing.
    if cpu.settings().detail != 0 {
        cpu.count_by(Counter::Unparted, weight);
    }
    if weight > 1 {
        cpu.count(Counter::Sampled);
        cpu.count_by(Counter::StoodFor, weight - 1);
    }
    // SAFETY: the pointer is to a field of a live map value.
    unsafe { U::add64(&raw mut (*cell).unparted_sum_ns, latency_ns * u64::from(weight)) };
}

/// Divides the latency of a call that left the CPU. Out of line: it is rare where calls are many.
#[inline(never)]
fn add_parts<U: Update>(cell: *mut Cell, latency_ns: u64, runq_ns: u64, blocked_ns: u64) {
    let off = OffCpu { runq_ns, blocked_ns }.within(latency_ns);
    let on_cpu_ns = latency_ns - off.runq_ns - off.blocked_ns;
    add_part::<U>(cell, PartOf::OnCpu, on_cpu_ns);
    if off.runq_ns != 0 {
        add_part::<U>(cell, PartOf::Runq, off.runq_ns);
    }
    if off.blocked_ns != 0 {
        add_part::<U>(cell, PartOf::Blocked, off.blocked_ns);
    }
}

/// Adds one part of a call to the part's sum and bucket.
#[inline(always)]
fn add_part<U: Update>(cell: *mut Cell, of: PartOf, ns: u64) {
    // SAFETY: the pointer is to a field of a live map value.
    unsafe { U::add64(&raw mut (*cell).parts[of as usize].sum_ns, ns) };
    add_to_bucket::<U>(cell, of, hist::part_index_by_table(ns), 1);
}

#[inline(always)]
fn add_to_bucket<U: Update>(cell: *mut Cell, of: PartOf, bucket: usize, by: u32) {
    if bucket < PART_BUCKETS {
        // SAFETY: the pointer is to a live map value, and the index was just checked.
        unsafe {
            let part: *mut Part = (&raw mut (*cell).parts).cast::<Part>().add(of as usize);
            U::add32((&raw mut (*part).buckets).cast::<u32>().add(bucket), by);
        }
    }
}
