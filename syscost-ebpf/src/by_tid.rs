//! The open call in a hash by tid, for kernels without BTF or task storage.

use aya_ebpf::{
    bindings::{BPF_NOEXIST, pt_regs},
    btf_maps::HashMap,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated::bpf_get_current_task},
    macros::btf_map,
};
use syscost_common::{
    ledger::Counter,
    open_call::{MAX_OPEN_BY_TID, ORIGIN_UNKNOWN, OpenCall},
};

use crate::{
    frozen::frozen,
    kind,
    maps::{MACHINE, OFFSETS, TARGET_TGID},
    record,
    threads::Threads,
};

/// The open call of each thread. Key: tid. Written by the thread itself; made at its first call,
/// removed when it dies. Full: counted in `OpenCallsFull`.
#[btf_map]
static OPEN_BY_TID: HashMap<u32, OpenCall, { MAX_OPEN_BY_TID as usize }> = HashMap::new();

/// A hash by tid, for kernels without BTF or task storage.
pub(crate) struct ByTid(pub(crate) u32);

impl Threads for ByTid {
    // User space enters the threads it finds while attaching; an unknown one is younger.
    const EXIT_OF_UNKNOWN: Counter = Counter::NewbornExits;

    #[inline(always)]
    fn current() -> Option<Self> {
        let ids = bpf_get_current_pid_tgid();
        ((ids >> 32) as u32 == TARGET_TGID.load()).then_some(Self(ids as u32))
    }

    #[inline(always)]
    fn kind_of(&self, nr: u64) -> u32 {
        kind::of_call(nr as u32, status())
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
        OPEN_BY_TID.get_ptr_mut(&self.0).map(|call| unsafe { &mut *call })
    }

    #[inline(always)]
    fn open_call_or_new(&self) -> Option<&mut OpenCall> {
        if let Some(call) = self.open_call() {
            return Some(call);
        }
        let fresh = OpenCall { origin: ORIGIN_UNKNOWN, ..OpenCall::default() };
        OPEN_BY_TID.insert(&self.0, &fresh, BPF_NOEXIST.into()).ok()?;
        self.open_call()
    }

    #[inline(always)]
    fn forget(&self) {
        // Nothing is kept of a thread that made no call while attached.
        let _ = OPEN_BY_TID.remove(&self.0);
    }
}

/// `thread_info.status` of the running task, 0 where nobody knows its place.
#[inline(always)]
fn status() -> u32 {
    let status_at = frozen!(OFFSETS.task_status) as usize;
    if status_at == 0 {
        return 0;
    }
    // SAFETY: the helper has no preconditions and always returns the running task.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    // SAFETY: the read helper checks the address itself.
    unsafe { bpf_probe_read_kernel(task.wrapping_add(status_at).cast::<u32>()) }.unwrap_or(0)
}

/// The running thread execs and had tid `old_tid` until now: exec from a thread that does not lead
/// its group takes over the leader's tid.
#[inline(always)]
pub(crate) fn on_exec(old_tid: u32) {
    let Some(thread) = ByTid::current() else { return };
    if thread.0 == old_tid {
        return;
    }
    let former = ByTid(old_tid);
    let Some(call) = former.open_call().map(|call| *call) else { return };
    match thread.open_call_or_new() {
        Some(place) => *place = call,
        None => record::count(Counter::OpenCallsFull),
    }
    former.forget();
}
