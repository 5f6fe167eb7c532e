//! What the probes ask of a thread, however its open call is kept.

use aya_ebpf::bindings::pt_regs;
use syscost_common::{
    comm::Comm,
    ledger::Counter,
    open_call::{OpenCall, Seat},
};

use crate::ledger::Here;

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

    /// Whether all threads of its process have begun to exit.
    fn process_is_dead(&self) -> bool;

    /// What an exit means of a thread about which nothing is kept.
    fn exit_of_unknown() -> Counter;

    /// The kind of the call `nr` that the thread has just entered.
    fn kind_of(&self, nr: u64) -> u32;

    /// The kind of the call `nr` that the running thread has just entered, by what `regs` say as far as
    /// they do: takes no call of the kernel, as a rule.
    fn kind_by_registers(regs: *const pt_regs, nr: u64) -> u32;

    /// The user stack pointer in `regs`, which a tracepoint hands over.
    fn stack_pointer(regs: *const pt_regs) -> u64;

    /// The thread's open call, if anything is kept of the thread.
    fn open_call(&self) -> Option<&mut OpenCall>;

    /// The same, made when missing; `None` when there is no room.
    fn open_call_or_new(&self) -> Option<&mut OpenCall>;

    /// The address of its task, as seats have it.
    fn address(&self) -> u64;

    /// The seat of `cpu`, where the program runs, whoever sits there; `None` where nobody may.
    fn seat(cpu: u32) -> Option<&'static mut Seat>;

    /// Lets the running thread sit down if it may. `call`: what is kept of it, with no call open.
    /// `regs`: see [`Seat::regs`].
    fn sit_down(&self, call: &mut OpenCall, here: Here, regs: u64);

    /// Lets the running thread get up, so that `call` holds all that is kept of it.
    fn get_up(&self, call: &mut OpenCall, here: Here);

    /// Brings the time off the CPU up to date, for the thread that is running.
    fn settle(&self, call: &mut OpenCall);

    /// Forgets the thread, which dies.
    fn forget(&self, call: Option<&mut OpenCall>);
}
