//! The life of a call: enter opens it, exit closes it and finishes it, the death of its thread ends it.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_prandom_u32};
use syscost_common::{
    interrupted::Entries,
    ledger::Counter,
    off_cpu::OffCpu,
    open_call::{
        ORIGIN_LEFT_OUT, ORIGIN_NEWBORN, ORIGIN_SAMPLED_OUT, ORIGIN_SEEN, ORIGIN_UNKNOWN,
        RETURNED_LATE,
    },
    settings::{self, Settings},
    thread_state::ThreadState,
};

use crate::{
    atomic::Raise,
    cached_call,
    call::InRegisters,
    clock::now,
    diagnostics,
    event::Event,
    filter, finish,
    finished::Finished,
    interrupted,
    kind::{self, NO_CALL},
    result, scope, slots,
    storage::Storage,
    this_cpu::{self, ThisCpu},
    update::PlainOrAtomic,
};

#[inline(always)]
pub(crate) fn on_enter<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E) {
    let cpu = ThisCpu::get();
    if E::HAS_REGS
        && let Some(cache) = T::cache(cpu)
    {
        let regs = event.regs();
        if cache.regs_in_scope == regs as u64 {
            let is_same_kind = T::regs_prove_native(regs) && cache.nr == event.word();
            if !is_same_kind {
                return enter_other_kind::<T, R, E>(ctx, event, cpu);
            }
            if cached_call::enter_same_kind(cache, cpu) {
                return;
            }
        } else if cached_call::is_out_of_scope(cache, regs as u64) {
            return;
        }
        return enter_apart::<T, R, E>(ctx, event);
    }
    enter::<T, R, E>(ctx, event, cpu);
}

/// The call that is entered may be of another kind than the thread's last one. Out of line, so that one of the same kind
/// needs none of its registers and stack.
#[inline(never)]
fn enter_other_kind<T: Storage, R: Raise, E: Event>(
    ctx: &impl EbpfContext,
    event: E,
    cpu: ThisCpu,
) {
    let is_native = || T::regs_prove_native(event.regs());
    if let Some(cache) = T::cache(cpu)
        && cached_call::enter::<T>(cache, cpu, event, is_native)
    {
        return;
    }
    enter_apart::<T, R, E>(ctx, event);
}

/// The same as [`enter`], out of line like [`enter_other_kind`].
#[inline(never)]
fn enter_apart<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E) {
    enter::<T, R, E>(ctx, event, ThisCpu::get());
}

/// Opens the running thread's call, whatever is known of the thread.
#[inline(always)]
fn enter<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E, cpu: ThisCpu) {
    let left = open::<T, E>(ctx, event, cpu);
    if left == Left::Nothing {
        return;
    }
    // After all else, so that the verifier walks it from one place only.
    interrupted::record_ended::<T, R>();
    if left == Left::EndedAndBegin
        && let Some(state) = T::current().state()
    {
        state.call.entered_at = now();
    }
}

/// What is left to do at an enter.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Left {
    Nothing,
    /// Interrupted calls that have ended are to be recorded.
    Ended,
    /// The same, and then the time of the call that is entered begins.
    EndedAndBegin,
}

/// The same as [`enter`], apart from recording interrupted calls that have ended.
#[inline(always)]
fn open<T: Storage, E: Event>(ctx: &impl EbpfContext, event: E, cpu: ThisCpu) -> Left {
    let nr = event.word();
    let thread = T::current();
    let is_in_scope = scope::contains(&thread);
    T::note_scope(cpu, is_in_scope);
    if !is_in_scope {
        if E::HAS_REGS
            && let Some(cache) = T::cache(cpu)
        {
            cached_call::note_out_of_scope(cache, event.regs() as u64, cpu);
        }
        if scope::can_be_left() && thread.may_have_state() {
            enter_out_of_scope(&thread, cpu);
        }
        return Left::Nothing;
    }
    if !(E::HAS_REGS && scope::keeps_its_threads())
        && let Some(cache) = T::cache(cpu)
        && thread.is_cached(cache)
        && cached_call::enter::<T>(cache, cpu, event, || !thread.is_in_compat_call())
    {
        return Left::Nothing;
    }
    let Some(state) = thread.state_or_new() else {
        diagnostics::report(ctx, Counter::OpenCallsFull, nr, 0);
        cpu.count(Counter::OpenCallsFull);
        return Left::Nothing;
    };
    thread.write_back(state);
    let mut settings = cpu.settings();
    if settings::is_stopped(settings) {
        if state.call.entered_at == 0 {
            // This call is not the one that was open at attach.
            state.call.origin = ORIGIN_SEEN;
        }
        return Left::Nothing;
    }
    if state.call.entered_at != 0 {
        diagnostics::report(ctx, Counter::ExitsMissed, nr, state.call.kind.into());
        cpu.count_by(Counter::ExitsMissed, state.call.settings.one_in);
    }
    let origin = state.call.origin;
    state.call.origin = ORIGIN_SEEN;
    if nr as i32 == NO_CALL {
        state.call.entered_at = 0;
        return Left::Nothing;
    }
    let kind = kind::of_call(nr as u32, thread.is_in_compat_call());
    if state.restarts.entries != Entries::NONE {
        // A handler may have been off the CPU. That is not part of the call that it enters.
        thread.settle(state);
        if interrupted::resume::<T>(state, kind, event.regs()) {
            return Left::Nothing;
        }
    }
    let left = if state.restarts.entries.ended() == 0 { Left::Nothing } else { Left::Ended };
    state.call.kind = kind;
    if continues_uncounted(origin) && kind::is_restart_syscall(kind) {
        state.call.entered_at = 0;
        state.call.origin = origin;
        return left;
    }
    if filter::leaves_out(kind) {
        state.call.entered_at = 0;
        state.call.origin = ORIGIN_LEFT_OUT;
        if kind::is_of_io_uring(kind) {
            cpu.count(Counter::IoUringCalls);
        }
        return left;
    }
    if is_sampling(settings) {
        if kind::is_sigreturn(kind) {
            // Each one tells what became of an interrupted call. So none is sampled out, and each counts once.
            settings.one_in = 1;
        } else if !is_sampled(settings) {
            state.call.entered_at = 0;
            state.call.origin = ORIGIN_SAMPLED_OUT;
            cpu.count(Counter::SampledOut);
            return left;
        }
    }
    state.call.settings = settings;
    if T::SEES_SWITCHES {
        state.call.off_before = state.off_cpu.sums;
    }
    cpu.count_by(Counter::Enters, settings.one_in);
    if left == Left::Ended {
        return Left::EndedAndBegin;
    }
    // Last, so that the call is charged as little of our own time as possible.
    state.call.entered_at = now();
    Left::Nothing
}

/// Whether `restart_syscall` of a thread with this origin goes on with a call that is not counted: it was open at attach,
/// or is left out, or sampled out.
#[inline(always)]
fn continues_uncounted(origin: u32) -> bool {
    matches!(origin, ORIGIN_UNKNOWN | ORIGIN_LEFT_OUT | ORIGIN_SAMPLED_OUT)
}

/// The running thread enters a call out of scope. If it was in scope before, and is again when the call exits, that exit
/// has no enter.
#[inline(never)]
fn enter_out_of_scope<T: Storage>(thread: &T, cpu: ThisCpu) {
    let Some(state) = thread.state() else { return };
    thread.write_back(state);
    if settings::is_stopped(cpu.settings()) {
        return;
    }
    if state.call.entered_at != 0 {
        cpu.count_by(Counter::ExitsMissed, state.call.settings.one_in);
        state.call.entered_at = 0;
    }
    if state.restarts.entries != Entries::NONE {
        interrupted::leave_scope::<T>(state);
    }
    state.call.origin = ORIGIN_UNKNOWN;
}

#[inline(always)]
pub(crate) fn on_exit<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E) {
    let cpu = ThisCpu::get();
    if E::HAS_REGS
        && let Some(cache) = T::cache(cpu)
    {
        let regs = event.regs() as u64;
        if cache.regs == regs {
            if result::may_be_errno(event.word()) {
                return exit_failed::<T, R, E>(ctx, event, cpu);
            }
            if cached_call::exit_to_cell(cache, cpu, 0) {
                return;
            }
        } else if cached_call::is_out_of_scope(cache, regs) {
            return;
        }
        return exit_apart::<T, R, E>(ctx, event);
    }
    exit::<T, R, E>(ctx, event, cpu);
}

/// The cached call has failed, or was interrupted. Out of line, so that a call that succeeds asks for neither.
#[inline(never)]
fn exit_failed<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E, cpu: ThisCpu) {
    let ret = event.word() as i64;
    if let Some(cache) = T::cache(cpu)
        && !result::is_interruption(ret)
        && cached_call::exit_to_cell(cache, cpu, result::errno(ret))
    {
        return;
    }
    exit_apart::<T, R, E>(ctx, event);
}

/// The same as [`exit`], out of line, like [`enter_apart`].
#[inline(never)]
fn exit_apart<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E) {
    exit::<T, R, E>(ctx, event, ThisCpu::get());
}

/// Closes the running thread's call, whatever is known of the thread.
#[inline(always)]
fn exit<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E, cpu: ThisCpu) {
    // Last, so that the verifier walks it from one place only.
    if close::<T, R, E>(ctx, event, cpu) {
        interrupted::record_ended::<T, R>();
    }
}

/// The same as [`exit`], apart from recording interrupted calls that have ended. Returns whether there are any.
#[inline(always)]
fn close<T: Storage, R: Raise, E: Event>(ctx: &impl EbpfContext, event: E, cpu: ThisCpu) -> bool {
    let ret = event.word();
    let thread = T::current();
    // The thread was in scope when it entered the call that the cache holds.
    if !(E::HAS_REGS && finish::goes_to_cells_only())
        && let Some(cache) = T::cache(cpu)
        && thread.is_cached(cache)
        && cached_call::exit_to_all(cache, cpu, &thread, event)
    {
        return false;
    }
    if scope::is_constant() && !scope::contains(&thread) {
        return false;
    }
    let settings = cpu.settings();
    if is_sampling(settings) && was_sampled_out(&thread, ret as i64) {
        return false;
    }
    // Before all that takes longer, so that the call is charged as little of our own time as possible.
    let now = now();
    let mut open = thread.state();
    if let Some(state) = &mut open {
        thread.write_back(state);
    }
    if settings::is_stopped(settings) {
        close_unrecorded(open);
        return false;
    }
    let is_open = matches!(&open, Some(state) if state.call.entered_at != 0);
    if !is_open && !scope::is_constant() && !scope::contains(&thread) {
        return false;
    }
    if !is_open && !cpu.sees_enters() {
        // The call ends before the window begins. So may the thread's next one.
        if let Some(state) = open {
            state.call.origin = ORIGIN_UNKNOWN;
        }
        return false;
    }
    let Some(state) = open else {
        // From now on the thread has a state: only one of its calls can have been open at attach.
        if let Some(state) = thread.state_or_new() {
            state.call.origin = ORIGIN_SEEN;
            if interrupted::is_interrupted::<T>(ret as i64) {
                interrupted::interrupt::<T>(state, 0, now, event.regs());
                return false;
            }
        }
        cpu.count(T::exit_without_state());
        return false;
    };
    let entered_at = state.call.entered_at;
    // A handler's return tells what became of the call that it interrupted, also where the filter leaves it out.
    if (state.restarts.entries != Entries::NONE || kind::is_sigreturn(state.call.kind))
        && (is_open || state.call.origin == ORIGIN_LEFT_OUT)
    {
        interrupted::before_exit::<T>(state, ret as i64, event.regs());
    } else if state.restarts.may_restart != 0 && state.call.origin == ORIGIN_SEEN && !is_open {
        interrupted::denied::<T>(state, ret as i64, event.regs());
    }
    let any_ended = state.restarts.entries.ended() != 0;
    if entered_at == 0 {
        exit_unopened::<T, E>(state, event, ret as i64, now, cpu);
        return any_ended;
    }
    state.call.entered_at = 0;
    thread.settle(state);
    let mut ret = ret as i64;
    let kind = state.call.kind;
    if kind::is_sigreturn(kind) {
        // The register does not hold this call's result, and no interruption either.
        ret = 0;
    } else if interrupted::is_interrupted::<T>(ret) {
        interrupted::interrupt::<T>(state, entered_at, now, event.regs());
        return any_ended;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else {
        diagnostics::report(ctx, Counter::Discarded, now, entered_at);
        cpu.count_by(Counter::Discarded, state.call.settings.one_in);
        return any_ended;
    };
    let call = &state.call;
    let seen = T::SEES_SWITCHES && settings::saw_all_switches(call.settings, settings);
    let off =
        if T::SEES_SWITCHES { state.off_cpu.sums.since(call.off_before) } else { OffCpu::NONE };
    let weight = call.settings.one_in;
    thread.fill_cache(state, cpu, if E::HAS_REGS { event.regs() as u64 } else { 0 });
    let finished = Finished { latency_ns, seen, off, weight, errno: result::errno(ret) };
    let call = InRegisters::<T, _>::new(kind, || event.regs());
    let cell = |kind| slots::cell_of(cpu, kind, weight);
    finish::call::<PlainOrAtomic<R>, T, _>(cpu, &thread, finished, &call, cell);
    any_ended
}

/// The exit of a call that is not open: it was not seen, or is not counted.
#[inline(always)]
fn exit_unopened<T: Storage, E: Event>(
    state: &mut ThreadState,
    event: E,
    ret: i64,
    now: u64,
    cpu: ThisCpu,
) {
    let origin = state.call.origin;
    if interrupted::is_interrupted::<T>(ret) {
        match origin {
            ORIGIN_UNKNOWN => {
                state.call.origin = ORIGIN_SEEN;
                return interrupted::interrupt::<T>(state, 0, now, event.regs());
            }
            // The origin stays, for the call that it may go on with.
            ORIGIN_LEFT_OUT => return,
            ORIGIN_SAMPLED_OUT => {
                state.call.origin = ORIGIN_SEEN;
                return interrupted::interrupt_unrecorded::<T>(state, event.regs());
            }
            _ => {}
        }
    }
    state.call.origin = ORIGIN_SEEN;
    cpu.count(match origin {
        ORIGIN_SAMPLED_OUT | ORIGIN_LEFT_OUT => return,
        ORIGIN_NEWBORN => Counter::NewbornExits,
        ORIGIN_UNKNOWN => Counter::OpenAtAttach,
        _ => Counter::OrphanExits,
    });
}

/// A call exits after the measurement has ended. It was open then, and is listed as such, without its arguments, which are
/// gone.
fn close_unrecorded(open: Option<&mut ThreadState>) {
    if let Some(state) = open {
        if state.call.entered_at == 0 {
            state.call.origin = ORIGIN_SEEN;
        } else {
            state.call.entered_at |= RETURNED_LATE;
        }
    }
}

#[inline(always)]
fn is_sampling(settings: Settings) -> bool {
    settings.one_in > 1
}

/// Whether the call that is entered is one that is measured. Decided by chance: every n-th call might always be of the same
/// kind.
#[inline(always)]
fn is_sampled(settings: Settings) -> bool {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_prandom_u32() & (settings.one_in - 1) == 0 }
}

/// Whether the thread's call, which exits, is sampled out; saves reading the clock.
#[inline(always)]
fn was_sampled_out<T: Storage>(thread: &T, ret: i64) -> bool {
    let Some(state) = thread.state() else { return false };
    let was = state.call.entered_at == 0 && state.call.origin == ORIGIN_SAMPLED_OUT;
    if !was || result::is_interruption(ret) {
        return false;
    }
    state.call.origin = ORIGIN_SEEN;
    true
}

/// The running thread dies. Its open call ends without an exit.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Storage, R: Raise>() {
    let thread = T::current();
    if !scope::may_have_contained(&thread, || thread.state().is_some()) {
        return;
    }
    if T::SEES_SWITCHES && scope::contains(&thread) {
        // The rest of its exit, such as freeing its memory, takes CPU time that counts.
        match thread.state_or_new() {
            Some(state) => state.call.exits_in_scope = 1,
            None => this_cpu::count(Counter::SlicesMissed),
        }
    }
    scope::on_thread_exit(&thread);
    let cpu = ThisCpu::get();
    if let Some(state) = thread.state() {
        thread.write_back(state);
        let is_stopped = settings::is_stopped(cpu.settings());
        if state.call.entered_at != 0 && !is_stopped {
            cpu.count_by(Counter::EndedWithoutExit, state.call.settings.one_in);
        }
        state.call.entered_at = 0;
        if state.restarts.entries != Entries::NONE && !is_stopped {
            interrupted::on_thread_exit::<T, R>(state);
        }
    }
    thread.forget();
}

/// The running thread has forked `child`. The child's first exit is that of its parent's call, without an enter. Its state
/// says so, which tells that exit from orphan exits.
#[inline(always)]
pub(crate) fn on_fork<T: Storage>(child: &T) {
    if !scope::contains_child(child) {
        return;
    }
    match child.state_or_new() {
        Some(state) => {
            state.call.origin = ORIGIN_NEWBORN;
            // A child that is forked in a handler may return from it. This many handlers never run out.
            state.restarts.handlers = u32::MAX / 2;
        }
        None => this_cpu::count(Counter::OpenCallsFull),
    }
}
