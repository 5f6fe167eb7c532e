//! The life of a call: enter opens it, exit closes it and hands its latency on, death ends it.

use aya_ebpf::{EbpfContext, bindings::pt_regs, helpers::bpf_ktime_get_ns};
use syscost_common::{
    ledger::Counter,
    open_call::{ORIGIN_NEWBORN, ORIGIN_SEEN, ORIGIN_UNKNOWN},
};

use crate::{atomic::Raise, diagnostics, record, restart, threads::Threads};

#[inline(always)]
pub(crate) fn on_enter<T: Threads>(ctx: &impl EbpfContext, regs: *const pt_regs, nr: u64) {
    let Some(thread) = T::current() else { return };
    let Some(call) = thread.open_call_or_new() else {
        diagnostics::report(ctx, Counter::OpenCallsFull, nr, 0);
        return record::count(Counter::OpenCallsFull);
    };
    if call.entered_at != 0 {
        diagnostics::report(ctx, Counter::ExitsMissed, nr, call.kind.into());
        record::count(Counter::ExitsMissed);
    }
    let kind = thread.kind_of(nr);
    call.origin = ORIGIN_SEEN;
    if call.interrupted.stack_pointer != 0 && restart::resume(call, kind, T::stack_pointer(regs)) {
        return;
    }
    record::count(Counter::Enters);
    call.kind = kind;
    // Last, so that the call is charged as little of our own time as possible.
    call.entered_at = now();
}

#[inline(always)]
pub(crate) fn on_exit<T: Threads, R: Raise>(
    ctx: &impl EbpfContext,
    regs: *const pt_regs,
    ret: u64,
) {
    let Some(thread) = T::current() else { return };
    // First, for the same reason.
    let now = now();
    let Some(call) = thread.open_call() else {
        // Known from now on: only one call can have been open unseen.
        if let Some(call) = thread.open_call_or_new() {
            call.origin = ORIGIN_SEEN;
        }
        return record::count(T::EXIT_OF_UNKNOWN);
    };
    let entered_at = call.entered_at;
    if entered_at == 0 {
        let origin = call.origin;
        call.origin = ORIGIN_SEEN;
        return record::count(match origin {
            ORIGIN_NEWBORN => Counter::NewbornExits,
            ORIGIN_UNKNOWN => Counter::OpenAtAttach,
            _ => Counter::OrphanExits,
        });
    }
    call.entered_at = 0;
    let mut ret = ret as i64;
    if restart::is_interruption(ret) {
        return restart::interrupt::<R>(call, entered_at, now, T::stack_pointer(regs));
    }
    let kind = call.kind;
    if restart::is_sigreturn(kind) {
        if call.interrupted.stack_pointer != 0 {
            restart::handler_returned::<R>(call, ret, T::stack_pointer(regs));
        }
        // What the register holds is not this call's result.
        ret = 0;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else {
        diagnostics::report(ctx, Counter::Discarded, now, entered_at);
        return record::count(Counter::Discarded);
    };
    record::call::<R>(kind, latency_ns, ret);
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The running thread dies. What is kept of it ends with it.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Threads>() {
    let Some(thread) = T::current() else { return };
    if let Some(call) = thread.open_call() {
        if call.entered_at != 0 {
            call.entered_at = 0;
            record::count(Counter::EndedWithoutExit);
        }
        if call.interrupted.stack_pointer != 0 {
            call.interrupted.stack_pointer = 0;
            record::count(Counter::EndedWithoutExit);
        }
    }
    thread.forget();
}
