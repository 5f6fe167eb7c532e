//! The CPU time of what is measured, inside calls and outside: which slices, from context switch to context switch, are of
//! tasks in scope.
//!
//! A task's scope is asked once, when it gets the CPU. The program at context switches runs with interrupts off, so that
//! nothing comes in between.

use aya_ebpf::bindings::task_struct;
use syscost_common::{
    cpu_time::{CpuTime, IO_WORKERS, NO_SUM, THREADS},
    ledger::Counter,
    scope::{PROCESS, PROCESSES, THREAD, THREADS as CHOSEN_THREADS},
};

use crate::{
    btf_thread::BtfThread,
    clock::now,
    constant::constant,
    iterator::Context,
    maps::{self, SCOPE},
    scope, scope_of, slices,
    storage::Storage,
    task,
    this_cpu::ThisCpu,
};

/// A worker of io_uring's (include/linux/sched.h). Before Linux 5.12 these are kernel threads.
const PF_IO_WORKER: u32 = 0x10;
/// A thread of the kernel's own.
const PF_KTHREAD: u32 = 0x20_0000;

/// The CPU goes from `prev` to `next`.
#[inline(always)]
pub(crate) fn on_switch(cpu: ThisCpu, prev: &BtfThread, next: &BtfThread) {
    let time = slices::of(cpu);
    // One clock reading for both, so that no time is lost between the slices.
    let mut at = 0;
    if time.task != prev.address() {
        came_unseen(cpu, prev.0);
    } else if time.since != 0 {
        at = now();
        slices::end(time, at);
    }
    time.task = next.address();
    let of = sum_of(next.0);
    if of != NO_SUM {
        slices::begin(time, of, if at == 0 { now() } else { at });
    }
}

/// `prev` loses the CPU, and was not seen to get it. Out of line: except for each CPU's first switch, it is rare.
#[inline(never)]
fn came_unseen(cpu: ThisCpu, prev: *mut task_struct) {
    let time = slices::of(cpu);
    let now = now();
    let is_first = time.task == 0;
    slices::next_sequence(time);
    if time.since != 0 {
        // The task that was last seen to get the CPU has lost it unseen: how long it ran is not known.
        let sum = slices::sum(time, time.of);
        // SAFETY: a word of a live map value; readers take it as a whole.
        unsafe { sum.write_volatile(sum.read_volatile().end(time.since)) };
        time.ended_at = time.since;
        time.since = 0;
        cpu.count(Counter::SlicesMissed);
    }
    let of = sum_of(prev);
    // Nothing counts before the iterator has looked at all tasks.
    if of != NO_SUM && !(is_first && time.seeded == 0) {
        match slice_ns(time, prev, is_first, now) {
            Some(ns) => {
                let sum = slices::sum(time, of);
                // SAFETY: as above.
                unsafe { sum.write_volatile(sum.read_volatile().plus(ns)) };
                time.ended_at = now;
            }
            None => cpu.count(Counter::SlicesMissed),
        }
    }
    // From now on not 0: the first switch is over.
    time.task = prev as u64;
    slices::next_sequence(time);
}

/// How long `prev` has had the CPU, ns, at most since another task in scope is known to have lost it; `None` where that is
/// not known.
#[inline(always)]
fn slice_ns(time: &CpuTime, prev: *mut task_struct, is_first: bool, now: u64) -> Option<u64> {
    if is_first {
        let is_seed = time.seed_task == prev as u64;
        return is_seed.then(|| now.saturating_sub(time.seed_since));
    }
    let most = now.saturating_sub(time.ended_at);
    task::slice_ns(prev).map(|ns| if ns < most { ns } else { most })
}

/// The sum that the CPU time of `task` belongs to. None for the kernel's own threads, which make no calls, and the idle
/// ones.
#[inline(always)]
fn sum_of(task: *mut task_struct) -> u32 {
    let thread = BtfThread(task);
    if !scope_of::contains(&thread) && !(is_left_at_exit() && exits_in_scope(&thread)) {
        return NO_SUM;
    }
    let flags = task::flags(task);
    if flags & PF_KTHREAD != 0 || task::tid(task) == 0 {
        return NO_SUM;
    }
    if flags & PF_IO_WORKER != 0 { IO_WORKERS } else { THREADS }
}

/// Whether `thread` exits, and was in scope when it began to.
#[inline(always)]
fn exits_in_scope(thread: &BtfThread) -> bool {
    thread.may_have_state()
        && task::is_exiting(thread.0)
        && thread.state().is_some_and(|state| state.call.exits_in_scope != 0)
}

/// Whether a thread is no longer in scope once it, or its process, has begun to exit.
#[inline(always)]
fn is_left_at_exit() -> bool {
    matches!(constant!(SCOPE.mode), PROCESS | THREAD | PROCESSES | CHOSEN_THREADS)
}

/// Notes which task in scope runs where, and whether one holds a ring of io_uring's, for user space that reads the
/// iterator.
#[inline(always)]
pub(crate) fn on_task(ctx: *mut Context) {
    // SAFETY: the kernel hands over a context of this layout, which the verifier knows.
    let task = unsafe { (*ctx).task };
    if task.is_null() {
        return;
    }
    if task::has_ring(task) && scope_of::contains(&BtfThread(task)) {
        scope::set(|state| &raw mut state.holds_ring, 1);
    }
    let Some(cpu) = task::runs_on(task) else { return };
    let of = sum_of(task);
    if of == NO_SUM {
        return;
    }
    let state = maps::cpu_state(cpu);
    // SAFETY: fields of a live map value that no other program writes. The task last: it says that the other fields are
    // written.
    unsafe {
        let time = &raw mut (*state).time;
        (&raw mut (*time).seed_since).write_volatile(now());
        (&raw mut (*time).seed_of).write_volatile(of);
        (&raw mut (*time).seed_task).write_volatile(task as u64);
    }
}

/// The running thread is in scope by the tid that it has since its exec. If it got the CPU between the two, it was taken
/// for out of scope.
#[inline(always)]
pub(crate) fn on_exec() {
    let cpu = ThisCpu::get();
    let time = slices::of(cpu);
    let task = task::current();
    if time.since != 0 || time.task != task as u64 || sum_of(task) != THREADS {
        return;
    }
    cpu.count(Counter::SlicesMissed);
    slices::change(cpu, true);
}
