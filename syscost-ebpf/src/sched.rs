//! Context switches and wake-ups: how long a thread is off the CPU while it is in a call, and whether
//! it waits for something or for a CPU.
//!
//! Both run with interrupts off, under the lock of a run queue: nothing preempts them. A thread
//! is woken up after it was switched out and before it is switched in, and its own programs do not run
//! in between, so that what is kept of it has one writer at a time.

use aya_ebpf::bindings::task_struct;
use syscost_common::{
    ledger::Counter,
    off_cpu::Away,
    open_call::OpenCall,
    scope::{PROCESS, THREAD},
    settings,
};

use crate::{
    by_task::ByTask,
    cache,
    clock::now,
    constant::constant,
    cpu_time,
    maps::{OFFSETS, SCOPE},
    task,
    this_cpu::{self, ThisCpu},
    threads::Threads,
};

/// `TASK_RUNNING` of include/linux/sched.h.
const TASK_RUNNING: u32 = 0;

/// Whether the tracepoint hands over the state in which a thread is switched out.
#[inline(always)]
pub(crate) fn is_told_the_state() -> bool {
    constant!(OFFSETS.switch_tells_state) != 0
}

/// The CPU goes from `prev` to `next`. `preempt`: `prev` did not ask for that. `state`: what the scheduler
/// took `prev`'s state for, where it says so; the one in the task may have been changed since, by a wake-up
/// on another CPU.
#[inline(always)]
pub(crate) fn on_switch(preempt: bool, prev: &ByTask, next: &ByTask, state: Option<u64>) {
    let Some(cpu) = ThisCpu::find() else { return };
    cache::on_switch(cpu);
    cpu_time::on_switch(cpu, prev, next);
    if may_be_kept(prev)
        && let Some(call) = cache::on_switch_out(prev, cpu)
    {
        leave(preempt, prev, call, cpu, state);
    }
    if may_be_kept(next)
        && let Some(call) = next.open_call()
        && call.away.since != 0
    {
        arrive(call);
    }
}

/// Whether anything may be kept of `thread`. Whether it is in scope was asked when it entered its call;
/// here a cheap no spares almost all threads of the host the look-up.
#[inline(always)]
fn may_be_kept(thread: &ByTask) -> bool {
    match constant!(SCOPE.mode) {
        // Of a thread, this is the process.
        PROCESS | THREAD => thread.tgid() == constant!(SCOPE.id),
        _ => task::may_have_storage(thread.0),
    }
}

#[inline(always)]
fn leave(preempt: bool, prev: &ByTask, call: &mut OpenCall, cpu: ThisCpu, state: Option<u64>) {
    settle(prev, call);
    // An interrupted call goes on in its handler.
    if call.entered_at == 0 && !call.interrupted.any_open() {
        return;
    }
    let is_runnable = match state {
        // An int, of which the tracepoint may leave the upper half as it was.
        Some(state) => state as u32 == TASK_RUNNING,
        None => task::is_runnable(prev.0),
    };
    let preempted = preempt || is_runnable;
    call.away = Away {
        since: now(),
        woken_at: 0,
        preempted: preempted.into(),
        detail: cpu.settings().detail,
        run_delay: task::run_delay(prev.0).unwrap_or(0),
        unsettled_ns: 0,
    };
}

#[inline(always)]
fn arrive(call: &mut OpenCall) {
    let away = call.away;
    call.away.since = 0;
    let Some(cpu) = ThisCpu::find() else { return };
    // Switches, or the wake-up, may have gone unseen meanwhile; the call knows that it is so.
    if away.detail != cpu.settings().detail {
        return;
    }
    let (off, unwoken) = away.ends(now());
    call.off.runq_ns += off.runq_ns;
    call.off.blocked_ns += off.blocked_ns;
    if unwoken && settings::sees_wakeups(away.detail) {
        call.away.unsettled_ns = off.blocked_ns;
    }
}

/// Some wake-ups and switches pass by the tracepoints: of what one task does, the kernel may report
/// nothing, and whoever comes after it on its CPU was not seen to go on. The scheduler's own account,
/// which is brought up to date right after the switch, tells what `thread`, which runs now, waited for
/// the CPU.
#[inline(always)]
pub(crate) fn settle(thread: &ByTask, call: &mut OpenCall) {
    if call.away.since | call.away.unsettled_ns != 0 {
        settle_by_account(thread.0, call);
    }
}

/// Out of line: it is rare.
#[inline(never)]
fn settle_by_account(thread: *mut task_struct, call: &mut OpenCall) {
    let away = call.away;
    call.away.since = 0;
    call.away.unsettled_ns = 0;
    let run_delay = task::run_delay(thread);
    if run_delay.is_none() {
        this_cpu::count(Counter::WakeupsMissed);
    }
    let run_delay = run_delay.unwrap_or(away.run_delay);
    if away.since == 0 {
        let runq_ns = away.settles(run_delay);
        call.off.runq_ns += runq_ns;
        call.off.blocked_ns -= runq_ns;
    } else if ThisCpu::find().is_some_and(|cpu| away.detail == cpu.settings().detail) {
        let off = away.ended_unseen(now(), run_delay);
        call.off.runq_ns += off.runq_ns;
        call.off.blocked_ns += off.blocked_ns;
    }
}

/// `thread` can go on.
#[inline(always)]
pub(crate) fn on_wakeup(thread: &ByTask) {
    if may_be_kept(thread)
        && let Some(call) = thread.open_call()
        && call.away.since != 0
        && call.away.woken_at == 0
    {
        call.away.woken_at = now();
    }
}
