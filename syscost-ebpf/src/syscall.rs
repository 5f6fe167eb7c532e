//! The life of a call: enter opens it, exit closes it and hands its latency on, death ends it.

use aya_ebpf::{EbpfContext, bindings::pt_regs, helpers::bpf_ktime_get_ns};
use syscost_common::{
    ledger::Counter,
    open_call::{ORIGIN_LEFT_OUT, ORIGIN_NEWBORN, ORIGIN_SEEN, ORIGIN_UNKNOWN, OpenCall},
};

use crate::{atomic::Raise, diagnostics, filter, record, restart, scope, threads::Threads};

/// The number of a call that will not be made: a tracer has taken the program's away (ptrace(2)), or
/// the program gave none that could be. Its exit is one without an enter, as after a seccomp denial.
const NO_CALL: i32 = -1;

#[inline(always)]
pub(crate) fn on_enter<T: Threads>(
    ctx: &impl EbpfContext,
    regs: impl Fn() -> *const pt_regs,
    nr: u64,
) {
    let thread = T::current();
    if !scope::contains(&thread) {
        return;
    }
    let Some(call) = thread.open_call_or_new() else {
        diagnostics::report(ctx, Counter::OpenCallsFull, nr, 0);
        return record::count(Counter::OpenCallsFull);
    };
    if call.entered_at != 0 {
        diagnostics::report(ctx, Counter::ExitsMissed, nr, call.kind.into());
        record::count(Counter::ExitsMissed);
    }
    call.origin = ORIGIN_SEEN;
    if nr as i32 == NO_CALL {
        call.entered_at = 0;
        return;
    }
    let kind = thread.kind_of(nr);
    if call.interrupted.stack_pointer != 0 && restart::resume(call, kind, T::stack_pointer(regs()))
    {
        return;
    }
    call.kind = kind;
    if filter::leaves_out(kind) {
        call.entered_at = 0;
        call.origin = ORIGIN_LEFT_OUT;
        return;
    }
    record::count(Counter::Enters);
    // Last, so that the call is charged as little of our own time as possible.
    call.entered_at = now();
}

#[inline(always)]
pub(crate) fn on_exit<T: Threads, R: Raise>(
    ctx: &impl EbpfContext,
    regs: impl Fn() -> *const pt_regs,
    ret: u64,
) {
    let thread = T::current();
    if scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    // First, for the same reason.
    let now = now();
    let open = thread.open_call();
    let is_open = matches!(&open, Some(call) if call.entered_at != 0);
    if !is_open && !scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    let Some(call) = open else {
        // Known from now on: only one call can have been open unseen.
        if let Some(call) = thread.open_call_or_new() {
            call.origin = ORIGIN_SEEN;
        }
        return record::count(T::exit_of_unknown());
    };
    let entered_at = call.entered_at;
    if entered_at == 0 {
        let origin = call.origin;
        call.origin = ORIGIN_SEEN;
        if origin == ORIGIN_LEFT_OUT {
            return left_out::<T, R>(call, regs, ret);
        }
        return record::count(match origin {
            ORIGIN_NEWBORN => Counter::NewbornExits,
            ORIGIN_UNKNOWN => Counter::OpenAtAttach,
            _ => Counter::OrphanExits,
        });
    }
    call.entered_at = 0;
    let mut ret = ret as i64;
    if restart::is_interruption(ret) {
        return restart::interrupt::<R>(call, entered_at, now, T::stack_pointer(regs()));
    }
    let kind = call.kind;
    if restart::is_sigreturn(kind) {
        if call.interrupted.stack_pointer != 0 {
            restart::handler_returned::<R>(call, ret, T::stack_pointer(regs()));
        }
        // What the register holds is not this call's result.
        ret = 0;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else {
        diagnostics::report(ctx, Counter::Discarded, now, entered_at);
        return record::count(Counter::Discarded);
    };
    record::call::<R>(call, kind, latency_ns, ret);
}

/// A call that the filter leaves out has left the kernel. A handler's return says what became of
/// the call that it interrupted, whoever asks.
#[inline(always)]
fn left_out<T: Threads, R: Raise>(
    call: &mut OpenCall,
    regs: impl Fn() -> *const pt_regs,
    ret: u64,
) {
    if call.interrupted.stack_pointer != 0 && restart::is_sigreturn(call.kind) {
        restart::handler_returned::<R>(call, ret as i64, T::stack_pointer(regs()));
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The running thread dies. What is kept of it ends with it.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Threads>() {
    let thread = T::current();
    if scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    scope::on_thread_exit(&thread);
    let mut open = thread.open_call();
    if let Some(call) = &mut open {
        if call.entered_at != 0 {
            call.entered_at = 0;
            record::count(Counter::EndedWithoutExit);
        }
        if call.interrupted.stack_pointer != 0 {
            call.interrupted.stack_pointer = 0;
            record::count(Counter::EndedWithoutExit);
        }
    }
    thread.forget(open);
}

/// The running thread has forked `child`. Marks it, so that the exit of its parent's call, which it
/// will make without an enter, is told from other orphans.
#[inline(always)]
pub(crate) fn on_fork<T: Threads>(child: &T) {
    if !scope::contains_child(child) {
        return;
    }
    match child.open_call_or_new() {
        Some(call) => call.origin = ORIGIN_NEWBORN,
        None => record::count(Counter::OpenCallsFull),
    }
}
