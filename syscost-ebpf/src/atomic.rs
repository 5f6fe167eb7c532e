//! The atomic instructions of BPF, which Rust's standard library does not offer on this target.

use core::arch::asm;

/// Adds `by` to `*place`, wrapping.
///
/// # Safety
/// `place` must be an aligned `u64` in a live map value.
#[inline(always)]
pub(crate) unsafe fn add64(place: *mut u64, by: u64) {
    // SAFETY: as the caller says. The instruction changes no register.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) place, in(reg) by, options(nostack)) };
}

/// Adds `by` to `*place`, wrapping.
///
/// # Safety
/// `place` must be an aligned `u32` in a live map value.
#[inline(always)]
pub(crate) unsafe fn add32(place: *mut u32, by: u32) {
    // SAFETY: as above.
    unsafe { asm!("lock *(u32 *)({0} + 0) += {1}", in(reg) place, in(wreg) by, options(nostack)) };
}

/// A way to keep the highest value seen, right where one program preempts another.
pub(crate) trait Raise {
    /// Sets `*place` to `value` if that is more.
    ///
    /// # Safety
    /// `place` must be an aligned `u64` in a live map value.
    unsafe fn raise(place: *mut u64, value: u64);
}

/// By a compare-exchange, which Linux has since 5.12: right even where one program preempts another.
pub(crate) struct ByExchange;

impl Raise for ByExchange {
    #[inline(always)]
    unsafe fn raise(place: *mut u64, value: u64) {
        // SAFETY: as the caller says.
        let mut seen = unsafe { place.read_volatile() };
        // A round is lost only when another program preempts this one right here and raises the
        // place itself, so that a few rounds are plenty; the verifier wants a bound.
        for _ in 0..4 {
            if value <= seen {
                return;
            }
            let expected = seen;
            // SAFETY: as above. The instruction leaves what it found in r0.
            unsafe {
                asm!("r0 = cmpxchg_64({0} + 0, r0, {1})", in(reg) place, in(reg) value,
                    inout("r0") seen, options(nostack));
            }
            if seen == expected {
                return;
            }
        }
    }
}
