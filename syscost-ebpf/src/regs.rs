//! The registers that the running thread came in with: handed over by the tracepoint, or not.

use aya_ebpf::bindings::pt_regs;

/// A way to come by the registers.
pub(crate) trait Regs {
    /// Whether it takes no call of the kernel. Where they lie then stands for the thread: on its kernel
    /// stack, at the same place for as long as it lives.
    const AT_HAND: bool;

    /// Where they are.
    fn get(&self) -> *const pt_regs;
}

/// Handed over by the tracepoint.
pub(crate) struct Given(pub(crate) *const pt_regs);

impl Regs for Given {
    const AT_HAND: bool = true;

    #[inline(always)]
    fn get(&self) -> *const pt_regs {
        self.0
    }
}
