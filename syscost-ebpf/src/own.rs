//! Updates of what belongs to one CPU: cells and ledgers.
//!
//! Where no program is preempted, a plain addition is exact: only programs on that CPU write there,
//! those at system calls run in threads and do not interrupt each other, and those at context switches
//! and wake-ups write other counters than they do. Where programs are preempted (`PREEMPTED`), every
//! update is atomic. The verifier keeps one of the two.

use crate::{
    atomic::{self, Raise},
    maps::PREEMPTED,
};

/// Adds `by` to `*place`, wrapping.
///
/// # Safety
/// `place` must be an aligned `u64` in a live map value.
#[inline(always)]
pub(crate) unsafe fn add64(place: *mut u64, by: u64) {
    // SAFETY: as the caller says.
    unsafe {
        if PREEMPTED.load() != 0 {
            atomic::add64(place, by);
        } else {
            place.write_volatile(place.read_volatile().wrapping_add(by));
        }
    }
}

/// Adds `by` to `*place`, wrapping.
///
/// # Safety
/// `place` must be an aligned `u32` in a live map value.
#[inline(always)]
pub(crate) unsafe fn add32(place: *mut u32, by: u32) {
    // SAFETY: as the caller says.
    unsafe {
        if PREEMPTED.load() != 0 {
            atomic::add32(place, by);
        } else {
            place.write_volatile(place.read_volatile().wrapping_add(by));
        }
    }
}

/// Sets `*place` to `value` if that is more.
///
/// # Safety
/// `place` must be an aligned `u64` in a live map value.
#[inline(always)]
pub(crate) unsafe fn raise<R: Raise>(place: *mut u64, value: u64) {
    // SAFETY: as the caller says.
    unsafe {
        if PREEMPTED.load() != 0 {
            R::raise(place, value);
        } else if value > place.read_volatile() {
            place.write_volatile(value);
        }
    }
}
