//! Fork, exec, exit: what is kept of a thread begins and ends with it.

use aya_ebpf::bindings::task_struct;
use syscost_common::{ledger::Counter, open_call::ORIGIN_NEWBORN};

use crate::{
    record, scope,
    threads::{ByTask, ByTid, Threads},
};

/// A task was forked. Marks it, so that the exit of its parent's call, which it will make without
/// an enter, is told from other orphans.
#[inline(always)]
pub(crate) fn on_fork(child: *const task_struct) {
    let child = ByTask(child.cast_mut());
    if !scope::covers(child.0) {
        return;
    }
    let Some(call) = child.open_call_or_new() else {
        return record::count(Counter::OpenCallsFull);
    };
    call.origin = ORIGIN_NEWBORN;
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

/// The running thread dies.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Threads>() {
    let Some(thread) = T::current() else { return };
    if let Some(call) = thread.open_call() {
        if call.entered_at != 0 {
            call.entered_at = 0;
            record::count(Counter::EndedWithoutExit);
        }
    }
    thread.forget();
}
