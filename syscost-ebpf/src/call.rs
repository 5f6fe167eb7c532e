//! What a call is: its kind and its arguments, wherever they are found.

use core::marker::PhantomData;

use aya_ebpf::bindings::pt_regs;
use syscost_common::interrupted::Interrupted;

use crate::{constant::constant, kind, maps::MACHINE, thread::Thread};

/// How many arguments a call has.
pub(crate) const ARGS: usize = 6;

/// A call whose kind and arguments can be read. What is not read costs nothing.
pub(crate) trait Call {
    /// Its kind, see [`syscost_common::kind`].
    fn kind(&self) -> u32;

    /// Its argument number `index`, below [`ARGS`].
    fn arg(&self, index: usize) -> u64;
}

/// A call whose registers are still there. At exit they are the same as at enter, but for the one that holds the result.
pub(crate) struct InRegisters<T, F> {
    kind: u32,
    regs: F,
    thread: PhantomData<T>,
}

impl<T: Thread, F: Fn() -> *const pt_regs> InRegisters<T, F> {
    /// A call of `kind`. `regs`: finds its registers.
    #[inline(always)]
    pub(crate) fn new(kind: u32, regs: F) -> Self {
        Self { kind, regs, thread: PhantomData }
    }
}

impl<T: Thread, F: Fn() -> *const pt_regs> Call for InRegisters<T, F> {
    #[inline(always)]
    fn kind(&self) -> u32 {
        self.kind
    }

    #[inline(always)]
    fn arg(&self, index: usize) -> u64 {
        if kind::is_of_compat_call(self.kind) {
            return T::register((self.regs)(), constant!(MACHINE.regs_compat_args[index])) as u32
                as u64;
        }
        T::register((self.regs)(), constant!(MACHINE.regs_args[index]))
    }
}

/// The registers are those of the handler by now; the arguments were saved.
impl Call for Interrupted {
    #[inline(always)]
    fn kind(&self) -> u32 {
        self.kind
    }

    #[inline(always)]
    fn arg(&self, index: usize) -> u64 {
        self.args[index]
    }
}
