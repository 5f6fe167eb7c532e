//! Enter or exit of a call, as a tracepoint hands it over.

use aya_ebpf::{EbpfContext, bindings::pt_regs};

/// An event whose arguments can be read. They are read where they are needed, not earlier: a value that is kept takes a
/// register that the program must save and restore.
pub(crate) trait Event: Copy {
    /// Whether the address of the registers is read without a call of the kernel. Then that address stands for the thread:
    /// the registers are on its kernel stack, at the same place for as long as it lives.
    const HAS_REGS: bool;

    /// The address of the registers that the running thread entered the kernel with.
    fn regs(self) -> *const pt_regs;

    /// At enter the call's number, at exit its result.
    fn word(self) -> u64;
}

/// An event of a raw or a BTF tracepoint, which hands over the address of the registers, and the number or the result.
#[derive(Clone, Copy)]
pub(crate) struct Given(*const u64);

impl Given {
    #[inline(always)]
    pub(crate) fn new(ctx: &impl EbpfContext) -> Self {
        Self(ctx.as_ptr().cast())
    }
}

impl Event for Given {
    const HAS_REGS: bool = true;

    #[inline(always)]
    fn regs(self) -> *const pt_regs {
        // SAFETY: the first of two arguments.
        unsafe { self.0.read_volatile() as *const pt_regs }
    }

    #[inline(always)]
    fn word(self) -> u64 {
        // SAFETY: the second of two arguments.
        unsafe { self.0.add(1).read_volatile() }
    }
}
