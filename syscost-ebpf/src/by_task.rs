//! The open call in the task itself: task storage, reached by BTF pointers.

use core::ptr::{null, null_mut};

use aya_ebpf::{
    bindings::{
        BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
        pt_regs, task_struct,
    },
    helpers::generated::bpf_task_storage_get,
    macros::btf_map,
};
use syscost_common::{
    comm::Comm, cpu_state::CallCache, interrupted::InterruptedCalls, ledger::Counter,
    open_call::OpenCall,
};

use crate::{cache, cpu_time, groups, sched, task, this_cpu::ThisCpu, threads::Threads};

/// The open call of each thread. Freed with the task, so that a reused tid inherits nothing.
/// Written by the thread itself. No memory: counted in `OpenCallsFull`.
#[btf_map]
static OPEN_BY_TASK: TaskStorage<OpenCall> = TaskStorage::new();

/// The interrupted calls of each thread that ever had one. Freed with the task. Written by the thread
/// itself. No memory: counted in `OpenCallsFull`.
#[btf_map]
static INTERRUPTED_BY_TASK: TaskStorage<InterruptedCalls> = TaskStorage::new();

/// Task storage, reached by a BTF pointer.
pub(crate) struct ByTask(pub(crate) *mut task_struct);

impl ByTask {
    /// Whether the thread exits, and was in scope when it began to.
    #[inline(always)]
    pub(crate) fn exits_in_scope(&self) -> bool {
        task::may_have_storage(self.0)
            && task::is_exiting(self.0)
            && self.get(0).is_some_and(|call| call.exits_in_scope != 0)
    }

    #[inline(always)]
    fn get(&self, flags: u32) -> Option<&mut OpenCall> {
        // SAFETY: the value belongs to this task alone, whose programs do not interrupt each other.
        unsafe { OPEN_BY_TASK.get(self.0, flags).as_mut() }
    }
}

impl Threads for ByTask {
    const SEES_SWITCHES: bool = true;

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
    fn exit_of_unknown() -> Counter {
        // The fork hook, attached first, makes storage for every thread born from then on.
        Counter::OpenAtAttach
    }

    #[inline(always)]
    fn is_in_compat_call(&self) -> bool {
        task::is_in_compat_call(self.0)
    }

    #[inline(always)]
    fn came_by_a_native_call(regs: *const pt_regs) -> bool {
        bear_the_native_mark(regs)
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
    fn may_be_interrupted(&self) -> bool {
        task::may_be_interrupted(self.0)
    }

    #[inline(always)]
    fn may_be_known(&self) -> bool {
        task::may_have_storage(self.0)
    }

    #[inline(always)]
    fn open_call(&self) -> Option<&mut OpenCall> {
        self.get(0)
    }

    #[inline(always)]
    fn open_call_or_new(&self) -> Option<&mut OpenCall> {
        self.get(BPF_LOCAL_STORAGE_GET_F_CREATE)
    }

    #[inline(always)]
    fn interrupted(&self) -> Option<&mut InterruptedCalls> {
        // SAFETY: as in `open_call`.
        unsafe { INTERRUPTED_BY_TASK.get(self.0, 0).as_mut() }
    }

    #[inline(always)]
    fn interrupted_or_new(&self) -> Option<&mut InterruptedCalls> {
        // SAFETY: as in `open_call`.
        unsafe { INTERRUPTED_BY_TASK.get(self.0, BPF_LOCAL_STORAGE_GET_F_CREATE).as_mut() }
    }

    #[inline(always)]
    fn address(&self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn cache(cpu: ThisCpu) -> Option<&'static mut CallCache> {
        Some(cache::of(cpu))
    }

    #[inline(always)]
    fn fill(&self, call: &mut OpenCall, cpu: ThisCpu, regs: u64) {
        cache::fill(self, call, cpu, regs);
    }

    #[inline(always)]
    fn write_back(&self, call: &mut OpenCall, cpu: ThisCpu) {
        cache::write_back(self, call, cpu.number);
    }

    #[inline(always)]
    fn note_scope(cpu: ThisCpu, is_in_scope: bool) {
        if cpu_time::changes() {
            cpu_time::on_enter(cpu, is_in_scope);
        }
    }

    #[inline(always)]
    fn settle(&self, call: &mut OpenCall) {
        sched::settle(self, call);
    }

    #[inline(always)]
    fn forget(&self, call: Option<&mut OpenCall>) {
        // The storage itself is freed with the task.
        if let Some(call) = call {
            groups::keep(self.0, call);
        }
    }
}

/// Whether these registers show that their call is a native one. `syscall` of x86-64 leaves the
/// instruction pointer in rcx and the flags in r11, which the kernel saves twice (entry_SYSCALL_64); a
/// 32-bit call has whatever the program had there. Newer ways in (FRED) leave no copies.
#[inline(always)]
fn bear_the_native_mark(regs: *const pt_regs) -> bool {
    // Offsets in `struct pt_regs` of arch/x86/include/asm/ptrace.h. Constants, because to load them is
    // something that every call would pay for. Of other machines they are other registers, which tell
    // nothing: see `regs_tell_native`.
    const R11: u32 = 48;
    const CX: u32 = 88;
    const IP: u32 = 128;
    const FLAGS: u32 = 144;
    register(regs, IP) == register(regs, CX) && register(regs, FLAGS) == register(regs, R11)
}

#[inline(always)]
fn register(regs: *const pt_regs, offset: u32) -> u64 {
    // SAFETY: a BTF pointer; the verifier checks the offset against the type.
    unsafe { regs.cast::<u8>().add(offset as usize).cast::<u64>().read_volatile() }
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

    /// The value kept with `task`, which is live; null if there is none.
    #[inline(always)]
    fn get(&self, task: *mut task_struct, flags: u32) -> *mut T {
        let map = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the map is live, and the verifier checks that the task is one.
        unsafe { bpf_task_storage_get(map, task.cast(), null_mut(), flags.into()).cast() }
    }
}
