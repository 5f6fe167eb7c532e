//! The registers that the running thread came in with: handed over by the tracepoint, or not.

use aya_ebpf::bindings::pt_regs;

/// A way to come by the registers.
pub(crate) trait Regs {
    /// Where they are.
    fn get(&self) -> *const pt_regs;

    /// The same place as a number, if it takes no call of the kernel to know it; 0 otherwise. It is on
    /// the kernel stack of the thread, so that it stands for the thread as long as that lives.
    fn at_hand(&self) -> u64;
}

/// Handed over by the tracepoint.
pub(crate) struct Given(pub(crate) *const pt_regs);

impl Regs for Given {
    #[inline(always)]
    fn get(&self) -> *const pt_regs {
        self.0
    }

    #[inline(always)]
    fn at_hand(&self) -> u64 {
        self.0 as u64
    }
}
