//! Whose calls are measured. Asked at every event of every task on the host, so that each kind of
//! scope is a branch that the verifier keeps alone.

use aya_ebpf::{
    bindings::{BPF_ANY, bpf_pidns_info},
    btf_maps::HashMap,
    helpers::{
        bpf_get_current_uid_gid,
        generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_ns_current_pid_tgid},
    },
    macros::btf_map,
};
use syscost_common::{
    ledger::Counter,
    scope::{CGROUP, COMM, FOLLOWED, HOST, MAX_TARGETS, PROCESS, PROCESSES, THREAD, THREADS, USER},
};

use crate::{frozen::frozen, ledger, maps::SCOPE, threads::Threads};

/// The processes, or the threads, that are measured. Key: tgid or tid; value: who entered it. Filled by user space before
/// attaching; a followed child is added when it is forked, and what has died is removed. Full:
/// counted in `TargetsFull`.
#[btf_map]
static TARGETS: HashMap<u32, u32, { MAX_TARGETS as usize }> = HashMap::new();

/// Whether a task is in scope or not for as long as it lives. Of others a call belongs to the scope
/// if its thread was in scope when it entered the call.
#[inline(always)]
pub(crate) fn is_constant() -> bool {
    matches!(frozen!(SCOPE.mode), PROCESS | THREAD)
}

/// Whether a thread that was in scope stays there as long as it lives.
#[inline(always)]
pub(crate) fn keeps_its_threads() -> bool {
    matches!(frozen!(SCOPE.mode), PROCESS | PROCESSES | HOST)
}

/// Whether a thread that was not in scope never will be.
#[inline(always)]
pub(crate) fn keeps_strangers_out() -> bool {
    frozen!(SCOPE.mode) == PROCESS
}

/// Whether the running thread is in scope.
#[inline(always)]
pub(crate) fn contains<T: Threads>(current: &T) -> bool {
    match frozen!(SCOPE.mode) {
        PROCESS => current.tgid() == frozen!(SCOPE.id),
        THREAD => current.tid() == frozen!(SCOPE.id),
        PROCESSES => is_target(current.tgid()),
        THREADS => is_target(current.tid()),
        _ if current.tgid() == frozen!(SCOPE.not_tgid) || !in_pid_namespace() => false,
        COMM => current.process_comm() == [frozen!(SCOPE.comm[0]), frozen!(SCOPE.comm[1])],
        CGROUP => {
            let level = frozen!(SCOPE.cgroup_level) as i32;
            // SAFETY: the helper has no preconditions.
            let ancestor = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
            ancestor == frozen!(SCOPE.cgroup_id)
        }
        USER => bpf_get_current_uid_gid() as u32 == frozen!(SCOPE.id),
        HOST => true,
        _ => false,
    }
}

/// Whether `child`, which the running thread has just forked, is in scope.
#[inline(always)]
pub(crate) fn contains_child<T: Threads>(child: &T) -> bool {
    match frozen!(SCOPE.mode) {
        PROCESS => child.tgid() == frozen!(SCOPE.id),
        // Threads are chosen one by one.
        THREAD | THREADS => false,
        PROCESSES => is_target(child.tgid()) || frozen!(SCOPE.follow) != 0 && follow(child),
        // A child begins with the name, the cgroup and the user of its parent.
        _ => contains(&T::current()),
    }
}

/// Takes `child` into scope if its parent is.
#[inline(always)]
fn follow<T: Threads>(child: &T) -> bool {
    if !is_target(T::current().tgid()) {
        return false;
    }
    let added = TARGETS.insert(&child.tgid(), &FOLLOWED, BPF_ANY.into()).is_ok();
    ledger::count(if added { Counter::Children } else { Counter::TargetsFull });
    added
}

/// The running thread dies.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Threads>(current: &T) {
    // Nothing to remove, mostly: almost all threads on a host are no targets.
    match frozen!(SCOPE.mode) {
        PROCESSES if is_target(current.tgid()) && current.process_is_dead() => {
            forget(current.tgid());
        }
        THREADS => {
            let _ = TARGETS.remove(&current.tid());
        }
        _ => {}
    }
}

#[inline(always)]
fn forget(tgid: u32) {
    // SAFETY: the value is read at once, and never written in place.
    let followed = unsafe { TARGETS.get(&tgid) }.is_some_and(|by| *by == FOLLOWED);
    // Two threads that exit at the same time may both find the process dead.
    if TARGETS.remove(&tgid).is_ok() && followed {
        ledger::uncount(Counter::Children);
    }
}

/// Whether this tgid, or tid, is in the map of targets.
#[inline(always)]
pub(crate) fn is_target(id: u32) -> bool {
    TARGETS.get_ptr(&id).is_some()
}

/// Inside a PID namespace the host is what that namespace holds. Namespaces within it have others.
#[inline(always)]
fn in_pid_namespace() -> bool {
    if frozen!(SCOPE.pid_level) == 0 {
        return true;
    }
    let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
    let (dev, ino) = (frozen!(SCOPE.pid_ns_dev), frozen!(SCOPE.pid_ns_ino));
    // SAFETY: the helper writes a struct of this size to the place given, or fails.
    unsafe {
        bpf_get_ns_current_pid_tgid(dev, ino, &raw mut ids, size_of::<bpf_pidns_info>() as u32) == 0
    }
}
