//! The life of a call: enter opens it, exit closes it and hands its latency on, death ends it.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_prandom_u32};
use syscost_common::{
    cell::{self, OVERFLOW_SLOT},
    cpu::{NO_CELL, NO_NR, Seat},
    detail::{self, Knobs},
    filter::LEFT_OUT,
    ledger::Counter,
    off_cpu::OffCpu,
    open_call::{
        ORIGIN_LEFT_OUT, ORIGIN_NEWBORN, ORIGIN_SAMPLED_OUT, ORIGIN_SEEN, ORIGIN_UNKNOWN, OpenCall,
    },
};

use crate::{
    atomic::Raise,
    clock::now,
    diagnostics, filter, kind,
    ledger::{self, Here},
    maps::PREEMPTED,
    own::{Alone, Either, Update},
    record::{self, Finished},
    regs::Regs,
    restart, scope,
    threads::Threads,
};

/// The number of a call that will not be made: a tracer has taken the program's away (ptrace(2)), or
/// the program gave none that could be. Its exit is one without an enter, as after a seccomp denial.
const NO_CALL: i32 = -1;

#[inline(always)]
pub(crate) fn on_enter<T: Threads, G: Regs>(ctx: &impl EbpfContext, regs: G, nr: u64) {
    let Some(here) = Here::find() else { return };
    if G::AT_HAND
        && let Some(seat) = T::seat(here)
    {
        let place = regs.get() as u64;
        if seat.regs_in_scope == place
            && enter_seated::<T>(seat, here, nr, || T::came_by_a_native_call(regs.get()))
        {
            return;
        }
        if is_stranger(seat, place, here) {
            return;
        }
        return enter_apart::<T, G>(ctx, regs, nr, here);
    }
    enter::<T, G>(ctx, regs, nr, here);
}

/// The same as [`enter`], out of line: what is found on a seat needs none of its registers and stack.
#[inline(never)]
fn enter_apart<T: Threads, G: Regs>(ctx: &impl EbpfContext, regs: G, nr: u64, here: Here) {
    enter::<T, G>(ctx, regs, nr, here);
}

/// Opens the running thread's call, whatever is known of it.
#[inline(always)]
fn enter<T: Threads, G: Regs>(ctx: &impl EbpfContext, regs: G, nr: u64, here: Here) {
    let thread = T::current();
    if !scope::contains(&thread) {
        if G::AT_HAND
            && let Some(seat) = T::seat(here)
        {
            note_stranger(seat, regs.get() as u64, here);
        }
        return;
    }
    if !(G::AT_HAND && scope::keeps_its_threads())
        && let Some(seat) = T::seat(here)
        && seat.task == thread.address()
        && enter_seated::<T>(seat, here, nr, || !thread.is_in_compat_call())
    {
        return;
    }
    let Some(call) = thread.open_call_or_new() else {
        diagnostics::report(ctx, Counter::OpenCallsFull, nr, 0);
        return here.count(Counter::OpenCallsFull);
    };
    thread.get_up(call, here);
    if call.entered_at != 0 {
        diagnostics::report(ctx, Counter::ExitsMissed, nr, call.kind.into());
        here.count_by(Counter::ExitsMissed, call.knobs.one_in);
    }
    call.origin = ORIGIN_SEEN;
    if nr as i32 == NO_CALL {
        call.entered_at = 0;
        return;
    }
    let kind = kind::of_call(nr as u32, thread.is_in_compat_call());
    if call.interrupted.stack_pointer != 0 {
        // The handler may have been off the CPU, and its own call begins with what that adds up to.
        thread.settle(call);
        if restart::resume(call, kind, T::stack_pointer(regs.get())) {
            return;
        }
    }
    call.kind = kind;
    if filter::leaves_out(kind) {
        call.entered_at = 0;
        call.origin = ORIGIN_LEFT_OUT;
        return;
    }
    let knobs = here.knobs();
    if is_sampling(knobs) && !stands_for_others(knobs) {
        call.entered_at = 0;
        call.origin = ORIGIN_SAMPLED_OUT;
        return here.count(Counter::SampledOut);
    }
    call.knobs = knobs;
    if T::SEES_SWITCHES {
        call.off_before = call.off;
    }
    here.count_by(Counter::Enters, knobs.one_in);
    // Last, so that the call is charged as little of our own time as possible.
    call.entered_at = now();
}

/// Opens the call of the thread that sits on `seat`. `is_native`: whether the call is one for certain.
/// `false`: its storage must know of this one.
#[inline(always)]
fn enter_seated<T: Threads>(
    seat: &mut Seat,
    here: Here,
    nr: u64,
    is_native: impl FnOnce() -> bool,
) -> bool {
    if seat.entered_at != 0 || !here.still_has(&seat.knobs) {
        return false;
    }
    let is_native = is_native();
    if !(is_native && seat.nr == nr) {
        let is_compat = !is_native && T::current().is_in_compat_call();
        if !change_kind(seat, here, nr, is_compat) {
            return false;
        }
    }
    // SAFETY: a live map value.
    unsafe { Alone::add64(here.counter(Counter::Enters), 1) };
    // Last, so that the call is charged as little of our own time as possible.
    seat.entered_at = now();
    true
}

/// The call that is being entered is of another kind than the last one. `false`: of one that the thread's
/// storage must know of.
#[inline(always)]
fn change_kind(seat: &mut Seat, here: Here, nr: u64, is_compat: bool) -> bool {
    let kind = kind::of_call(nr as u32, is_compat);
    let slot = record::slot_entry(kind);
    if nr as i32 == NO_CALL || slot == LEFT_OUT || restart::is_sigreturn(kind) {
        return false;
    }
    seat.nr = if is_compat { NO_NR } else { nr };
    seat.kind = kind;
    seat.cell = if slot == OVERFLOW_SLOT { NO_CELL } else { cell::index(here.cpu, slot) };
    true
}

/// The cell for the seated thread's call. Its kind is handed a slot at its first occurrence.
#[inline(always)]
fn cell_of(seat: &mut Seat, here: Here) -> u32 {
    if seat.cell == NO_CELL {
        let slot = record::slot_of(here, seat.kind, 1);
        let cell = cell::index(here.cpu, slot);
        if slot != OVERFLOW_SLOT {
            seat.cell = cell;
        }
        return cell;
    }
    seat.cell
}

#[inline(always)]
pub(crate) fn on_exit<T: Threads, R: Raise, G: Regs>(ctx: &impl EbpfContext, regs: G, ret: u64) {
    let Some(here) = Here::find() else { return };
    if G::AT_HAND
        && let Some(seat) = T::seat(here)
    {
        let place = regs.get() as u64;
        if seat.regs == place && exit_seated(seat, here, ret as i64) {
            return;
        }
        if is_stranger(seat, place, here) {
            return;
        }
        return exit_apart::<T, R, G>(ctx, regs, ret, here);
    }
    exit::<T, R, G>(ctx, regs, ret, here);
}

/// The same as [`exit`], out of line, like [`enter_apart`].
#[inline(never)]
fn exit_apart<T: Threads, R: Raise, G: Regs>(
    ctx: &impl EbpfContext,
    regs: G,
    ret: u64,
    here: Here,
) {
    exit::<T, R, G>(ctx, regs, ret, here);
}

/// Closes the running thread's call, whatever is known of it.
#[inline(always)]
fn exit<T: Threads, R: Raise, G: Regs>(ctx: &impl EbpfContext, regs: G, ret: u64, here: Here) {
    let thread = T::current();
    if scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    if !G::AT_HAND
        && let Some(seat) = T::seat(here)
        && seat.task == thread.address()
        && exit_seated(seat, here, ret as i64)
    {
        return;
    }
    let knobs = here.knobs();
    if is_sampling(knobs) && was_sampled_out(&thread) {
        return;
    }
    // Before all that takes longer, for the same reason.
    let now = now();
    let mut open = thread.open_call();
    if let Some(call) = &mut open {
        thread.get_up(call, here);
    }
    let is_open = matches!(&open, Some(call) if call.entered_at != 0);
    if !is_open && !scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    let Some(call) = open else {
        // Known from now on: only one call can have been open unseen.
        if here.sees_enters()
            && let Some(call) = thread.open_call_or_new()
        {
            call.origin = ORIGIN_SEEN;
        }
        return here.count(T::exit_of_unknown());
    };
    let entered_at = call.entered_at;
    if entered_at == 0 {
        let origin = call.origin;
        call.origin = ORIGIN_SEEN;
        if origin == ORIGIN_LEFT_OUT {
            return left_out::<T, R>(call, regs, ret);
        }
        return here.count(match origin {
            ORIGIN_SAMPLED_OUT => return,
            ORIGIN_NEWBORN => Counter::NewbornExits,
            ORIGIN_UNKNOWN => Counter::OpenAtAttach,
            _ => Counter::OrphanExits,
        });
    }
    call.entered_at = 0;
    thread.settle(call);
    let mut ret = ret as i64;
    if restart::is_interruption(ret) {
        return restart::interrupt::<R>(call, entered_at, now, T::stack_pointer(regs.get()));
    }
    let kind = call.kind;
    if restart::is_sigreturn(kind) {
        if call.interrupted.stack_pointer != 0 {
            restart::handler_returned::<R>(call, ret, T::stack_pointer(regs.get()));
        }
        // What the register holds is not this call's result.
        ret = 0;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else {
        diagnostics::report(ctx, Counter::Discarded, now, entered_at);
        return here.count_by(Counter::Discarded, call.knobs.one_in);
    };
    let seen = T::SEES_SWITCHES && was_seen(call.knobs, knobs);
    let off = if T::SEES_SWITCHES { call.off.since(call.off_before) } else { OffCpu::NONE };
    let weight = call.knobs.one_in;
    thread.sit_down(call, here, if G::AT_HAND { regs.get() as u64 } else { 0 });
    let finished = Finished { latency_ns, seen, off, weight, errno: record::errno(ret) };
    let cell = || record::cell_of(here, kind, weight);
    record::call::<Either<R>>(here, finished, Some(&mut call.totals), cell);
}

/// Closes the call of the thread that sits on `seat`: it has not left this CPU since it entered it.
/// `false`: its storage must know of this one.
#[inline(always)]
fn exit_seated(seat: &mut Seat, here: Here, ret: i64) -> bool {
    let entered_at = seat.entered_at;
    if entered_at == 0 || !here.still_has(&seat.knobs) {
        return false;
    }
    let now = now();
    let errno = record::errno(ret);
    if errno != 0 && restart::is_interruption(ret) {
        return false;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else { return false };
    seat.entered_at = 0;
    let finished = Finished { latency_ns, seen: true, off: OffCpu::NONE, weight: 1, errno };
    record::call::<Alone>(here, finished, None, || cell_of(seat, here));
    true
}

/// Whether all context switches were seen between two moments with these settings.
#[inline(always)]
pub(crate) fn was_seen(then: Knobs, now: Knobs) -> bool {
    then.detail == now.detail && detail::sees_switches(now.detail)
}

/// Whether the thread with these registers is known not to be in scope. Spares almost all threads of the
/// host the question who they are, which takes a call of the kernel.
#[inline(always)]
fn is_stranger(seat: &Seat, regs: u64, here: Here) -> bool {
    seat.stranger == regs && seat.stranger_detail == here.knobs().detail
}

/// Notes that it is not, until it is switched out.
#[inline(always)]
fn note_stranger(seat: &mut Seat, regs: u64, here: Here) {
    let detail = here.knobs().detail;
    let may_be_known = PREEMPTED.load() == 0 && scope::keeps_strangers_out();
    if may_be_known && detail::sees_switches(detail) {
        seat.stranger = regs;
        seat.stranger_detail = detail;
    }
}

#[inline(always)]
fn is_sampling(knobs: Knobs) -> bool {
    knobs.one_in > 1
}

/// Whether the call that is being entered is the one that is measured. By chance: what comes in turn
/// might always meet the same kind of call.
#[inline(always)]
fn stands_for_others(knobs: Knobs) -> bool {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_prandom_u32() & (knobs.one_in - 1) == 0 }
}

/// Whether the thread's call is not measured; spares it the clock.
#[inline(always)]
fn was_sampled_out<T: Threads>(thread: &T) -> bool {
    let Some(call) = thread.open_call() else { return false };
    if call.entered_at != 0 || call.origin != ORIGIN_SAMPLED_OUT {
        return false;
    }
    call.origin = ORIGIN_SEEN;
    true
}

/// A call that the filter leaves out has left the kernel. A handler's return says what became of
/// the call that it interrupted, whoever asks.
#[inline(always)]
fn left_out<T: Threads, R: Raise>(call: &mut OpenCall, regs: impl Regs, ret: u64) {
    if call.interrupted.stack_pointer != 0 && restart::is_sigreturn(call.kind) {
        restart::handler_returned::<R>(call, ret as i64, T::stack_pointer(regs.get()));
    }
}

/// The running thread dies. What is kept of it ends with it.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Threads>() {
    let thread = T::current();
    if scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    scope::on_thread_exit(&thread);
    let Some(here) = Here::find() else { return };
    let mut open = thread.open_call();
    if let Some(call) = &mut open {
        thread.get_up(call, here);
        if call.entered_at != 0 {
            call.entered_at = 0;
            here.count_by(Counter::EndedWithoutExit, call.knobs.one_in);
        }
        if call.interrupted.stack_pointer != 0 {
            call.interrupted.stack_pointer = 0;
            here.count_by(Counter::EndedWithoutExit, call.interrupted.knobs.one_in);
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
        None => ledger::count(Counter::OpenCallsFull),
    }
}
