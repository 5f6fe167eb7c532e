//! A thread known by a BTF pointer to its task.

use aya_ebpf::bindings::{pt_regs, task_struct};
use syscost_common::comm::Comm;

use crate::{task, thread::Thread};

/// A thread known by a BTF pointer to its task.
pub(crate) struct BtfThread(pub(crate) *mut task_struct);

impl BtfThread {
    /// The address of its task, as caches and CPU time note it.
    #[inline(always)]
    pub(crate) fn address(&self) -> u64 {
        self.0 as u64
    }
}

impl Thread for BtfThread {
    #[inline(always)]
    fn current() -> Self {
        Self(task::current())
    }

    #[inline(always)]
    fn tid(&self) -> u32 {
        task::tid(self.0)
    }

    #[inline(always)]
    fn tgid(&self) -> u32 {
        task::tgid(self.0)
    }

    #[inline(always)]
    fn process_comm(&self) -> Comm {
        task::process_comm(self.0)
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        task::uid(self.0)
    }

    #[inline(always)]
    fn is_in_shown_namespace(&self) -> bool {
        task::is_in_shown_namespace(self.0)
    }

    #[inline(always)]
    fn ancestor_cgroup_id(&self, level: u32) -> u64 {
        task::ancestor_cgroup_id(self.0, level)
    }

    #[inline(always)]
    fn process_is_dead(&self) -> bool {
        task::process_is_dead(self.0)
    }

    #[inline(always)]
    fn is_in_compat_call(&self) -> bool {
        task::is_in_compat_call(self.0)
    }

    /// `syscall` of x86-64 leaves the instruction pointer in rcx and the flags in r11, which the kernel saves twice
    /// (entry_SYSCALL_64). A 32-bit call has other values there, unless the program means to deceive. The newer way in
    /// (FRED) leaves no copies.
    #[inline(always)]
    fn regs_prove_native(regs: *const pt_regs) -> bool {
        // Offsets in `struct pt_regs` of arch/x86/include/asm/ptrace.h. They are constants of the program, because every
        // call would pay for loading them. On other machines they are other registers, which prove nothing: see
        // `regs_tell_native`.
        const R11: u32 = 48;
        const CX: u32 = 88;
        const IP: u32 = 128;
        const FLAGS: u32 = 144;
        register(regs, IP) == register(regs, CX) && register(regs, FLAGS) == register(regs, R11)
    }

    #[inline(always)]
    fn register(regs: *const pt_regs, offset: u32) -> u64 {
        register(regs, offset)
    }

    #[inline(always)]
    fn signal_stack(&self) -> [u64; 2] {
        task::signal_stack(self.0)
    }

    #[inline(always)]
    fn thread_flags(&self) -> u32 {
        task::thread_flags(self.0)
    }

    #[inline(always)]
    fn has_io_uring_work(&self) -> bool {
        task::has_io_uring_work(self.0)
    }
}

#[inline(always)]
fn register(regs: *const pt_regs, offset: u32) -> u64 {
    // SAFETY: a BTF pointer; the verifier checks the offset against the type.
    unsafe { regs.cast::<u8>().add(offset as usize).cast::<u64>().read_volatile() }
}
