//! The state of threads in their tasks: task storage, reached by BTF pointers.

use core::ptr::{null, null_mut};

use aya_ebpf::{
    bindings::{
        BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
        task_struct,
    },
    helpers::generated::bpf_task_storage_get,
    macros::btf_map,
};
use syscost_common::{
    cpu_state::CallCache, group::OwnTotals, interrupted::InterruptedCalls, ledger::Counter,
    thread_state::ThreadState,
};

use crate::{
    btf_thread::BtfThread, cache, off_cpu, slices, storage::Storage, task, this_cpu::ThisCpu,
};

/// The state of each thread. Freed with the task, so that a thread that gets the tid later inherits nothing. Written by
/// the thread's own programs and those at its context switches and wake-ups. No memory: counted in `OpenCallsFull`.
#[btf_map]
static STATE_BY_TASK: TaskStorage<ThreadState> = TaskStorage::new();

/// The interrupted calls of each thread that ever had one. Freed with the task. Written by the thread itself. No memory:
/// counted in `OpenCallsFull`.
#[btf_map]
static INTERRUPTED_BY_TASK: TaskStorage<InterruptedCalls> = TaskStorage::new();

/// The totals of each thread that has finished a call, where calls are added up by group; otherwise there are none. Freed
/// with the task. Written by the thread itself; `mark` by the iterator. No memory: counted in `OpenCallsFull`.
#[btf_map]
static TOTALS_BY_TASK: TaskStorage<OwnTotals> = TaskStorage::new();

impl BtfThread {
    /// The thread's own totals, if it has any.
    #[inline(always)]
    pub(crate) fn totals(&self) -> Option<&mut OwnTotals> {
        // SAFETY: as in `state`.
        unsafe { TOTALS_BY_TASK.get(self.0, 0).as_mut() }
    }
}

impl Storage for BtfThread {
    const SEES_SWITCHES: bool = true;

    #[inline(always)]
    fn may_have_state(&self) -> bool {
        task::may_have_storage(self.0)
    }

    #[inline(always)]
    fn state(&self) -> Option<&mut ThreadState> {
        // SAFETY: a live map value. Programs that change it do not interrupt each other. An iterator reads it meanwhile on
        // another CPU; it does so by volatile loads of plain integers, and checks afterwards what it has read.
        unsafe { STATE_BY_TASK.get(self.0, 0).as_mut() }
    }

    #[inline(always)]
    fn state_or_new(&self) -> Option<&mut ThreadState> {
        // SAFETY: as in `state`.
        unsafe { STATE_BY_TASK.get(self.0, BPF_LOCAL_STORAGE_GET_F_CREATE).as_mut() }
    }

    #[inline(always)]
    fn interrupted(&self) -> Option<&mut InterruptedCalls> {
        // SAFETY: as in `state`.
        unsafe { INTERRUPTED_BY_TASK.get(self.0, 0).as_mut() }
    }

    #[inline(always)]
    fn interrupted_or_new(&self) -> Option<&mut InterruptedCalls> {
        // SAFETY: as in `state`.
        unsafe { INTERRUPTED_BY_TASK.get(self.0, BPF_LOCAL_STORAGE_GET_F_CREATE).as_mut() }
    }

    #[inline(always)]
    fn totals_or_new(&self) -> Option<&mut OwnTotals> {
        // SAFETY: as in `state`.
        unsafe { TOTALS_BY_TASK.get(self.0, BPF_LOCAL_STORAGE_GET_F_CREATE).as_mut() }
    }

    #[inline(always)]
    fn exit_without_state() -> Counter {
        // The fork hook, attached first, makes a state for every thread born from then on.
        Counter::OpenAtAttach
    }

    #[inline(always)]
    fn forget(&self) {
        // The kernel frees task storage with the task.
    }

    #[inline(always)]
    fn cache(cpu: ThisCpu) -> Option<&'static mut CallCache> {
        Some(cache::of(cpu))
    }

    #[inline(always)]
    fn is_cached(&self, cache: &CallCache) -> bool {
        cache.task == self.address()
    }

    #[inline(always)]
    fn fill_cache(&self, state: &mut ThreadState, cpu: ThisCpu, regs: u64) {
        cache::fill(self.address(), state, cpu, regs);
    }

    #[inline(always)]
    fn write_back(&self, state: &mut ThreadState) {
        cache::write_back(self.address(), state);
    }

    #[inline(always)]
    fn note_scope(cpu: ThisCpu, is_in_scope: bool) {
        slices::on_enter(cpu, is_in_scope);
    }

    #[inline(always)]
    fn settle(&self, state: &mut ThreadState) {
        off_cpu::settle(self.0, &mut state.off_cpu);
    }
}

/// A BTF map definition of task storage, which aya-ebpf does not have.
#[repr(C)]
struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers only carry types for the loader; nothing ever follows them.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }

    /// The value for `task`, which is live; null if there is none.
    #[inline(always)]
    fn get(&self, task: *mut task_struct, flags: u32) -> *mut T {
        let map = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the map is live, and the verifier checks that the task is one.
        unsafe { bpf_task_storage_get(map, task.cast(), null_mut(), flags.into()).cast() }
    }
}
