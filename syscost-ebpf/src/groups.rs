//! Calls added up by group (`--by`): the totals of a thread move to its group when it dies. The totals of a living thread
//! are its own, see `totals`; the iterator here lists them.

use core::mem::size_of;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, task_struct},
    btf_maps::{Array, HashMap, Queue},
    macros::btf_map,
};
use syscost_common::{
    cell::PARTS,
    comm::Comm,
    group::{
        self, BY_CGROUP, BY_COMM, BY_PROCESS, BY_THREAD, Death, Group, Key, MAX_GROUPS, NONE,
        OTHER, OTHER_INDEX, OwnTotals, ThreadTotals, Totals,
    },
    ledger::Counter,
};

use crate::{
    atomic,
    btf_thread::BtfThread,
    exchange,
    iterator::{Context, write},
    maps::{GROUP_BY, MMAPABLE},
    storage::Storage,
    task, this_cpu,
    thread::Thread,
};

/// The totals of dead threads. Key: an index that `GROUP_OF_KEY` has. Read by user space from memory. Index 0 is the group
/// `(other)`.
#[btf_map]
static GROUPS: Array<Group, { MAX_GROUPS as usize }, MMAPABLE> = Array::new();

/// The index in `GROUPS` of each group. Entries are never removed. It is as large as `GROUPS`, so that it cannot fill up
/// before `FREE_GROUPS` runs empty.
#[btf_map]
static GROUP_OF_KEY: HashMap<Key, u32, { MAX_GROUPS as usize }> = HashMap::new();

/// The indices that are not in use yet. User space puts in all but 0. Once it is empty, new groups share index 0; their
/// dead threads are counted in `GroupsFull`.
#[btf_map]
static FREE_GROUPS: Queue<u32, { MAX_GROUPS as usize }> = Queue::new();

/// The deaths, by which user space knows which of the threads that it has listed have moved to their group since. A ring;
/// a reader that is too late sees that by `DEATH_COUNT`. Written by dying threads.
#[btf_map]
static DEATHS: Array<Death, { group::DEATHS as usize }, MMAPABLE> = Array::new();

/// How many deaths there have been.
#[btf_map]
static DEATH_COUNT: Array<u64, 1, MMAPABLE> = Array::new();

/// The running thread dies: moves its totals to those of its group.
#[inline(always)]
pub(crate) fn on_thread_exit() {
    if GROUP_BY.load() == NONE {
        return;
    }
    let thread = BtfThread::current();
    if thread.may_have_state()
        && let Some(own) = thread.totals()
    {
        move_to_group(thread.0, own);
    }
}

#[inline(always)]
fn move_to_group(task: *mut task_struct, own: &mut OwnTotals) {
    if own.totals.calls == 0 {
        return;
    }
    // User space reads groups only while no move is between these two counters.
    this_cpu::count(Counter::GroupMovesBegun);
    let totals = own.totals;
    own.totals = Totals::default();
    // A full barrier, as in `on_task`: if a listing still finds the totals, it has left its mark before this, and user
    // space learns of the death.
    // SAFETY: a live map value.
    let mark = unsafe { exchange::swap64(&raw mut own.mark, 0) };
    let group = index_of(&key_of(task), task);
    if group == OTHER_INDEX {
        this_cpu::count(Counter::GroupsFull);
    }
    if let Some(group) = GROUPS.get_ptr_mut(group) {
        add(group, &totals);
    }
    note(Death { mark, group, reserved: 0 });
    // The move is done only when the death is noted, also where stores may be seen in another order.
    // SAFETY: as above. Adds nothing.
    unsafe { exchange::fetch_add64(&raw mut own.mark, 0) };
    this_cpu::count(Counter::GroupMovesDone);
}

/// Notes a death in the ring.
#[inline(always)]
fn note(death: Death) {
    let Some(count) = DEATH_COUNT.get_ptr_mut(0) else { return };
    // SAFETY: a live map value.
    let number = unsafe { exchange::fetch_add64(count, 1) };
    if let Some(place) = DEATHS.get_ptr_mut(number as u32 % group::DEATHS) {
        // SAFETY: a live map value; written again once the ring has gone round.
        unsafe { place.write_volatile(death) };
    }
}

/// The index of the group `key`, to which `task` belongs. A group gets one when its first thread dies.
#[inline(always)]
fn index_of(key: &Key, task: *mut task_struct) -> u32 {
    // SAFETY: entries are written once.
    if let Some(index) = unsafe { GROUP_OF_KEY.get(key) } {
        return *index;
    }
    let Ok(Some(index)) = FREE_GROUPS.pop() else { return OTHER_INDEX };
    let Some(group) = GROUPS.get_ptr_mut(index) else { return OTHER_INDEX };
    // SAFETY: a live map value that no other program knows of yet.
    unsafe {
        (*group).key = *key;
        (*group).comm = name_of(task);
    }
    if GROUP_OF_KEY.insert(key, &index, BPF_NOEXIST.into()).is_ok() {
        return index;
    }
    // Another thread of the group died at the same moment. Its index is the group's; the one taken here goes back.
    let _ = FREE_GROUPS.push(&index, 0);
    // SAFETY: as above.
    unsafe { GROUP_OF_KEY.get(key) }.map_or(OTHER_INDEX, |index| *index)
}

#[inline(always)]
fn add(group: *mut Group, totals: &Totals) {
    // SAFETY: the pointers are to fields of a live map value.
    unsafe {
        atomic::add64(&raw mut (*group).threads, 1);
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

/// The name that `task` is shown under.
#[inline(always)]
fn name_of(task: *mut task_struct) -> Comm {
    if GROUP_BY.load() == BY_THREAD { task::own_comm(task) } else { task::process_comm(task) }
}

/// Writes the totals of a thread, for user space that reads the iterator.
#[inline(always)]
pub(crate) fn on_task(ctx: *mut Context) {
    // SAFETY: the kernel hands over a context of this layout, which the verifier knows.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null() {
        return;
    }
    let thread = BtfThread(task);
    let Some(own) = thread.totals() else { return };
    if own.totals.calls == 0 {
        return;
    }
    // SAFETY: the kernel's own struct.
    let mark = group::mark(unsafe { (*meta).session_id }, thread.tid());
    // Before the totals are read, see `move_to_group`.
    // SAFETY: a live map value.
    let previous = unsafe { exchange::swap64(&raw mut own.mark, mark) };
    let (totals, unfinished) = read(own);
    if totals.calls == 0 {
        return;
    }
    let mut ids = task::shown_ids(task);
    ids.comm = name_of(task);
    let record = ThreadTotals {
        ids,
        started_at: task::started_at(task),
        process_started_at: task::started_at(task::leader(task)),
        cgroup_id: task::cgroup_id(task),
        totals,
        unfinished,
        mark,
        previous,
    };
    // SAFETY: plain integers without padding.
    unsafe { write(meta, (&raw const record).cast(), size_of::<ThreadTotals>()) };
}

/// The totals of a thread that may be adding a call on another CPU, and how many of these calls may lack their time.
#[inline(always)]
fn read(own: &OwnTotals) -> (Totals, u64) {
    // Adding a call takes some ten nanoseconds, of hundreds between two calls.
    const TRIES: u32 = 16;
    let mut totals = Totals::default();
    let mut complete = 0;
    for _ in 0..TRIES {
        // SAFETY: the places are fields of a live map value of plain integers.
        unsafe {
            let from = &raw const own.totals;
            let parts = (&raw const (*from).parts_ns).cast::<u64>();
            // What is written last is read first.
            complete = (&raw const own.complete).read_volatile();
            totals.parts_ns[2] = parts.add(2).read_volatile();
            totals.parts_ns[1] = parts.add(1).read_volatile();
            totals.parts_ns[0] = parts.read_volatile();
            totals.parted = (&raw const (*from).parted).read_volatile();
            totals.total_ns = (&raw const (*from).total_ns).read_volatile();
            totals.errors = (&raw const (*from).errors).read_volatile();
            totals.calls = (&raw const (*from).calls).read_volatile();
        }
        if totals.calls == complete {
            break;
        }
    }
    (totals, totals.calls.wrapping_sub(complete))
}
