//! The life of a call: enter opens it, exit closes it and hands its latency on, death ends it.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_prandom_u32};
use syscost_common::{
    cell::{self, OVERFLOW_SLOT},
    cpu_state::{CallCache, NO_CELL, NO_NR},
    filter::LEFT_OUT,
    interrupted::Entries,
    ledger::Counter,
    off_cpu::OffCpu,
    open_call::{
        ORIGIN_LEFT_OUT, ORIGIN_NEWBORN, ORIGIN_SAMPLED_OUT, ORIGIN_SEEN, ORIGIN_UNKNOWN, OpenCall,
        RETURNED_LATE,
    },
    settings::{self, Settings},
};

use crate::{
    atomic::Raise,
    clock::now,
    constant::constant,
    diagnostics, filter, interrupted, kind,
    maps::{MACHINE, PREEMPTED},
    record::{self, Finished},
    regs::Regs,
    scope,
    this_cpu::{self, ThisCpu},
    threads::Threads,
    update::{Plain, PlainOrAtomic, Update},
};

/// The number of a call that will not be made: a tracer has taken the program's away (ptrace(2)), or
/// the program gave none that could be. Its exit is one without an enter, as after a seccomp denial.
const NO_CALL: i32 = -1;

#[inline(always)]
pub(crate) fn on_enter<T: Threads, R: Raise, G: Regs>(ctx: &impl EbpfContext, regs: G, nr: u64) {
    let Some(cpu) = ThisCpu::find() else { return };
    if G::AT_HAND
        && let Some(cache) = T::cache(cpu)
    {
        let place = regs.get() as u64;
        if cache.regs_in_scope == place
            && enter_cached::<T>(cache, cpu, nr, || T::came_by_a_native_call(regs.get()))
        {
            return;
        }
        if is_out_of_scope(cache, place, cpu) {
            return;
        }
        return enter_apart::<T, R, G>(ctx, regs, nr, cpu);
    }
    enter::<T, R, G>(ctx, regs, nr, cpu);
}

/// The same as [`enter`], out of line: what is found on a seat needs none of its registers and stack.
#[inline(never)]
fn enter_apart<T: Threads, R: Raise, G: Regs>(
    ctx: &impl EbpfContext,
    regs: G,
    nr: u64,
    cpu: ThisCpu,
) {
    enter::<T, R, G>(ctx, regs, nr, cpu);
}

/// Opens the running thread's call, whatever is known of it.
#[inline(always)]
fn enter<T: Threads, R: Raise, G: Regs>(ctx: &impl EbpfContext, regs: G, nr: u64, cpu: ThisCpu) {
    let left = open::<T, G>(ctx, regs, nr, cpu);
    if left == Left::Nothing {
        return;
    }
    // Behind all else, so that the verifier follows that from one place.
    interrupted::record_ended::<T, R>();
    if left == Left::EndedAndBegin
        && let Some(call) = T::current().open_call()
    {
        call.entered_at = now();
    }
}

/// What is left to do at an enter.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Left {
    Nothing,
    /// Interrupted calls that have ended are to be recorded.
    Ended,
    /// The same, and the call that is entered begins then.
    EndedAndBegin,
}

/// As [`enter`], but for the interrupted calls that have ended.
#[inline(always)]
fn open<T: Threads, G: Regs>(ctx: &impl EbpfContext, regs: G, nr: u64, cpu: ThisCpu) -> Left {
    let thread = T::current();
    let is_in_scope = scope::contains(&thread);
    T::note_scope(cpu, is_in_scope);
    if !is_in_scope {
        if G::AT_HAND
            && let Some(cache) = T::cache(cpu)
        {
            note_out_of_scope(cache, regs.get() as u64, cpu);
        }
        if scope::can_be_left() && thread.may_be_known() {
            enter_outside(&thread, cpu);
        }
        return Left::Nothing;
    }
    if !(G::AT_HAND && scope::keeps_its_threads())
        && let Some(cache) = T::cache(cpu)
        && cache.task == thread.address()
        && enter_cached::<T>(cache, cpu, nr, || !thread.is_in_compat_call())
    {
        return Left::Nothing;
    }
    let Some(call) = thread.open_call_or_new() else {
        diagnostics::report(ctx, Counter::OpenCallsFull, nr, 0);
        cpu.count(Counter::OpenCallsFull);
        return Left::Nothing;
    };
    thread.write_back(call, cpu);
    let mut settings = cpu.settings();
    if settings::is_stopped(settings) {
        if call.entered_at == 0 {
            // Whatever it is in now is not the call that it was in at attach.
            call.origin = ORIGIN_SEEN;
        }
        return Left::Nothing;
    }
    if call.entered_at != 0 {
        diagnostics::report(ctx, Counter::ExitsMissed, nr, call.kind.into());
        cpu.count_by(Counter::ExitsMissed, call.settings.one_in);
    }
    let origin = call.origin;
    call.origin = ORIGIN_SEEN;
    if nr as i32 == NO_CALL {
        call.entered_at = 0;
        return Left::Nothing;
    }
    let kind = kind::of_call(nr as u32, thread.is_in_compat_call());
    if call.interrupted != Entries::NONE {
        // The handler may have been off the CPU, and its own call begins with what that adds up to.
        thread.settle(call);
        if interrupted::resume::<T>(call, kind, regs.get()) {
            return Left::Nothing;
        }
    }
    let left = if call.interrupted.ended() == 0 { Left::Nothing } else { Left::Ended };
    call.kind = kind;
    if continues_uncounted(origin) && interrupted::is_restart_syscall(kind) {
        call.entered_at = 0;
        call.origin = origin;
        return left;
    }
    if filter::leaves_out(kind) {
        call.entered_at = 0;
        call.origin = ORIGIN_LEFT_OUT;
        if kind::is_of_io_uring(kind) {
            cpu.count(Counter::IoUringCalls);
        }
        return left;
    }
    if is_sampling(settings) {
        if interrupted::is_sigreturn(kind) {
            // Each one tells what became of an interrupted call, and so stands for itself.
            settings.one_in = 1;
        } else if !stands_for_others(settings) {
            call.entered_at = 0;
            call.origin = ORIGIN_SAMPLED_OUT;
            cpu.count(Counter::SampledOut);
            return left;
        }
    }
    call.settings = settings;
    if T::SEES_SWITCHES {
        call.off_before = call.off;
    }
    cpu.count_by(Counter::Enters, settings.one_in);
    if left == Left::Ended {
        return Left::EndedAndBegin;
    }
    // Last, so that the call is charged as little of our own time as possible.
    call.entered_at = now();
    Left::Nothing
}

/// Whether `restart_syscall` of a thread with this origin goes on with a call that is not counted: one that
/// was open at attach, or is left out, or another one of a sample stands for.
#[inline(always)]
fn continues_uncounted(origin: u32) -> bool {
    matches!(origin, ORIGIN_UNKNOWN | ORIGIN_LEFT_OUT | ORIGIN_SAMPLED_OUT)
}

/// The running thread enters a call outside the scope. If it has been in scope before, its exit is one
/// of a call that nobody saw begin, should it be in scope again by then.
#[inline(never)]
fn enter_outside<T: Threads>(thread: &T, cpu: ThisCpu) {
    let Some(call) = thread.open_call() else { return };
    thread.write_back(call, cpu);
    if settings::is_stopped(cpu.settings()) {
        return;
    }
    if call.entered_at != 0 {
        cpu.count_by(Counter::ExitsMissed, call.settings.one_in);
        call.entered_at = 0;
    }
    if call.interrupted != Entries::NONE {
        interrupted::leave_scope::<T>(call);
    }
    call.origin = ORIGIN_UNKNOWN;
}

/// Opens the call of the thread that sits on `seat`. `is_native`: whether the call is one for certain.
/// `false`: its storage must know of this one.
#[inline(always)]
fn enter_cached<T: Threads>(
    cache: &mut CallCache,
    cpu: ThisCpu,
    nr: u64,
    is_native: impl FnOnce() -> bool,
) -> bool {
    if cache.entered_at != 0 || !cpu.still_has(&cache.settings) {
        return false;
    }
    let is_native = is_native();
    if !(is_native && cache.nr == nr) {
        let is_native = is_native && constant!(MACHINE.regs_tell_native) != 0;
        let is_compat = !is_native && T::current().is_in_compat_call();
        if !change_kind(cache, cpu, nr, is_compat) {
            return false;
        }
    }
    // SAFETY: a live map value.
    unsafe { Plain::add64(cpu.counter(Counter::Enters), 1) };
    // Last, so that the call is charged as little of our own time as possible.
    cache.entered_at = now();
    true
}

/// The call that is being entered is of another kind than the last one. `false`: of one that the thread's
/// storage must know of.
#[inline(always)]
fn change_kind(cache: &mut CallCache, cpu: ThisCpu, nr: u64, is_compat: bool) -> bool {
    let kind = kind::of_call(nr as u32, is_compat);
    let slot = record::slot_entry(kind);
    if nr as i32 == NO_CALL || slot == LEFT_OUT || interrupted::is_sigreturn(kind) {
        return false;
    }
    // Where the registers of a 32-bit call may look like those of a native one, each call is asked for anew.
    let is_known_by_nr = !is_compat && constant!(MACHINE.regs_tell_native) != 0;
    cache.nr = if is_known_by_nr { nr } else { NO_NR };
    cache.kind = kind;
    cache.cell = if slot == OVERFLOW_SLOT { NO_CELL } else { cell::index(cpu.number, slot) };
    true
}

/// The cell for the seated thread's call. Its kind is handed a slot at its first occurrence.
#[inline(always)]
fn cell_of(cache: &mut CallCache, cpu: ThisCpu) -> u32 {
    if cache.cell == NO_CELL {
        let slot = record::slot_of(cpu, cache.kind, 1);
        let cell = cell::index(cpu.number, slot);
        if slot != OVERFLOW_SLOT {
            cache.cell = cell;
        }
        return cell;
    }
    cache.cell
}

#[inline(always)]
pub(crate) fn on_exit<T: Threads, R: Raise, G: Regs>(ctx: &impl EbpfContext, regs: G, ret: u64) {
    let Some(cpu) = ThisCpu::find() else { return };
    if G::AT_HAND
        && let Some(cache) = T::cache(cpu)
    {
        let place = regs.get() as u64;
        if cache.regs == place && exit_cached(cache, cpu, ret as i64) {
            return;
        }
        if is_out_of_scope(cache, place, cpu) {
            return;
        }
        return exit_apart::<T, R, G>(ctx, regs, ret, cpu);
    }
    exit::<T, R, G>(ctx, regs, ret, cpu);
}

/// The same as [`exit`], out of line, like [`enter_apart`].
#[inline(never)]
fn exit_apart<T: Threads, R: Raise, G: Regs>(
    ctx: &impl EbpfContext,
    regs: G,
    ret: u64,
    cpu: ThisCpu,
) {
    exit::<T, R, G>(ctx, regs, ret, cpu);
}

/// Closes the running thread's call, whatever is known of it.
#[inline(always)]
fn exit<T: Threads, R: Raise, G: Regs>(ctx: &impl EbpfContext, regs: G, ret: u64, cpu: ThisCpu) {
    // Last, so that the verifier follows that from one place.
    if close::<T, R, G>(ctx, regs, ret, cpu) {
        interrupted::record_ended::<T, R>();
    }
}

/// The same, but for interrupted calls that have ended: returns whether there are any.
#[inline(always)]
fn close<T: Threads, R: Raise, G: Regs>(
    ctx: &impl EbpfContext,
    regs: G,
    ret: u64,
    cpu: ThisCpu,
) -> bool {
    let thread = T::current();
    if scope::is_constant() && !scope::contains(&thread) {
        return false;
    }
    if !G::AT_HAND
        && let Some(cache) = T::cache(cpu)
        && cache.task == thread.address()
        && exit_cached(cache, cpu, ret as i64)
    {
        return false;
    }
    let settings = cpu.settings();
    if is_sampling(settings) && was_sampled_out(&thread, ret as i64) {
        return false;
    }
    // Before all that takes longer, for the same reason.
    let now = now();
    let mut open = thread.open_call();
    if let Some(call) = &mut open {
        thread.write_back(call, cpu);
    }
    if settings::is_stopped(settings) {
        close_unrecorded(open);
        return false;
    }
    let is_open = matches!(&open, Some(call) if call.entered_at != 0);
    if !is_open && !scope::is_constant() && !scope::contains(&thread) {
        return false;
    }
    let Some(call) = open else {
        // A call that ends before the window begins.
        if !cpu.sees_enters() {
            return false;
        }
        // Known from now on: only one call can have been open unseen.
        if let Some(call) = thread.open_call_or_new() {
            call.origin = ORIGIN_SEEN;
            if interrupted::is_interrupted::<T>(ret as i64) {
                interrupted::interrupt::<T>(call, 0, now, regs.get());
                return false;
            }
        }
        cpu.count(T::exit_of_unknown());
        return false;
    };
    let entered_at = call.entered_at;
    // A handler's return says what became of the call that it interrupted, also where the filter leaves
    // it out.
    if (call.interrupted != Entries::NONE || interrupted::is_sigreturn(call.kind))
        && (is_open || call.origin == ORIGIN_LEFT_OUT)
    {
        interrupted::before_exit::<T>(call, ret as i64, regs.get());
    } else if call.may_restart != 0 && call.origin == ORIGIN_SEEN && !is_open {
        interrupted::denied::<T>(call, ret as i64, regs.get());
    }
    let any_ended = call.interrupted.ended() != 0;
    if entered_at == 0 {
        exit_unopened::<T, G>(call, regs, ret as i64, now, cpu);
        return any_ended;
    }
    call.entered_at = 0;
    thread.settle(call);
    let mut ret = ret as i64;
    let kind = call.kind;
    if interrupted::is_sigreturn(kind) {
        // What the register holds is not this call's result, and not an interruption either.
        ret = 0;
    } else if interrupted::is_interrupted::<T>(ret) {
        interrupted::interrupt::<T>(call, entered_at, now, regs.get());
        return any_ended;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else {
        diagnostics::report(ctx, Counter::Discarded, now, entered_at);
        cpu.count_by(Counter::Discarded, call.settings.one_in);
        return any_ended;
    };
    let seen = T::SEES_SWITCHES && was_seen(call.settings, settings);
    let off = if T::SEES_SWITCHES { call.off.since(call.off_before) } else { OffCpu::NONE };
    let weight = call.settings.one_in;
    thread.fill(call, cpu, if G::AT_HAND { regs.get() as u64 } else { 0 });
    let finished = Finished { latency_ns, seen, off, weight, errno: record::errno(ret) };
    let cell = || record::cell_of(cpu, kind, weight);
    record::call::<PlainOrAtomic<R>>(cpu, finished, Some(&mut call.totals), cell);
    any_ended
}

/// The exit of a call that is not open: it was not seen, or is not counted.
#[inline(always)]
fn exit_unopened<T: Threads, G: Regs>(
    call: &mut OpenCall,
    regs: G,
    ret: i64,
    now: u64,
    cpu: ThisCpu,
) {
    let origin = call.origin;
    if !cpu.sees_enters() {
        // Of a thread that is known because it was forked, or is to be. The call ends before the window begins, and
        // so may the next one.
        call.origin = ORIGIN_UNKNOWN;
        return;
    }
    if interrupted::is_interrupted::<T>(ret) {
        match origin {
            ORIGIN_UNKNOWN => {
                call.origin = ORIGIN_SEEN;
                return interrupted::interrupt::<T>(call, 0, now, regs.get());
            }
            // Kept for what it may go on with.
            ORIGIN_LEFT_OUT => return,
            ORIGIN_SAMPLED_OUT => {
                call.origin = ORIGIN_SEEN;
                return interrupted::interrupt_unrecorded::<T>(call, regs.get());
            }
            _ => {}
        }
    }
    call.origin = ORIGIN_SEEN;
    cpu.count(match origin {
        ORIGIN_SAMPLED_OUT | ORIGIN_LEFT_OUT => return,
        ORIGIN_NEWBORN => Counter::NewbornExits,
        ORIGIN_UNKNOWN => Counter::OpenAtAttach,
        _ => Counter::OrphanExits,
    });
}

/// The measurement is over, and the account of its calls closed: this one was open then. Its arguments are
/// gone.
fn close_unrecorded(open: Option<&mut OpenCall>) {
    if let Some(call) = open {
        if call.entered_at == 0 {
            call.origin = ORIGIN_SEEN;
        } else {
            call.entered_at |= RETURNED_LATE;
        }
    }
}

/// Closes the call of the thread that sits on `seat`: it has not left this CPU since it entered it.
/// `false`: its storage must know of this one.
#[inline(always)]
fn exit_cached(cache: &mut CallCache, cpu: ThisCpu, ret: i64) -> bool {
    let entered_at = cache.entered_at;
    if entered_at == 0 || !cpu.still_has(&cache.settings) {
        return false;
    }
    let now = now();
    let errno = record::errno(ret);
    if errno != 0 && interrupted::is_interruption(ret) {
        return false;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else { return false };
    cache.entered_at = 0;
    let finished = Finished { latency_ns, seen: true, off: OffCpu::NONE, weight: 1, errno };
    record::call::<Plain>(cpu, finished, None, || cell_of(cache, cpu));
    true
}

/// Whether all context switches were seen between two moments with these settings.
#[inline(always)]
pub(crate) fn was_seen(then: Settings, now: Settings) -> bool {
    then.detail == now.detail && settings::sees_switches(now.detail)
}

/// Whether the thread with these registers is known not to be in scope. Spares almost all threads of the
/// host the question who they are, which takes a call of the kernel.
#[inline(always)]
fn is_out_of_scope(cache: &CallCache, regs: u64, cpu: ThisCpu) -> bool {
    cache.out_of_scope_regs == regs && cache.out_of_scope_detail == cpu.settings().detail
}

/// Notes that it is not, until it is switched out.
#[inline(always)]
fn note_out_of_scope(cache: &mut CallCache, regs: u64, cpu: ThisCpu) {
    let detail = cpu.settings().detail;
    let may_be_known = PREEMPTED.load() == 0 && scope::keeps_others_out();
    if may_be_known && settings::sees_switches(detail) {
        cache.out_of_scope_regs = regs;
        cache.out_of_scope_detail = detail;
    }
}

#[inline(always)]
fn is_sampling(settings: Settings) -> bool {
    settings.one_in > 1
}

/// Whether the call that is being entered is the one that is measured. By chance: what comes in turn
/// might always meet the same kind of call.
#[inline(always)]
fn stands_for_others(settings: Settings) -> bool {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_prandom_u32() & (settings.one_in - 1) == 0 }
}

/// Whether the thread's call is not measured and has ended; spares it the clock.
#[inline(always)]
fn was_sampled_out<T: Threads>(thread: &T, ret: i64) -> bool {
    let Some(call) = thread.open_call() else { return false };
    let was = call.entered_at == 0 && call.origin == ORIGIN_SAMPLED_OUT;
    if !was || interrupted::is_interruption(ret) {
        return false;
    }
    call.origin = ORIGIN_SEEN;
    true
}

/// The running thread dies. What is kept of it ends with it.
#[inline(always)]
pub(crate) fn on_thread_exit<T: Threads, R: Raise>() {
    let thread = T::current();
    if !scope::may_have_contained(&thread) {
        return;
    }
    if T::SEES_SWITCHES && scope::contains(&thread) {
        // What it still does, such as giving its memory back, takes CPU time.
        match thread.open_call_or_new() {
            Some(call) => call.exits_in_scope = 1,
            None => this_cpu::count(Counter::SlicesMissed),
        }
    }
    scope::on_thread_exit(&thread);
    let Some(cpu) = ThisCpu::find() else { return };
    let mut open = thread.open_call();
    if let Some(call) = &mut open {
        thread.write_back(call, cpu);
        let is_stopped = settings::is_stopped(cpu.settings());
        if call.entered_at != 0 && !is_stopped {
            cpu.count_by(Counter::EndedWithoutExit, call.settings.one_in);
        }
        call.entered_at = 0;
        if call.interrupted != Entries::NONE && !is_stopped {
            interrupted::on_thread_exit::<T, R>(call);
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
        Some(call) => {
            call.origin = ORIGIN_NEWBORN;
            // Forked in a handler, it returns from one that it was not seen to begin.
            call.handlers = u32::MAX / 2;
        }
        None => this_cpu::count(Counter::OpenCallsFull),
    }
}
