//! The registers that the running thread entered the kernel with: handed over by the tracepoint, or not.

use aya_ebpf::bindings::pt_regs;

/// A way to find the registers.
pub(crate) trait Regs: Copy {
    /// Whether that takes no call of the kernel. Then their address stands for the thread: they are on its kernel stack, at
    /// the same place for as long as it lives.
    const AT_HAND: bool;

    /// Their address.
    fn get(&self) -> *const pt_regs;
}

/// Handed over by the tracepoint.
#[derive(Clone, Copy)]
pub(crate) struct Given(pub(crate) *const pt_regs);

impl Regs for Given {
    const AT_HAND: bool = true;

    #[inline(always)]
    fn get(&self) -> *const pt_regs {
        self.0
    }
}
