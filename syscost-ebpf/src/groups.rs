//! Calls added up by who made them: in each thread's storage while it lives, in its group's totals
//! once it is dead.

use core::mem::size_of;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, task_struct},
    btf_maps::{Array, HashMap, Queue},
    macros::btf_map,
};
use syscost_common::{
    cell::PARTS,
    group::{
        BY_CGROUP, BY_COMM, BY_PROCESS, BY_THREAD, Group, Key, MAX_GROUPS, NONE, OTHER,
        OTHER_INDEX, ThreadTotals, Totals,
    },
    ledger::Counter,
    open_call::OpenCall,
};

use crate::{
    atomic,
    by_task::ByTask,
    iterator::{Context, write},
    ledger,
    maps::{GROUP_BY, MMAPABLE},
    task,
    threads::Threads,
};

/// The totals of dead threads. Key: a number that `GROUP_OF_KEY` hands out. Read by user space from
/// memory. The first is for all others.
#[btf_map]
static GROUPS: Array<Group, { MAX_GROUPS as usize }, MMAPABLE> = Array::new();

/// Where among `GROUPS` the group of a key is. Entries are never removed. As large as they are, so that
/// it cannot fill up before `FREE_GROUPS` runs empty.
#[btf_map]
static GROUP_OF_KEY: HashMap<Key, u32, { MAX_GROUPS as usize }> = HashMap::new();

/// Groups not handed out yet; user space puts all but that of all others in. When it runs empty, that one
/// takes further ones in, counted in `GroupsFull`.
#[btf_map]
static FREE_GROUPS: Queue<u32, { MAX_GROUPS as usize }> = Queue::new();

/// Moves the totals of the dying thread to those of its group.
#[inline(always)]
pub(crate) fn keep(task: *mut task_struct, call: &mut OpenCall) {
    if GROUP_BY.load() == NONE || call.totals.calls == 0 {
        return;
    }
    let totals = call.totals;
    // Before they are added elsewhere: a reader that sees the thread twice must not see its calls
    // twice.
    call.totals = Totals::default();
    let index = index_of(&key_of(task), task);
    if index == OTHER_INDEX {
        ledger::count(Counter::GroupsFull);
    }
    if let Some(group) = GROUPS.get_ptr_mut(index) {
        add(group, &totals);
    }
}

/// Where the group `key` of `task` is, handed out when the first of it dies.
#[inline(always)]
fn index_of(key: &Key, task: *mut task_struct) -> u32 {
    // SAFETY: entries are written once.
    if let Some(index) = unsafe { GROUP_OF_KEY.get(key) } {
        return *index;
    }
    let Ok(Some(index)) = FREE_GROUPS.pop() else { return OTHER_INDEX };
    let Some(group) = GROUPS.get_ptr_mut(index) else { return OTHER_INDEX };
    // SAFETY: a live map value that is nobody else's yet.
    unsafe {
        (*group).key = *key;
        (*group).comm = task::process_comm(task);
    }
    if GROUP_OF_KEY.insert(key, &index, BPF_NOEXIST.into()).is_ok() {
        return index;
    }
    // Another thread of the group died at this moment: what it was handed counts, ours goes back.
    let _ = FREE_GROUPS.push(&index, 0);
    // SAFETY: as above.
    unsafe { GROUP_OF_KEY.get(key) }.map_or(OTHER_INDEX, |index| *index)
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
