//! Context switches and wake-ups: what each of them means for the cache, CPU time, and the time off the CPU.

use syscost_common::scope::{PROCESS, THREAD};

use crate::{
    btf_thread::BtfThread,
    cache,
    constant::constant,
    cpu_time,
    maps::{OFFSETS, SCOPE},
    off_cpu::{self, SwitchOut},
    storage::Storage,
    this_cpu::ThisCpu,
    thread::Thread,
};

/// Whether the tracepoint hands over the state in which a thread is switched out.
#[inline(always)]
pub(crate) fn is_told_the_state() -> bool {
    constant!(OFFSETS.switch_tells_state) != 0
}

/// The CPU goes from `prev` to `next`.
#[inline(always)]
pub(crate) fn on_switch(out: SwitchOut, prev: &BtfThread, next: &BtfThread) {
    let cpu = ThisCpu::get();
    cache::on_switch(cpu);
    cpu_time::on_switch(cpu, prev, next);
    if may_have_state(prev)
        && let Some(state) = cache::on_switch_out(prev.address(), cpu, || prev.state())
    {
        prev.settle(state);
        // An interrupted call goes on in its handler.
        if state.call.entered_at != 0 || state.restarts.entries.any_open() {
            off_cpu::leave(out, prev.0, &mut state.off_cpu, cpu);
        }
    }
    if may_have_state(next)
        && let Some(state) = next.state()
    {
        off_cpu::arrive(&mut state.off_cpu, cpu);
    }
}

/// `thread` can go on.
#[inline(always)]
pub(crate) fn on_wakeup(thread: &BtfThread) {
    if may_have_state(thread)
        && let Some(state) = thread.state()
    {
        off_cpu::wake_up(&mut state.off_cpu);
    }
}

/// Whether `thread` may have a state. Scope is asked when a call is entered; this cheaper test saves almost all threads of
/// the host the look-up.
#[inline(always)]
fn may_have_state(thread: &BtfThread) -> bool {
    match constant!(SCOPE.mode) {
        // In the scope of a thread, the id is that of its process.
        PROCESS | THREAD => thread.tgid() == constant!(SCOPE.id),
        _ => thread.may_have_state(),
    }
}
