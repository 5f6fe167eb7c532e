//! The atomic instructions that return the old value. They exist since Linux 5.12, which BTF hooks need anyway.

use core::arch::asm;

/// Adds `by` to `*place`, wrapping, and returns the old value. Orders all memory
/// accesses before it against all those after it.
///
/// # Safety
/// `place` must be an aligned `u64` in a live map value.
#[inline(always)]
pub(crate) unsafe fn fetch_add64(place: *mut u64, by: u64) -> u64 {
    let mut value = by;
    // SAFETY: as above. The instruction leaves what it found in the register.
    unsafe {
        asm!("{1} = atomic_fetch_add((u64 *)({0} + 0), {1})", in(reg) place, inout(reg) value,
            options(nostack));
    }
    value
}

/// Sets `*place` to `value` and returns the old value; otherwise as [`fetch_add64`].
///
/// # Safety
/// `place` must be an aligned `u64` in a live map value.
#[inline(always)]
pub(crate) unsafe fn swap64(place: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: as above. The instruction leaves what it found in the register.
    unsafe {
        asm!("{1} = xchg_64({0} + 0, {1})", in(reg) place, inout(reg) value, options(nostack));
    }
    value
}
