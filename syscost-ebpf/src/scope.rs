//! Whose calls are measured. This is asked at events of every task on the host. The kind of scope is a constant, so that
//! the verifier keeps one branch only.

use core::mem::size_of;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST, bpf_pidns_info},
    btf_maps::{Array, HashMap},
    helpers::{
        bpf_get_current_uid_gid,
        generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_ns_current_pid_tgid},
    },
    macros::btf_map,
};
use syscost_common::{
    ledger::Counter,
    scope::{
        CGROUP, CHECKED, COMM, FOLLOWED, GIVEN, HOST, MAX_FORKS, MAX_TARGETS, PROCESS, PROCESSES,
        THREAD, THREADS, TargetState, USER,
    },
};

use crate::{
    atomic,
    constant::constant,
    maps::{MMAPABLE, OFFSETS, SCOPE},
    scope_of, this_cpu,
    thread::Thread,
};

/// The processes, or the threads, that are measured. Key: tgid or tid; value: how a process came in, or a thread's tgid.
/// Filled by user space before calls are seen. A followed child is added when it is forked, and a process or thread that
/// dies is removed. Full: counted in `TargetsFull`.
#[btf_map]
static TARGETS: HashMap<u32, u32, { MAX_TARGETS as usize }> = HashMap::new();

/// The forks of processes that are no targets, on the whole host, while `NOTES_FORKS` is not 0: the parent may be the
/// child of a target, and exit before user space finds it. Key: tgid of the child; value: tgid of the parent. Full:
/// counted in `TargetsFull`.
#[btf_map]
static FORKS: HashMap<u32, u32, { MAX_FORKS as usize }> = HashMap::new();

/// 1 while user space looks for children of targets. Written by user space.
#[btf_map]
static NOTES_FORKS: Array<u32, 1> = Array::new();

/// What has become of the targets. Written where threads begin, exec and end; read by user space.
#[btf_map]
static TARGET_STATE: Array<TargetState, 1, MMAPABLE> = Array::new();

/// Whether a task is either in scope or not, as long as it lives. In other scopes, a call belongs to the scope if its thread
/// was in scope when it entered the call.
#[inline(always)]
pub(crate) fn is_constant() -> bool {
    matches!(constant!(SCOPE.mode), PROCESS | THREAD)
}

/// Whether a thread can leave the scope and come back.
#[inline(always)]
pub(crate) fn can_be_left() -> bool {
    matches!(constant!(SCOPE.mode), COMM | CGROUP | USER)
}

/// Whether a thread that was in scope stays there as long as it lives.
#[inline(always)]
pub(crate) fn keeps_its_threads() -> bool {
    matches!(constant!(SCOPE.mode), PROCESS | PROCESSES | HOST)
}

/// Whether a thread that is not in scope never will be.
#[inline(always)]
pub(crate) fn keeps_others_out() -> bool {
    constant!(SCOPE.mode) == PROCESS
}

/// Whether the running thread is in scope.
#[inline(always)]
pub(crate) fn contains<T: Thread>(current: &T) -> bool {
    match constant!(SCOPE.mode) {
        PROCESS => current.tgid() == constant!(SCOPE.id) && is_still_the_process(current),
        THREAD => is_the_thread(current),
        PROCESSES => is_target(current.tgid()),
        THREADS => is_target_thread(current),
        _ if current.tgid() == constant!(SCOPE.not_tgid) || !in_pid_namespace() => false,
        COMM => current.process_comm() == [constant!(SCOPE.comm[0]), constant!(SCOPE.comm[1])],
        CGROUP => {
            let level = constant!(SCOPE.cgroup_level) as i32;
            // SAFETY: the helper has no preconditions.
            let ancestor = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
            ancestor == constant!(SCOPE.cgroup_id)
        }
        USER => bpf_get_current_uid_gid() as u32 == constant!(SCOPE.id),
        HOST => true,
        _ => false,
    }
}

/// Whether `child`, which the running thread has just forked, is in scope.
#[inline(always)]
pub(crate) fn contains_child<T: Thread>(child: &T) -> bool {
    match constant!(SCOPE.mode) {
        // Threads are chosen one by one.
        THREAD | THREADS => false,
        PROCESSES if constant!(SCOPE.follow) != 0 => {
            let is_followed = is_target(child.tgid()) || follow(child);
            if !is_followed {
                note_fork(child);
            }
            is_followed
        }
        PROCESSES => is_target(child.tgid()),
        // A child has the name of the thread that forked it, and its cgroup may be another one
        // (CLONE_INTO_CGROUP).
        _ => scope_of::contains(child),
    }
}

/// Notes the process that `child` begins, if user space looks for children.
#[inline(always)]
fn note_fork<T: Thread>(child: &T) {
    let is_wanted = NOTES_FORKS.get(0).is_some_and(|wanted| *wanted != 0);
    let (parent, child) = (T::current().tgid(), child.tgid());
    if is_wanted && child != parent && FORKS.insert(&child, &parent, BPF_ANY.into()).is_err() {
        this_cpu::count(Counter::TargetsFull);
    }
}

/// Takes `child` into scope if its parent is in scope.
#[inline(always)]
fn follow<T: Thread>(child: &T) -> bool {
    // SAFETY: the value is read at once, and never written in place.
    let parent = unsafe { TARGETS.get(&T::current().tgid()) };
    if !parent.is_some_and(|by| *by != CHECKED) {
        return false;
    }
    // User space may enter the same child at the same time. Only the first to do so counts it.
    if TARGETS.insert(&child.tgid(), &FOLLOWED, BPF_NOEXIST.into()).is_ok() {
        add(|state| &raw mut state.children, 1);
        return true;
    }
    if is_target(child.tgid()) {
        return true;
    }
    this_cpu::count(Counter::TargetsFull);
    false
}

/// Whether the running thread, which dies, may have been in scope.
#[inline(always)]
pub(crate) fn may_have_contained<T: Thread>(current: &T, has_state: impl FnOnce() -> bool) -> bool {
    match constant!(SCOPE.mode) {
        // Also for the last threads of the process, which end after the process counts as ended.
        PROCESS => current.tgid() == constant!(SCOPE.id),
        // An exec that fails too late to return has changed its tid.
        THREAD => is_the_thread(current) || has_state(),
        _ => true,
    }
}

/// The running thread dies, and may have been in scope.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Thread>(current: &T) {
    // Almost all threads on a host are no targets: nothing to remove.
    match constant!(SCOPE.mode) {
        PROCESS if !knows_process_death() => {
            if current.tid() == constant!(SCOPE.id) {
                set(|state| &raw mut state.leader_ended, 1);
            }
        }
        PROCESS if current.process_is_dead() => set(|state| &raw mut state.id, 0),
        THREAD => set(|state| &raw mut state.id, 0),
        PROCESSES if is_target(current.tgid()) && current.process_is_dead() => {
            forget(current.tgid());
        }
        THREADS if is_target_thread(current) && TARGETS.remove(&current.tid()).is_ok() => {
            add(|state| &raw mut state.given_ended, 1);
        }
        _ => {}
    }
}

#[inline(always)]
fn forget(tgid: u32) {
    // SAFETY: the value is read at once, and never written in place.
    let is_given = unsafe { TARGETS.get(&tgid) }.is_some_and(|by| *by == GIVEN);
    // Two threads that exit at the same time may both find the process dead.
    if TARGETS.remove(&tgid).is_err() {
        return;
    }
    if is_given {
        add(|state| &raw mut state.given_ended, 1);
    } else {
        add(|state| &raw mut state.children, 1_u64.wrapping_neg());
    }
}

/// The running thread `current` execs, and had the tid `old_tid` until now: a thread that does not lead its process takes
/// over the leader's tid. A measured thread stays measured; the leader has ended.
#[inline(always)]
pub(crate) fn on_exec<T: Thread>(current: &T, old_tid: u32) {
    let tid = current.tid();
    if tid == old_tid {
        return;
    }
    match constant!(SCOPE.mode) {
        THREAD if current.tgid() != constant!(SCOPE.id) => {}
        THREAD | THREADS => add(|state| &raw mut state.leaders_replaced, 1),
        _ => {}
    }
    match constant!(SCOPE.mode) {
        PROCESS if !knows_process_death() && tid == constant!(SCOPE.id) => {
            set(|state| &raw mut state.leader_ended, 0);
        }
        THREAD if current.tgid() == constant!(SCOPE.id) && id_now() == old_tid.into() => {
            set(|state| &raw mut state.id, tid.into());
        }
        // The place of the old tid is free for the new one.
        THREADS
            if holds(old_tid, current.tgid())
                && TARGETS.remove(&old_tid).is_ok()
                && TARGETS.insert(&tid, &current.tgid(), BPF_ANY.into()).is_err() =>
        {
            add(|state| &raw mut state.given_ended, 1);
            this_cpu::count(Counter::TargetsFull);
        }
        _ => {}
    }
}

/// Whether the process `tgid` is in the map of targets.
#[inline(always)]
pub(crate) fn is_target(tgid: u32) -> bool {
    TARGETS.get_ptr(&tgid).is_some()
}

/// Whether `thread` is in the map of targets.
#[inline(always)]
pub(crate) fn is_target_thread<T: Thread>(thread: &T) -> bool {
    holds(thread.tid(), thread.tgid())
}

/// Whether the map of targets has `value` for `id`.
#[inline(always)]
fn holds(id: u32, value: u32) -> bool {
    // SAFETY: the value is read at once, and never written in place.
    unsafe { TARGETS.get(&id) }.is_some_and(|held| *held == value)
}

/// Whether `thread` is the one that is measured. During its exec, its old tid may already belong to another thread.
#[inline(always)]
pub(crate) fn is_the_thread<T: Thread>(thread: &T) -> bool {
    thread.tgid() == constant!(SCOPE.id) && id_now() == thread.tid().into()
}

/// Whether the process that is measured has not ended. Afterwards, its PID may belong to another process.
#[inline(always)]
pub(crate) fn the_process_lives() -> bool {
    id_now() != 0
}

/// The same, asked by `current`, a thread with the PID of that process.
#[inline(always)]
fn is_still_the_process<T: Thread>(current: &T) -> bool {
    if !knows_process_death() && current.tid() == current.tgid() && leader_has_ended() {
        // There is a leader again without an exec, so this is a new process. Its first call comes before it has other
        // threads.
        set(|state| &raw mut state.id, 0);
    }
    the_process_lives()
}

/// Whether it is known when the last thread of a process ends; that takes kernel BTF.
#[inline(always)]
fn knows_process_death() -> bool {
    constant!(OFFSETS.task_signal) != 0
}

#[inline(always)]
fn id_now() -> u64 {
    // SAFETY: a field of a live map value.
    TARGET_STATE.get_ptr(0).map_or(0, |state| unsafe { (&raw const (*state).id).read_volatile() })
}

#[inline(always)]
fn leader_has_ended() -> bool {
    TARGET_STATE
        .get_ptr(0)
        // SAFETY: a field of a live map value.
        .is_some_and(|state| unsafe { (&raw const (*state).leader_ended).read_volatile() != 0 })
}

/// Writes a field of the targets' state.
#[inline(always)]
pub(crate) fn set(field: impl FnOnce(&mut TargetState) -> *mut u64, value: u64) {
    if let Some(state) = TARGET_STATE.get_ptr_mut(0) {
        // SAFETY: a field of a live map value.
        unsafe { field(&mut *state).write_volatile(value) };
    }
}

#[inline(always)]
fn add(field: impl FnOnce(&mut TargetState) -> *mut u64, by: u64) {
    if let Some(state) = TARGET_STATE.get_ptr_mut(0) {
        // SAFETY: a field of a live map value.
        unsafe { atomic::add64(field(&mut *state), by) };
    }
}

/// Inside a PID namespace, the host is the tasks of that namespace, without those of namespaces below it.
#[inline(always)]
fn in_pid_namespace() -> bool {
    if constant!(SCOPE.pid_level) == 0 {
        return true;
    }
    let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
    let (dev, ino) = (constant!(SCOPE.pid_ns_dev), constant!(SCOPE.pid_ns_ino));
    // SAFETY: the helper writes a struct of this size to the place given, or fails.
    unsafe {
        bpf_get_ns_current_pid_tgid(dev, ino, &raw mut ids, size_of::<bpf_pidns_info>() as u32) == 0
    }
}
