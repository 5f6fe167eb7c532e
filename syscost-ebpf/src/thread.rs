//! The identity of a thread: what scope, groups and the programs at calls ask about it.

use aya_ebpf::bindings::pt_regs;
use syscost_common::comm::Comm;

use crate::{constant::constant, maps::OFFSETS};

/// A thread, whichever way the kernel lets a program read it. Where its state is kept is [`Storage`](crate::storage::Storage).
pub(crate) trait Thread: Sized {
    /// The running thread.
    fn current() -> Self;

    /// Its tid, in the root PID namespace.
    fn tid(&self) -> u32;

    /// Its tgid, in the root PID namespace.
    fn tgid(&self) -> u32;

    /// The name of its process: that of the first thread.
    fn process_comm(&self) -> Comm;

    /// Its real uid, in the root user namespace.
    fn uid(&self) -> u32;

    /// Whether it lives in the PID namespace that [`SCOPE`](crate::maps::SCOPE) names, which is not the root one.
    fn is_in_shown_namespace(&self) -> bool;

    /// The id of the cgroup at depth `level` that it is in or below; 0 if it is not that deep.
    fn ancestor_cgroup_id(&self, level: u32) -> u64;

    /// Whether all threads of its process have begun to exit.
    fn process_is_dead(&self) -> bool;

    /// Whether the call that the thread has just entered is a compat call; `false` also where that is not known.
    fn is_in_compat_call(&self) -> bool;

    /// Whether `regs` prove that the running thread came in by a native call. `false`: they prove nothing.
    fn regs_prove_native(regs: *const pt_regs) -> bool;

    /// The register `offset` bytes into `regs`, which a tracepoint hands over.
    fn register(regs: *const pt_regs, offset: u32) -> u64;

    /// The alternate signal stack of the running thread, see [`syscost_common::interrupted::Interrupted::signal_stack`].
    fn signal_stack(&self) -> [u64; 2];

    /// The `TIF_*` bits of the running thread; valid where [`OFFSETS`] has `signal_flag`.
    fn thread_flags(&self) -> u32;

    /// Whether io_uring has work for the running thread that interrupts its call (`TWA_SIGNAL`); `false` where that is
    /// not known.
    fn has_io_uring_work(&self) -> bool;

    /// Whether the kernel may interrupt a call of the running thread now: a signal waits for it, or work of io_uring's.
    /// True where that is not known.
    #[inline(always)]
    fn may_be_interrupted(&self) -> bool {
        let flag = constant!(OFFSETS.signal_flag);
        flag == 0 || self.thread_flags() & flag != 0 || self.has_io_uring_work()
    }
}
