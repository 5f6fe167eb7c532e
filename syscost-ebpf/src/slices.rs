//! The account of CPU time: each CPU adds up the slices of time that tasks in scope have it.

use syscost_common::{
    cpu_time::{CpuTime, IO_WORKERS, Slices, THREADS},
    ledger::Counter,
    settings,
};

use crate::{clock::now, maps::PREEMPTED, scope, task, this_cpu::ThisCpu};

/// The account of this CPU.
#[inline(always)]
pub(crate) fn of(cpu: ThisCpu) -> &'static mut CpuTime {
    // SAFETY: in a live map value that only programs on this CPU write, one after the other.
    unsafe { &mut (*cpu.state).time }
}

/// The running thread enters a call, in scope or not. That can have changed since it got the CPU: by a new name, user or
/// cgroup.
#[inline(always)]
pub(crate) fn on_enter(cpu: ThisCpu, is_in_scope: bool) {
    if scope::is_constant() {
        return;
    }
    let time = of(cpu);
    if is_in_scope != (time.since != 0) {
        change(cpu, is_in_scope);
    }
}

/// The running thread has come into scope, or has left it.
#[inline(never)]
pub(crate) fn change(cpu: ThisCpu, is_in_scope: bool) {
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

/// Begins a slice of a task in scope. `of`: the sum that it belongs to.
#[inline(always)]
pub(crate) fn begin(time: &mut CpuTime, of: u32, now: u64) {
    time.since = now;
    time.of = of;
    let sum = sum(time, of);
    // SAFETY: a word of a live map value; readers take it as a whole.
    unsafe { sum.write_volatile(sum.read_volatile().begin(now)) };
}

/// Ends the slice that is running.
#[inline(always)]
pub(crate) fn end(time: &mut CpuTime, now: u64) {
    time.since = 0;
    time.ended_at = now;
    let sum = sum(time, time.of);
    // SAFETY: as above.
    unsafe { sum.write_volatile(sum.read_volatile().end(now)) };
}

/// The sum for `of`.
#[inline(always)]
pub(crate) fn sum(time: &mut CpuTime, of: u32) -> *mut Slices {
    if of == IO_WORKERS { &raw mut time.sums[1] } else { &raw mut time.sums[0] }
}

/// Says that the words of the account do not belong together, or do again.
#[inline(always)]
pub(crate) fn next_sequence(time: &mut CpuTime) {
    let sequence = &raw mut time.sequence;
    // SAFETY: a word of a live map value.
    unsafe { sequence.write_volatile(sequence.read_volatile().wrapping_add(1)) };
}
