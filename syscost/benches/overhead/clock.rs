//! What work is measured by: time, or instructions.

use nix::time::{ClockId, clock_gettime};

/// A counter that only grows.
pub(crate) trait Clock {
    /// Its present value.
    fn now() -> u64;
}

/// ns of CLOCK_MONOTONIC.
pub(crate) struct Nanoseconds;

impl Clock for Nanoseconds {
    fn now() -> u64 {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
        now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
    }
}

/// Instructions that this CPU has executed, in an emulator whose clock ticks once for each (qemu with `-icount
/// shift=0`). Elsewhere the same counter is plain time.
pub(crate) struct Instructions;

#[cfg(target_arch = "x86_64")]
impl Clock for Instructions {
    fn now() -> u64 {
        // SAFETY: every x86-64 processor has this instruction, and Linux lets programs use it.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}
