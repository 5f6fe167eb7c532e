//! What perf's tracepoints hand over: a record with fields at fixed places, and no registers.

use aya_ebpf::{
    EbpfContext, bindings::pt_regs, helpers::generated::bpf_task_pt_regs,
    programs::TracePointContext,
};

use crate::{event::Event, task};

/// `id` of raw_syscalls:sys_enter (include/trace/events/syscalls.h), behind the 8 bytes that all
/// records begin with.
pub(crate) const SYS_ENTER_ID: usize = 8;
/// `ret` of raw_syscalls:sys_exit, behind the same and its `id`.
pub(crate) const SYS_EXIT_RET: usize = 16;

/// `old_pid` of sched:sched_process_exec (include/trace/events/sched.h), behind the same, the place of its
/// `filename` and its `pid`.
pub(crate) const EXEC_OLD_TID: usize = 16;

/// The field `at` bytes into the record.
#[inline(always)]
pub(crate) fn field(ctx: &TracePointContext, at: usize) -> u64 {
    // SAFETY: the verifier checks the place against the longest record there is, and those above
    // are in the records of their tracepoints.
    unsafe { ctx.as_ptr().cast::<u8>().add(at).cast::<u64>().read_volatile() }
}

/// The same of a field of four bytes.
#[inline(always)]
pub(crate) fn field32(ctx: &TracePointContext, at: usize) -> u32 {
    // SAFETY: as above.
    unsafe { ctx.as_ptr().cast::<u8>().add(at).cast::<u32>().read_volatile() }
}

/// An event of perf's tracepoints: the call's number or result. The registers are asked of the kernel.
#[derive(Clone, Copy)]
pub(crate) struct LookedUp(pub(crate) u64);

impl Event for LookedUp {
    const HAS_REGS: bool = false;

    #[inline(always)]
    fn regs(self) -> *const pt_regs {
        // SAFETY: the running task is live.
        unsafe { bpf_task_pt_regs(task::current()) as *const pt_regs }
    }

    #[inline(always)]
    fn word(self) -> u64 {
        self.0
    }
}
