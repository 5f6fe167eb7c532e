//! What the probes ask of a thread, however its open call is kept.

use aya_ebpf::bindings::pt_regs;
use syscost_common::{
    comm::Comm, cpu_state::CallCache, interrupted::InterruptedCalls, ledger::Counter,
    open_call::OpenCall,
};

use crate::this_cpu::ThisCpu;

/// A way to identify the running thread and to keep its open call.
pub(crate) trait Threads: Sized {
    /// Whether context switches and wake-ups can be told of: by typed pointers to tasks that do not
    /// run. Elsewhere what a latency consists of is not known.
    const SEES_SWITCHES: bool;

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

    /// Whether it lives in the PID namespace that [`SCOPE`](crate::maps::SCOPE) names, which is not the root
    /// one.
    fn is_in_shown_namespace(&self) -> bool;

    /// The id of the cgroup at depth `level` that it is in or below; 0 if it is not that deep.
    fn ancestor_cgroup_id(&self, level: u32) -> u64;

    /// Whether all threads of its process have begun to exit.
    fn process_is_dead(&self) -> bool;

    /// What an exit means of a thread about which nothing is kept.
    fn exit_of_unknown() -> Counter;

    /// Whether the call that the thread has just entered is a compat call.
    fn is_in_compat_call(&self) -> bool;

    /// Whether `regs` show that the running thread came in by a native call. `false`: they do not tell.
    fn came_by_a_native_call(regs: *const pt_regs) -> bool;

    /// The register `offset` bytes into `regs`, which a tracepoint hands over.
    fn register(regs: *const pt_regs, offset: u32) -> u64;

    /// The alternate signal stack of the running thread, see [`syscost_common::interrupted::Interrupted::signal_stack`].
    fn signal_stack(&self) -> [u64; 2];

    /// Whether the kernel may interrupt a call of the running thread now. True where that is not known.
    fn may_be_interrupted(&self) -> bool;

    /// Whether anything may be kept of the thread; `false` spares the look-up.
    fn may_be_known(&self) -> bool;

    /// The thread's open call, if anything is kept of the thread.
    fn open_call(&self) -> Option<&mut OpenCall>;

    /// The same, made when missing; `None` when there is no room.
    fn open_call_or_new(&self) -> Option<&mut OpenCall>;

    /// The thread's interrupted calls, if it ever had one.
    fn interrupted(&self) -> Option<&mut InterruptedCalls>;

    /// The same, made when missing; `None` when there is no room.
    fn interrupted_or_new(&self) -> Option<&mut InterruptedCalls>;

    /// The address of its task, as seats have it.
    fn address(&self) -> u64;

    /// The seat of this CPU, whoever sits there; `None` where nobody ever does.
    fn cache(cpu: ThisCpu) -> Option<&'static mut CallCache>;

    /// Lets the running thread sit down if it may. `call`: what is kept of it, with no call open.
    /// `regs`: see [`CallCache::regs`]; 0 where they are not at hand.
    fn fill(&self, call: &mut OpenCall, cpu: ThisCpu, regs: u64);

    /// Lets the running thread get up, so that `call` holds all that is kept of it.
    fn write_back(&self, call: &mut OpenCall, cpu: ThisCpu);

    /// The running thread enters a call, in scope or not: its CPU time counts accordingly.
    fn note_scope(cpu: ThisCpu, is_in_scope: bool);

    /// Brings the time off the CPU up to date, for the thread that is running.
    fn settle(&self, call: &mut OpenCall);

    /// Forgets the thread, which dies.
    fn forget(&self, call: Option<&mut OpenCall>);
}
