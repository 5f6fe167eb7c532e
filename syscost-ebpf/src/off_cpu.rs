//! How long a thread is off the CPU while it is in a call, and whether it waits for something or for a CPU. The only module
//! that changes [`OffCpuState`].
//!
//! The programs at context switches and wake-ups run with interrupts off, under the lock of a run queue: nothing preempts
//! them. A thread is woken up after it was switched out and before it is switched in, and its own programs do not run in
//! between, so that its state has one writer at a time.

use aya_ebpf::bindings::task_struct;
use syscost_common::{
    ledger::Counter,
    off_cpu::{Away, OffCpuState},
    settings,
};

use crate::{
    clock::now,
    task,
    this_cpu::{self, ThisCpu},
};

/// `TASK_RUNNING` of include/linux/sched.h.
const TASK_RUNNING: u32 = 0;

/// How `task` is switched out.
pub(crate) struct SwitchOut {
    /// The task did not give the CPU up itself.
    pub(crate) preempt: bool,
    /// The task's state as the scheduler took it, where the tracepoint hands it over. The one in the task may have been
    /// changed since, by a wake-up on another CPU.
    pub(crate) state: Option<u64>,
}

/// `task`, which is in a call, loses the CPU.
#[inline(always)]
pub(crate) fn leave(
    out: SwitchOut,
    task: *mut task_struct,
    off_cpu: &mut OffCpuState,
    cpu: ThisCpu,
) {
    let is_runnable = match out.state {
        // An int; the tracepoint may leave the upper half as it was.
        Some(state) => state as u32 == TASK_RUNNING,
        None => task::is_runnable(task),
    };
    let preempted = out.preempt || is_runnable;
    off_cpu.away = Away {
        since: now(),
        woken_at: 0,
        preempted: preempted.into(),
        detail: cpu.settings().detail,
        run_delay: task::run_delay(task).unwrap_or(0),
        unsettled_ns: 0,
    };
}

/// A task gets the CPU.
#[inline(always)]
pub(crate) fn arrive(off_cpu: &mut OffCpuState, cpu: ThisCpu) {
    if off_cpu.away.since == 0 {
        return;
    }
    let away = off_cpu.away;
    off_cpu.away.since = 0;
    // Switches, or the wake-up, may have gone unseen meanwhile; the call knows that by its settings.
    if away.detail != cpu.settings().detail {
        return;
    }
    let (off, unwoken) = away.ends(now());
    off_cpu.sums.runq_ns += off.runq_ns;
    off_cpu.sums.blocked_ns += off.blocked_ns;
    if unwoken && settings::sees_wakeups(away.detail) {
        off_cpu.away.unsettled_ns = off.blocked_ns;
    }
}

/// A task can go on.
#[inline(always)]
pub(crate) fn wake_up(off_cpu: &mut OffCpuState) {
    if off_cpu.away.since != 0 && off_cpu.away.woken_at == 0 {
        off_cpu.away.woken_at = now();
    }
}

/// Adds waiting time whose end, or whose wake-up, was not seen. `task` is running. The kernel reports no wake-up or switch
/// while another program runs at the same tracepoint on the CPU; then the time waited for a CPU is taken from the
/// scheduler's own account (`sched_info.run_delay`), which is up to date right after the switch.
#[inline(always)]
pub(crate) fn settle(task: *mut task_struct, off_cpu: &mut OffCpuState) {
    if off_cpu.away.since | off_cpu.away.unsettled_ns != 0 {
        settle_by_account(task, off_cpu);
    }
}

/// Out of line: it is rare.
#[inline(never)]
fn settle_by_account(task: *mut task_struct, off_cpu: &mut OffCpuState) {
    let away = off_cpu.away;
    off_cpu.away.since = 0;
    off_cpu.away.unsettled_ns = 0;
    let run_delay = task::run_delay(task);
    if run_delay.is_none() {
        this_cpu::count(Counter::WakeupsMissed);
    }
    let run_delay = run_delay.unwrap_or(away.run_delay);
    if away.since == 0 {
        let runq_ns = away.settles(run_delay);
        off_cpu.sums.runq_ns += runq_ns;
        off_cpu.sums.blocked_ns -= runq_ns;
    } else if away.detail == ThisCpu::get().detail() {
        let off = away.ended_unseen(now(), run_delay);
        off_cpu.sums.runq_ns += off.runq_ns;
        off_cpu.sums.blocked_ns += off.blocked_ns;
    }
}
