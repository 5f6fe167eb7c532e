//! What is known of a call that has finished.

use syscost_common::off_cpu::OffCpu;

/// A finished call, as every sink gets it.
#[derive(Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) latency_ns: u64,
    /// Whether context switches were seen all along. No `Option` around `off`: LLVM leaves the value of a `None`
    /// undefined and may spill it, which the verifier refuses.
    pub(crate) seen: bool,
    /// How much of the latency the thread was off the CPU; valid if `seen`.
    pub(crate) off: OffCpu,
    /// How many calls it stands for.
    pub(crate) weight: u32,
    /// Its errno; 0 if it did not fail.
    pub(crate) errno: u64,
}

impl Finished {
    /// A call that stands for itself and never left the CPU.
    #[inline(always)]
    pub(crate) fn undivided(latency_ns: u64, errno: u64) -> Self {
        Self { latency_ns, seen: true, off: OffCpu::NONE, weight: 1, errno }
    }
}
