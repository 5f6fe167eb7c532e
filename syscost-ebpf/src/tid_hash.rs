//! The state of threads in hashes by tid, for kernels without BTF or task storage.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    btf_maps::{Array, HashMap},
    macros::btf_map,
};
use syscost_common::{
    cpu_state::CallCache,
    group::OwnTotals,
    interrupted::{InterruptedCalls, MAX_INTERRUPTED_BY_TID},
    ledger::Counter,
    thread_state::{MAX_THREADS_BY_TID, ThreadState},
};

use crate::{
    constant::constant,
    maps::OFFSETS,
    raw_thread::RawThread,
    scope,
    storage::Storage,
    this_cpu::{self, ThisCpu},
    thread::Thread,
};

/// The state of each thread. Key: tid. Written by the thread itself; made at its first call, removed when it dies.
/// Full: counted in `OpenCallsFull`.
#[btf_map]
static STATE_BY_TID: HashMap<u32, ThreadState, { MAX_THREADS_BY_TID as usize }> = HashMap::new();

/// The interrupted calls of each thread that ever had one. Key: tid. Written by the thread itself; removed when it dies.
/// Full: counted in `OpenCallsFull`.
#[btf_map]
static INTERRUPTED_BY_TID: HashMap<u32, InterruptedCalls, { MAX_INTERRUPTED_BY_TID as usize }> =
    HashMap::new();

/// One entry of zeroes, never written: a new value of `INTERRUPTED_BY_TID`. It is larger than a program's stack.
#[btf_map]
static NONE_INTERRUPTED: Array<InterruptedCalls, 1> = Array::new();

impl Storage for RawThread {
    const SEES_SWITCHES: bool = false;

    #[inline(always)]
    fn may_have_state(&self) -> bool {
        true
    }

    #[inline(always)]
    fn state(&self) -> Option<&mut ThreadState> {
        // SAFETY: the entry belongs to this thread alone and lives until it dies.
        STATE_BY_TID.get_ptr_mut(&self.tid).map(|state| unsafe { &mut *state })
    }

    #[inline(always)]
    fn state_or_new(&self) -> Option<&mut ThreadState> {
        if let Some(state) = self.state() {
            return Some(state);
        }
        STATE_BY_TID.insert(&self.tid, &ThreadState::default(), BPF_NOEXIST.into()).ok()?;
        self.state()
    }

    #[inline(always)]
    fn interrupted(&self) -> Option<&mut InterruptedCalls> {
        // SAFETY: as above.
        INTERRUPTED_BY_TID.get_ptr_mut(&self.tid).map(|calls| unsafe { &mut *calls })
    }

    #[inline(always)]
    fn interrupted_or_new(&self) -> Option<&mut InterruptedCalls> {
        if let Some(calls) = self.interrupted() {
            return Some(calls);
        }
        let none = NONE_INTERRUPTED.get_ptr(0)?;
        // SAFETY: a live map value that nothing writes to.
        INTERRUPTED_BY_TID.insert(&self.tid, unsafe { &*none }, BPF_NOEXIST.into()).ok()?;
        self.interrupted()
    }

    #[inline(always)]
    fn totals_or_new(&self) -> Option<&mut OwnTotals> {
        // Groups take BTF hooks.
        None
    }

    #[inline(always)]
    fn exit_without_state() -> Counter {
        // Without offsets, forks are not seen. Then user space enters the threads that exist while attaching; one without
        // a state is younger.
        if constant!(OFFSETS.task_pid) == 0 { Counter::NewbornExits } else { Counter::OpenAtAttach }
    }

    #[inline(always)]
    fn forget(&self) {
        // There is no entry for a thread that made no call while attached.
        let _ = STATE_BY_TID.remove(&self.tid);
        let _ = INTERRUPTED_BY_TID.remove(&self.tid);
    }

    // A cache is emptied at context switches, which these hooks do not see.

    #[inline(always)]
    fn cache(_cpu: ThisCpu) -> Option<&'static mut CallCache> {
        None
    }

    #[inline(always)]
    fn is_cached(&self, _cache: &CallCache) -> bool {
        false
    }

    #[inline(always)]
    fn fill_cache(&self, _state: &mut ThreadState, _cpu: ThisCpu, _regs: u64) {}

    #[inline(always)]
    fn write_back(&self, _state: &mut ThreadState) {}

    #[inline(always)]
    fn note_scope(_cpu: ThisCpu, _is_in_scope: bool) {}

    #[inline(always)]
    fn settle(&self, _state: &mut ThreadState) {}
}

/// The running thread execs and had tid `old_tid` until now: exec from a thread that does not lead its process takes over
/// the leader's tid.
#[inline(always)]
pub(crate) fn on_exec(old_tid: u32) {
    let thread = RawThread::current();
    if thread.tid == old_tid {
        return;
    }
    scope::on_exec(&thread, old_tid);
    let former = RawThread::current_as(old_tid);
    let Some(state) = former.state() else { return };
    if let Some(calls) = former.interrupted()
        && INTERRUPTED_BY_TID.insert(&thread.tid, &*calls, BPF_ANY.into()).is_err()
    {
        this_cpu::count(Counter::OpenCallsFull);
    }
    // From one entry to the other: a copy on the stack would not fit.
    if STATE_BY_TID.insert(&thread.tid, &*state, BPF_ANY.into()).is_err() {
        this_cpu::count(Counter::OpenCallsFull);
    }
    former.forget();
}
