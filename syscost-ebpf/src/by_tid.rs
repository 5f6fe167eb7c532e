//! The open call in a hash by tid, for kernels without BTF or task storage.

use aya_ebpf::{
    bindings::{BPF_NOEXIST, pt_regs},
    btf_maps::HashMap,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated::bpf_get_current_task},
    macros::btf_map,
};
use syscost_common::{
    comm::{self, Comm},
    cpu::Seat,
    ledger::Counter,
    open_call::{MAX_OPEN_BY_TID, ORIGIN_UNKNOWN, OpenCall},
};

use crate::{
    frozen::frozen,
    kind,
    ledger::{self, Here},
    maps::{MACHINE, OFFSETS},
    threads::Threads,
};

/// The open call of each thread. Key: tid. Written by the thread itself; made at its first call,
/// removed when it dies. Full: counted in `OpenCallsFull`.
#[btf_map]
static OPEN_BY_TID: HashMap<u32, OpenCall, { MAX_OPEN_BY_TID as usize }> = HashMap::new();

/// A thread whose open call is in a hash by tid, for kernels without BTF or task storage.
pub(crate) struct ByTid {
    tid: u32,
    tgid: u32,
}

impl ByTid {
    /// The thread behind `task`, which need not be the running one. Takes kernel BTF.
    #[inline(always)]
    pub(crate) fn of(task: *const u8) -> Self {
        Self {
            tid: read(task, frozen!(OFFSETS.task_pid)),
            tgid: read(task, frozen!(OFFSETS.task_tgid)),
        }
    }
}

impl Threads for ByTid {
    const SEES_SWITCHES: bool = false;

    #[inline(always)]
    fn current() -> Self {
        let ids = bpf_get_current_pid_tgid();
        Self { tid: ids as u32, tgid: (ids >> 32) as u32 }
    }

    #[inline(always)]
    fn tid(&self) -> u32 {
        self.tid
    }

    #[inline(always)]
    fn tgid(&self) -> u32 {
        self.tgid
    }

    #[inline(always)]
    fn process_comm(&self) -> Comm {
        let leader: *const u8 = read(running(), frozen!(OFFSETS.task_leader));
        comm::padded(read(leader, frozen!(OFFSETS.task_comm)))
    }

    #[inline(always)]
    fn process_is_dead(&self) -> bool {
        let signal: *const u8 = read(running(), frozen!(OFFSETS.task_signal));
        read::<u32>(signal, frozen!(OFFSETS.signal_live)) == 0
    }

    #[inline(always)]
    fn exit_of_unknown() -> Counter {
        // Where the offsets are not known, nor who was forked, user space enters the threads it
        // finds while attaching; an unknown one is younger.
        if frozen!(OFFSETS.task_pid) == 0 { Counter::NewbornExits } else { Counter::OpenAtAttach }
    }

    #[inline(always)]
    fn is_in_compat_call(&self) -> bool {
        let at = frozen!(OFFSETS.task_status);
        at != 0 && kind::is_compat(read(running(), at))
    }

    #[inline(always)]
    fn came_by_a_native_call(_regs: *const pt_regs) -> bool {
        false
    }

    #[inline(always)]
    fn stack_pointer(regs: *const pt_regs) -> u64 {
        let offset = frozen!(MACHINE.regs_stack_pointer) as usize;
        // SAFETY: the helper checks the address; a stack pointer of 0 is none.
        unsafe { bpf_probe_read_kernel(regs.cast::<u8>().add(offset).cast::<u64>()) }.unwrap_or(0)
    }

    #[inline(always)]
    fn open_call(&self) -> Option<&mut OpenCall> {
        // SAFETY: the entry belongs to this thread alone and lives until it dies.
        OPEN_BY_TID.get_ptr_mut(&self.tid).map(|call| unsafe { &mut *call })
    }

    #[inline(always)]
    fn open_call_or_new(&self) -> Option<&mut OpenCall> {
        if let Some(call) = self.open_call() {
            return Some(call);
        }
        let fresh = OpenCall { origin: ORIGIN_UNKNOWN, ..OpenCall::default() };
        OPEN_BY_TID.insert(&self.tid, &fresh, BPF_NOEXIST.into()).ok()?;
        self.open_call()
    }

    // Without the hook at context switches nobody sits.
    #[inline(always)]
    fn address(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn seat(_here: Here) -> Option<&'static mut Seat> {
        None
    }

    #[inline(always)]
    fn sit_down(&self, _call: &mut OpenCall, _here: Here, _regs: u64) {}

    #[inline(always)]
    fn get_up(&self, _call: &mut OpenCall, _here: Here) {}

    #[inline(always)]
    fn settle(&self, _call: &mut OpenCall) {}

    #[inline(always)]
    fn forget(&self, _call: Option<&mut OpenCall>) {
        // Nothing is kept of a thread that made no call while attached.
        let _ = OPEN_BY_TID.remove(&self.tid);
    }
}

#[inline(always)]
fn running() -> *const u8 {
    // SAFETY: the helper has no preconditions and always returns the running task.
    unsafe { bpf_get_current_task() as *const u8 }
}

/// What lies `offset` bytes into kernel memory at `from`; zero where that cannot be read.
#[inline(always)]
fn read<V: Zero>(from: *const u8, offset: u32) -> V {
    // SAFETY: the read helper checks the address itself.
    unsafe { bpf_probe_read_kernel(from.wrapping_add(offset as usize).cast::<V>()) }
        .unwrap_or(V::ZERO)
}

trait Zero {
    const ZERO: Self;
}

impl Zero for u32 {
    const ZERO: Self = 0;
}

impl Zero for Comm {
    const ZERO: Self = [0; 2];
}

impl Zero for *const u8 {
    const ZERO: Self = core::ptr::null();
}

/// The running thread execs and had tid `old_tid` until now: exec from a thread that does not lead
/// its group takes over the leader's tid.
#[inline(always)]
pub(crate) fn on_exec(old_tid: u32) {
    let thread = ByTid::current();
    if thread.tid == old_tid {
        return;
    }
    let former = ByTid { tid: old_tid, tgid: thread.tgid };
    let Some(call) = former.open_call().map(|call| *call) else { return };
    match thread.open_call_or_new() {
        Some(place) => *place = call,
        None => ledger::count(Counter::OpenCallsFull),
    }
    former.forget(None);
}
