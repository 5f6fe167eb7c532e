//! Updates of memory that belongs to one CPU: cells and ledgers.
//!
//! Where programs are not preempted, a plain addition is exact. Only programs on that CPU write there. Those at system calls
//! run in threads and do not interrupt each other; those at context switches and wake-ups write other counters. Where
//! programs are preempted (`PREEMPTED`), every update is atomic.

use core::marker::PhantomData;

use crate::{
    atomic::{self, Raise},
    maps::PREEMPTED,
};

/// A way to update a word.
pub(crate) trait Update {
    /// Adds `by` to `*place`, wrapping.
    ///
    /// # Safety
    /// `place` must be an aligned `u64` in a live map value.
    unsafe fn add64(place: *mut u64, by: u64);

    /// Adds `by` to `*place`, wrapping.
    ///
    /// # Safety
    /// `place` must be an aligned `u32` in a live map value.
    unsafe fn add32(place: *mut u32, by: u32);

    /// Sets `*place` to `value` if that is more.
    ///
    /// # Safety
    /// `place` must be an aligned `u64` in a live map value.
    unsafe fn raise(place: *mut u64, value: u64);
}

/// Plain updates, for programs that are known not to be preempted.
pub(crate) struct Plain;

impl Update for Plain {
    #[inline(always)]
    unsafe fn add64(place: *mut u64, by: u64) {
        // SAFETY: as the caller says.
        unsafe { place.write_volatile(place.read_volatile().wrapping_add(by)) };
    }

    #[inline(always)]
    unsafe fn add32(place: *mut u32, by: u32) {
        // SAFETY: as the caller says.
        unsafe { place.write_volatile(place.read_volatile().wrapping_add(by)) };
    }

    #[inline(always)]
    unsafe fn raise(place: *mut u64, value: u64) {
        // SAFETY: as the caller says.
        unsafe {
            if value > place.read_volatile() {
                place.write_volatile(value);
            }
        }
    }
}

/// Plain updates or atomic ones, by whether this kernel preempts programs; the verifier keeps one of the two. `R`: the way to
/// raise a maximum.
pub(crate) struct PlainOrAtomic<R>(PhantomData<R>);

impl<R: Raise> Update for PlainOrAtomic<R> {
    #[inline(always)]
    unsafe fn add64(place: *mut u64, by: u64) {
        // SAFETY: as the caller says.
        unsafe {
            if PREEMPTED.load() != 0 { atomic::add64(place, by) } else { Plain::add64(place, by) }
        }
    }

    #[inline(always)]
    unsafe fn add32(place: *mut u32, by: u32) {
        // SAFETY: as the caller says.
        unsafe {
            if PREEMPTED.load() != 0 { atomic::add32(place, by) } else { Plain::add32(place, by) }
        }
    }

    #[inline(always)]
    unsafe fn raise(place: *mut u64, value: u64) {
        // SAFETY: as the caller says.
        unsafe {
            if PREEMPTED.load() != 0 { R::raise(place, value) } else { Plain::raise(place, value) }
        }
    }
}
