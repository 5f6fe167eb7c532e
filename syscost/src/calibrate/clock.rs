//! The CPU's own counter of time: read in user mode, in a few nanoseconds.

use std::time::Instant;

/// Now, in ticks of the CPU's counter. Instructions before this have ended by then, and later ones have not begun.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: both instructions are in every x86-64, and touch no memory.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

/// The same.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn ticks() -> u64 {
    let now: u64;
    // SAFETY: the kernel lets programs read the counter (CNTKCTL_EL1.EL0VCTEN); touches no memory.
    unsafe {
        std::arch::asm!("isb", "mrs {now}, cntvct_el0", "isb", now = out(reg) now,
            options(nomem, nostack));
    }
    now
}

/// Measures how long a tick is, by the kernel's clock.
pub(super) struct Clock {
    ticks: u64,
    at: Instant,
}

impl Clock {
    /// The longer it runs, the more precise the result.
    pub(super) fn start() -> Self {
        Self { ticks: ticks(), at: Instant::now() }
    }

    /// ns in a tick.
    pub(super) fn ns_per_tick(&self) -> f64 {
        let (ticks, passed) = (ticks() - self.ticks, self.at.elapsed());
        passed.as_nanos() as f64 / (ticks as f64).max(1.0)
    }
}
