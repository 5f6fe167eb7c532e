//! The open call in a hash by tid, for kernels without BTF or task storage.

use core::ptr::null;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST, pt_regs},
    btf_maps::{Array, HashMap},
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated::bpf_get_current_task},
    macros::btf_map,
};
use syscost_common::{
    comm::{self, Comm},
    config::{UPID_BYTES, UPID_NAMESPACE},
    cpu_state::CallCache,
    interrupted::{InterruptedCalls, MAX_INTERRUPTED_BY_TID, UNKNOWN_STACK},
    ledger::Counter,
    open_call::{MAX_OPEN_BY_TID, ORIGIN_UNKNOWN, OpenCall},
};

use crate::{
    constant::constant,
    kind,
    maps::{OFFSETS, SCOPE},
    scope,
    this_cpu::{self, ThisCpu},
    threads::Threads,
};

/// The open call of each thread. Key: tid. Written by the thread itself; made at its first call,
/// removed when it dies. Full: counted in `OpenCallsFull`.
#[btf_map]
static OPEN_BY_TID: HashMap<u32, OpenCall, { MAX_OPEN_BY_TID as usize }> = HashMap::new();

/// The interrupted calls of each thread that ever had one. Key: tid. Written by the thread itself;
/// removed when it dies. Full: counted in `OpenCallsFull`.
#[btf_map]
static INTERRUPTED_BY_TID: HashMap<u32, InterruptedCalls, { MAX_INTERRUPTED_BY_TID as usize }> =
    HashMap::new();

/// One entry without any, never written: a new one of the above is larger than a program's stack.
#[btf_map]
static NONE_INTERRUPTED: Array<InterruptedCalls, 1> = Array::new();

/// A thread whose open call is in a hash by tid, for kernels without BTF or task storage.
pub(crate) struct ByTid {
    tid: u32,
    tgid: u32,
    /// Its `task_struct`; null for the running thread.
    task: *const u8,
}

impl ByTid {
    /// The thread behind `task`, which need not be the running one. Takes kernel BTF.
    #[inline(always)]
    pub(crate) fn of(task: *const u8) -> Self {
        Self {
            tid: read(task, constant!(OFFSETS.task_pid)),
            tgid: read(task, constant!(OFFSETS.task_tgid)),
            task,
        }
    }

    #[inline(always)]
    fn task(&self) -> *const u8 {
        if self.task.is_null() { running() } else { self.task }
    }

    /// The cgroup of the unified hierarchy that it is in.
    #[inline(always)]
    fn cgroup(&self) -> *const u8 {
        let set: *const u8 = read(self.task(), constant!(OFFSETS.task_cgroups));
        read(set, constant!(OFFSETS.css_set_cgroup))
    }
}

impl Threads for ByTid {
    const SEES_SWITCHES: bool = false;

    #[inline(always)]
    fn current() -> Self {
        let ids = bpf_get_current_pid_tgid();
        Self { tid: ids as u32, tgid: (ids >> 32) as u32, task: null() }
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
        let leader: *const u8 = read(self.task(), constant!(OFFSETS.task_leader));
        comm::padded(read(leader, constant!(OFFSETS.task_comm)))
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        let cred: *const u8 = read(self.task(), constant!(OFFSETS.task_cred));
        read(cred, constant!(OFFSETS.cred_uid))
    }

    #[inline(always)]
    fn is_in_shown_namespace(&self) -> bool {
        let pid: *const u8 = read(self.task(), constant!(OFFSETS.task_thread_pid));
        let level: u32 = read(pid, constant!(OFFSETS.pid_level));
        if level != constant!(SCOPE.pid_level) {
            return false;
        }
        let at = constant!(OFFSETS.pid_numbers) + level * UPID_BYTES + UPID_NAMESPACE;
        let namespace: *const u8 = read(pid, at);
        let number: u32 = read(namespace, constant!(OFFSETS.pid_ns_number));
        u64::from(number) == constant!(SCOPE.pid_ns_ino)
    }

    #[inline(always)]
    fn ancestor_cgroup_id(&self, level: u32) -> u64 {
        let cgroup = self.cgroup();
        let ancestors = constant!(OFFSETS.cgroup_ancestors) + 8 * level;
        if read::<u32>(cgroup, constant!(OFFSETS.cgroup_level)) < level {
            return 0;
        }
        if constant!(OFFSETS.cgroup_ancestors_are_ids) != 0 {
            return read(cgroup, ancestors);
        }
        let ancestor: *const u8 = read(cgroup, ancestors);
        let node: *const u8 = read(ancestor, constant!(OFFSETS.cgroup_kn));
        read(node, constant!(OFFSETS.kn_id))
    }

    #[inline(always)]
    fn process_is_dead(&self) -> bool {
        let signal: *const u8 = read(self.task(), constant!(OFFSETS.task_signal));
        read::<u32>(signal, constant!(OFFSETS.signal_live)) == 0
    }

    #[inline(always)]
    fn may_be_interrupted(&self) -> bool {
        let flag = constant!(OFFSETS.signal_flag);
        if flag == 0 {
            return true;
        }
        let flags: u32 = read(self.task(), constant!(OFFSETS.task_thread_flags));
        let (works, io_uring) = (constant!(OFFSETS.task_works), constant!(OFFSETS.task_io_uring));
        flags & flag != 0
            || io_uring != 0
                && read::<u64>(self.task(), io_uring) != 0
                && read::<u64>(self.task(), works) != 0
    }

    #[inline(always)]
    fn exit_of_unknown() -> Counter {
        // Where the offsets are not known, nor who was forked, user space enters the threads it
        // finds while attaching; an unknown one is younger.
        if constant!(OFFSETS.task_pid) == 0 { Counter::NewbornExits } else { Counter::OpenAtAttach }
    }

    #[inline(always)]
    fn is_in_compat_call(&self) -> bool {
        let at = constant!(OFFSETS.task_compat);
        at != 0 && kind::is_compat(read(running(), at))
    }

    #[inline(always)]
    fn came_by_a_native_call(_regs: *const pt_regs) -> bool {
        false
    }

    #[inline(always)]
    fn register(regs: *const pt_regs, offset: u32) -> u64 {
        read(regs.cast(), offset)
    }

    #[inline(always)]
    fn signal_stack(&self) -> [u64; 2] {
        if constant!(OFFSETS.task_signal_stack) == 0 {
            return [0, UNKNOWN_STACK];
        }
        [
            read(running(), constant!(OFFSETS.task_signal_stack)),
            read(running(), constant!(OFFSETS.task_signal_stack_bytes)),
        ]
    }

    #[inline(always)]
    fn may_be_known(&self) -> bool {
        true
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

    // Without the hook at context switches nobody sits.
    #[inline(always)]
    fn address(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn cache(_here: ThisCpu) -> Option<&'static mut CallCache> {
        None
    }

    #[inline(always)]
    fn fill(&self, _call: &mut OpenCall, _here: ThisCpu, _regs: u64) {}

    #[inline(always)]
    fn write_back(&self, _call: &mut OpenCall, _here: ThisCpu) {}

    #[inline(always)]
    fn note_scope(_here: ThisCpu, _is_in_scope: bool) {}

    #[inline(always)]
    fn settle(&self, _call: &mut OpenCall) {}

    #[inline(always)]
    fn forget(&self, _call: Option<&mut OpenCall>) {
        // Nothing is kept of a thread that made no call while attached.
        let _ = OPEN_BY_TID.remove(&self.tid);
        let _ = INTERRUPTED_BY_TID.remove(&self.tid);
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

impl Zero for u64 {
    const ZERO: Self = 0;
}

impl Zero for Comm {
    const ZERO: Self = [0; 2];
}

impl Zero for *const u8 {
    const ZERO: Self = null();
}

/// The `sa_handler` that a `struct k_sigaction` begins with.
#[inline(always)]
pub(crate) fn handler_of(action: *const u8) -> u64 {
    read(action, 0)
}

/// The running thread execs and had tid `old_tid` until now: exec from a thread that does not lead
/// its group takes over the leader's tid.
#[inline(always)]
pub(crate) fn on_exec(old_tid: u32) {
    let thread = ByTid::current();
    if thread.tid == old_tid {
        return;
    }
    scope::on_exec(&thread, old_tid);
    let former = ByTid { tid: old_tid, tgid: thread.tgid, task: null() };
    let Some(call) = former.open_call() else { return };
    if let Some(calls) = former.interrupted()
        && INTERRUPTED_BY_TID.insert(&thread.tid, &*calls, BPF_ANY.into()).is_err()
    {
        this_cpu::count(Counter::OpenCallsFull);
    }
    // From one entry to the other: two copies would not fit the stack.
    if OPEN_BY_TID.insert(&thread.tid, &*call, BPF_ANY.into()).is_err() {
        this_cpu::count(Counter::OpenCallsFull);
    }
    former.forget(None);
}
