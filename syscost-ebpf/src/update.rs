//! Updates of what belongs to one CPU: cells and ledgers.
//!
//! Where no program is preempted, a plain addition is exact: only programs on that CPU write there,
//! those at system calls run in threads and do not interrupt each other, and those at context switches
//! and wake-ups write other counters than they do. Where programs are preempted (`PREEMPTED`), every
//! update is atomic.

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

/// Where it is known that nobody interrupts.
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

/// As this kernel wants it; the verifier keeps one of the two. `R`: how it keeps a highest value.
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
