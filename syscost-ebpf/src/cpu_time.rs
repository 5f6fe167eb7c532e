//! The CPU time of what is measured, inside calls and outside: each CPU adds up the slices that tasks in
//! scope have it, from context switch to context switch.
//!
//! Whether the task that gets the CPU is in scope is asked once, when it gets it. The program at context
//! switches runs with interrupts off, so that nothing comes in between.

use aya_ebpf::bindings::task_struct;
use syscost_common::{
    cpu_time::{CpuTime, IO_WORKERS, NOBODY, Slices, THREADS},
    ledger::Counter,
    scope::{PROCESS, PROCESSES, THREAD, THREADS as CHOSEN_THREADS},
    settings,
};

use crate::{
    by_task::ByTask,
    clock::now,
    constant::constant,
    iterator::Context,
    maps::{CPUS, PREEMPTED, SCOPE},
    scope, scope_of, task,
    this_cpu::ThisCpu,
    threads::Threads,
};

/// A worker of io_uring's (include/linux/sched.h). Before Linux 5.12 these are kernel threads.
const PF_IO_WORKER: u32 = 0x10;
/// A thread of the kernel's own.
const PF_KTHREAD: u32 = 0x20_0000;

/// The CPU goes from `prev` to `next`.
#[inline(always)]
pub(crate) fn on_switch(cpu: ThisCpu, prev: &ByTask, next: &ByTask) {
    let time = of(cpu);
    // One moment for both, so that nothing is left out in between.
    let mut at = 0;
    if time.task != prev.address() {
        came_unseen(cpu, prev.0);
    } else if time.since != 0 {
        at = now();
        end(time, at);
    }
    time.task = next.address();
    let whose = whose(next.0);
    if whose != NOBODY {
        begin(time, whose, if at == 0 { now() } else { at });
    }
}

/// The running thread enters a call, in scope or not. What it was when it got the CPU can have changed
/// since: by its name, its user, its cgroup.
#[inline(always)]
pub(crate) fn on_enter(cpu: ThisCpu, is_in_scope: bool) {
    let time = of(cpu);
    if is_in_scope != (time.since != 0) {
        change(cpu, is_in_scope);
    }
}

#[inline(never)]
fn change(cpu: ThisCpu, is_in_scope: bool) {
    let time = of(cpu);
    // While context switches are not seen, `time` is of whatever ran here before.
    let is_followed = settings::sees_switches(cpu.settings().detail);
    if !is_followed || time.task != task::current() as u64 {
        return;
    }
    if PREEMPTED.load() != 0 {
        // The thread could be switched out in the middle of this.
        return cpu.count(Counter::SlicesMissed);
    }
    if is_in_scope {
        begin(time, THREADS, now());
    } else {
        end(time, now());
    }
}

#[inline(always)]
fn begin(time: &mut CpuTime, whose: u32, now: u64) {
    time.since = now;
    time.of = whose;
    let sum = sum(time, whose);
    // SAFETY: a word of a live map value; readers take it as a whole.
    unsafe { sum.write_volatile(sum.read_volatile().begin(now)) };
}

#[inline(always)]
fn end(time: &mut CpuTime, now: u64) {
    time.since = 0;
    time.ended_at = now;
    let sum = sum(time, time.of);
    // SAFETY: as above.
    unsafe { sum.write_volatile(sum.read_volatile().end(now)) };
}

#[inline(always)]
fn sum(time: &mut CpuTime, whose: u32) -> *mut Slices {
    if whose == IO_WORKERS { &raw mut time.sums[1] } else { &raw mut time.sums[0] }
}

/// `prev` loses the CPU, and was not seen to get it. Out of line: it is rare, but for each CPU's first
/// switch.
#[inline(never)]
fn came_unseen(cpu: ThisCpu, prev: *mut task_struct) {
    let time = of(cpu);
    let now = now();
    let is_first = time.task == 0;
    next_sequence(time);
    if time.since != 0 {
        // What was seen to get the CPU has lost it unseen: for how long it ran is not known.
        let sum = sum(time, time.of);
        // SAFETY: as above.
        unsafe { sum.write_volatile(sum.read_volatile().end(time.since)) };
        time.ended_at = time.since;
        time.since = 0;
        cpu.count(Counter::SlicesMissed);
    }
    let whose = whose(prev);
    // Before all tasks were looked at, nothing counts yet.
    if whose != NOBODY && !(is_first && time.seeded == 0) {
        match slice_ns(time, prev, is_first, now) {
            Some(ns) => {
                let sum = sum(time, whose);
                // SAFETY: as above.
                unsafe { sum.write_volatile(sum.read_volatile().plus(ns)) };
                time.ended_at = now;
            }
            None => cpu.count(Counter::SlicesMissed),
        }
    }
    // Not 0 any more, whatever comes next.
    time.task = prev as u64;
    next_sequence(time);
}

/// How long `prev` has had the CPU, ns, within the time in which nothing else in scope is known to have had
/// it; `None` where that cannot be told.
#[inline(always)]
fn slice_ns(time: &CpuTime, prev: *mut task_struct, is_first: bool, now: u64) -> Option<u64> {
    if is_first {
        let is_seed = time.seed_task == prev as u64;
        return is_seed.then(|| now.saturating_sub(time.seed_since));
    }
    let most = now.saturating_sub(time.ended_at);
    task::slice_ns(prev).map(|ns| if ns < most { ns } else { most })
}

#[inline(always)]
fn next_sequence(time: &mut CpuTime) {
    let sequence = &raw mut time.sequence;
    // SAFETY: a word of a live map value.
    unsafe { sequence.write_volatile(sequence.read_volatile().wrapping_add(1)) };
}

/// Whose CPU time a task's is. The kernel's own threads make no calls; nobody counts the idle ones.
#[inline(always)]
fn whose(task: *mut task_struct) -> u32 {
    let thread = ByTask(task);
    if !scope_of::contains(&thread) && !(is_left_at_exit() && thread.exits_in_scope()) {
        return NOBODY;
    }
    let flags = task::flags(task);
    if flags & PF_KTHREAD != 0 || task::tid(task) == 0 {
        return NOBODY;
    }
    if flags & PF_IO_WORKER != 0 { IO_WORKERS } else { THREADS }
}

/// Whether a thread is no longer in scope once it, or its process, has begun to exit.
#[inline(always)]
fn is_left_at_exit() -> bool {
    matches!(constant!(SCOPE.mode), PROCESS | THREAD | PROCESSES | CHOSEN_THREADS)
}

#[inline(always)]
fn of(cpu: ThisCpu) -> &'static mut CpuTime {
    // SAFETY: in a live map value that only programs on this CPU write, one after the other.
    unsafe { &mut (*cpu.state).time }
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
    if task::has_ring(task) && scope_of::contains(&ByTask(task)) {
        scope::set(|state| &raw mut state.holds_ring, 1);
    }
    let Some(cpu) = task::runs_on(task) else { return };
    let whose = whose(task);
    if whose == NOBODY {
        return;
    }
    let Some(kept) = CPUS.get_ptr_mut(cpu) else { return };
    // SAFETY: fields of a live map value that nothing else writes. The task last: it says that the
    // others are there.
    unsafe {
        let time = &raw mut (*kept).time;
        (&raw mut (*time).seed_since).write_volatile(now());
        (&raw mut (*time).seed_of).write_volatile(whose);
        (&raw mut (*time).seed_task).write_volatile(task as u64);
    }
}

/// The running thread has another tid since its exec, by which it is in scope. If it got the CPU in
/// between, it was taken for one that is not.
#[inline(always)]
pub(crate) fn on_exec() {
    let Some(cpu) = ThisCpu::find() else { return };
    let time = of(cpu);
    let task = task::current();
    if time.since != 0 || time.task != task as u64 || whose(task) != THREADS {
        return;
    }
    cpu.count(Counter::SlicesMissed);
    change(cpu, true);
}

/// Whether a thread that is measured can come to be, or cease to be, in scope in the middle of a slice.
#[inline(always)]
pub(crate) fn changes() -> bool {
    !scope::is_constant()
}
