//! Calls added up by who made them: in each thread's storage while it lives, in its group's totals
//! once it is dead.

use core::mem::size_of;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, task_struct},
    btf_maps::HashMap,
    macros::btf_map,
};
use syscost_common::{
    cell::PARTS,
    group::{
        BY_CGROUP, BY_COMM, BY_PROCESS, BY_THREAD, Group, Key, MAX_GROUPS, NONE, OTHER,
        ThreadTotals, Totals,
    },
    ledger::Counter,
    open_call::OpenCall,
};

use crate::{
    atomic,
    by_task::ByTask,
    iterator::{Context, ElementContext, write},
    ledger,
    maps::GROUP_BY,
    task,
    threads::Threads,
};

/// The totals of dead threads. Key: their group. User space enters the one for all others. Full:
/// that one takes them in, counted in `GroupsFull`.
#[btf_map]
static GROUPS: HashMap<Key, Group, { MAX_GROUPS as usize }> = HashMap::new();

/// Moves the totals of the dying thread to those of its group.
#[inline(always)]
pub(crate) fn keep(task: *mut task_struct, call: &mut OpenCall) {
    if GROUP_BY.load() == NONE || call.totals.calls == 0 {
        return;
    }
    let key = key_of(task);
    let totals = call.totals;
    // Before they are added elsewhere: a reader that sees the thread twice must not see its calls
    // twice.
    call.totals = Totals::default();
    if let Some(group) = GROUPS.get_ptr_mut(&key) {
        return add(group, &totals);
    }
    let group = Group { totals, comm: task::process_comm(task) };
    if GROUPS.insert(&key, &group, BPF_NOEXIST.into()).is_ok() {
        return;
    }
    // Another thread of the group died at this moment, or there is no room.
    if let Some(group) = GROUPS.get_ptr_mut(&key) {
        return add(group, &totals);
    }
    ledger::count(Counter::GroupsFull);
    if let Some(other) = GROUPS.get_ptr_mut(&OTHER) {
        add(other, &totals);
    }
}

#[inline(always)]
fn add(group: *mut Group, totals: &Totals) {
    // SAFETY: the pointers are to fields of a live map value.
    unsafe {
        atomic::add64(&raw mut (*group).totals.calls, totals.calls);
        atomic::add64(&raw mut (*group).totals.errors, totals.errors);
        atomic::add64(&raw mut (*group).totals.total_ns, totals.total_ns);
        atomic::add64(&raw mut (*group).totals.parted, totals.parted);
        for part in 0..PARTS {
            atomic::add64(&raw mut (*group).totals.parts_ns[part], totals.parts_ns[part]);
        }
    }
}

#[inline(always)]
fn key_of(task: *mut task_struct) -> Key {
    match GROUP_BY.load() {
        BY_PROCESS => [task::shown_ids(task).tgid.into(), task::started_at(task::leader(task))],
        BY_THREAD => [task::shown_ids(task).tid.into(), task::started_at(task)],
        BY_CGROUP => [task::cgroup_id(task), 0],
        BY_COMM => task::process_comm(task),
        _ => OTHER,
    }
}

/// Writes a group that dead threads have left calls in, for user space that reads the iterator.
#[inline(always)]
pub(crate) fn on_element(ctx: *mut ElementContext) {
    // SAFETY: the kernel hands over a context of this layout, which the verifier knows.
    let (meta, key, value) = unsafe { ((*ctx).meta, (*ctx).key, (*ctx).value) };
    if key.is_null() || value.is_null() {
        return;
    }
    // SAFETY: the kernel attaches the program to maps with keys and values as long as what it
    // reads of them.
    unsafe {
        write(meta, key, size_of::<Key>());
        write(meta, value, size_of::<Group>());
    }
}

/// Writes the totals of a thread, for user space that reads the iterator.
#[inline(always)]
pub(crate) fn on_task(ctx: *mut Context) {
    // SAFETY: the kernel hands over a context of this layout, which the verifier knows.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null() {
        return;
    }
    let thread = ByTask(task);
    let Some(call) = thread.open_call() else { return };
    if call.totals.calls == 0 {
        return;
    }
    let record = ThreadTotals {
        ids: task::shown_ids(task),
        started_at: task::started_at(task),
        process_started_at: task::started_at(task::leader(task)),
        cgroup_id: task::cgroup_id(task),
        totals: call.totals,
    };
    // SAFETY: plain integers without padding.
    unsafe { write(meta, (&raw const record).cast(), size_of::<ThreadTotals>()) };
}
