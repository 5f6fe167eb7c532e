//! Interrupted calls: one call to the program, however often the kernel enters it.
//!
//! A signal takes a blocked call out of the kernel with a result from ERESTARTSYS to ERESTART_RESTARTBLOCK, which the
//! program never sees. Three things can follow:
//!
//! - No handler runs: the very next enter is the same call again.
//! - A handler runs and returns. Its `rt_sigreturn` restores the stack pointer of the call. The instruction pointer says
//!   what follows: at the system call instruction, the next enter is the same call again; behind it, the call has ended
//!   with what the result register holds.
//! - A handler runs and never returns: the call is abandoned. It ended when it left the kernel.
//!
//! So an enter is a restart only if no handler has run since the call, or the `rt_sigreturn` to it, left the kernel. Where
//! a debugger lets the thread make other calls in between, an enter may be taken for a restart as a guess, see
//! [`is_aside`]. Abandoned calls are found by the stack pointers of later calls, by a successful exec, and at the death of
//! their thread (`abandoned`). Calls that have ended are recorded before the program that has found it out ends.
//!
//! An entry is also saved for a call that was open at attach, or was interrupted before: what goes on with it is no new
//! call either. See [`Interrupted::was_seen`].
//!
//! All of this is rare and out of line, so that it does not take registers from the hot path.

use aya_ebpf::bindings::pt_regs;
use syscost_common::{
    interrupted::{
        ABANDONED, Entries, Interrupted, InterruptedCalls, MAX_ENTERS_IN_HANDLER, MAX_INTERRUPTED,
        MAX_UNSEEN_RETURNS,
    },
    ledger::Counter,
    open_call::{ORIGIN_LEFT_OUT, ORIGIN_SAMPLED_OUT, ORIGIN_SEEN, ORIGIN_UNKNOWN},
    settings,
    thread_state::ThreadState,
};

use self::{
    abandoned::{Came, abandon_all, abandon_below, find_abandoned},
    entries::{
        ALL, Place, choose, end, end_oldest, first_of, goes_on_as, is_aside, is_at, keep, load,
        store,
    },
};
use crate::{
    atomic::Raise,
    call::{ARGS, Call, InRegisters},
    constant::constant,
    finish,
    finished::Finished,
    kind,
    maps::MACHINE,
    result::{self, EINTR, ENOSYS},
    scope, slots,
    storage::Storage,
    this_cpu::{self, ThisCpu},
    update::PlainOrAtomic,
};

mod abandoned;
mod entries;

pub(crate) use entries::keep_unseen;

/// `SIG_DFL` and `SIG_IGN` (include/uapi/asm-generic/signal-defs.h): no handler.
const SIG_IGN: u64 = 1;

/// Whether the running thread's call, which leaves the kernel with `ret`, was interrupted. Some calls that were not have
/// such results too: `ioctl` of a file system in user space, `F_GETOWN` of process group 513.
#[inline(always)]
pub(crate) fn is_interrupted<T: Storage>(ret: i64) -> bool {
    result::is_interruption(ret) && may_be_interrupted::<T>()
}

#[inline(never)]
fn may_be_interrupted<T: Storage>() -> bool {
    T::current().may_be_interrupted()
}

/// The open call has left the kernel at `now`, interrupted. `entered_at`: 0 for a call that was open at attach.
#[inline(never)]
pub(crate) fn interrupt<T: Storage>(
    state: &mut ThreadState,
    entered_at: u64,
    now: u64,
    regs: *const pt_regs,
) {
    let cpu = ThisCpu::get();
    if entered_at == 0 {
        state.call.settings.one_in = 1;
        cpu.count(Counter::OpenAtAttach);
    }
    let thread = T::current();
    let Some(saved) = thread.interrupted_or_new() else {
        // As if it had never been entered. If the kernel enters it again, that counts as another call.
        if entered_at != 0 {
            cpu.uncount(Counter::Enters, state.call.settings.one_in);
        }
        return cpu.count_by(Counter::OpenCallsFull, state.call.settings.one_in);
    };
    if entered_at != 0 {
        cpu.count_by(Counter::Interrupted, state.call.settings.one_in);
    }
    let place = place::<T>(regs);
    let index = keep(state, saved, place, thread.signal_stack());
    let entry = &mut saved.calls[index as usize];
    entry.entered_at = entered_at;
    entry.left_at = now;
    entry.settings = state.call.settings;
    entry.off_before = state.call.off_before;
    entry.off_at_leaving = state.off_cpu.sums;
    entry.kind = state.call.kind;
    entry.origin = ORIGIN_UNKNOWN;
    let call = InRegisters::<T, _>::new(state.call.kind, || regs);
    for index in 0..ARGS {
        entry.args[index] = call.arg(index);
    }
    if load(state).pending() == ALL {
        end_oldest(state, saved);
    }
}

/// A call that is sampled out has left the kernel, interrupted.
#[inline(never)]
pub(crate) fn interrupt_unrecorded<T: Storage>(state: &mut ThreadState, regs: *const pt_regs) {
    let thread = T::current();
    // As if it had ended. If the kernel enters it again, that counts as another call.
    let Some(saved) = thread.interrupted_or_new() else {
        return this_cpu::count(Counter::OpenCallsFull);
    };
    keep_unseen(state, saved, place::<T>(regs), thread.signal_stack(), ORIGIN_SAMPLED_OUT);
}

/// Whether the call of `kind` that is being entered is an interrupted one. If so, it is open again, with the time when it
/// was first entered. `regs`: the registers at this enter.
#[inline(never)]
pub(crate) fn resume<T: Storage>(state: &mut ThreadState, kind: u32, regs: *const pt_regs) -> bool {
    let expected = state.restarts.may_restart;
    state.restarts.may_restart = 0;
    let thread = T::current();
    let Some(saved) = thread.interrupted() else { return false };
    let place = place::<T>(regs);
    if expected != 0 {
        let index = (expected - 1) & (MAX_INTERRUPTED - 1);
        let entry = &saved.calls[index as usize];
        if is_at(entry, place) && goes_on_as(entry, kind) {
            if !entry.was_seen() && state.restarts.unseen_returns > MAX_UNSEEN_RETURNS {
                this_cpu::count(Counter::RestartsGuessed);
            }
            take_up(state, saved, index, kind);
            return true;
        }
        if is_at(entry, place) {
            // Its handler has changed which call is made there.
            end(state, saved, index, ABANDONED, false);
        } else if entry.left_at == 0 {
            // It was a guess that a call was interrupted there.
            store(state, load(state).without(index));
        }
    }
    if take_up_aside(state, saved, place, kind) {
        return true;
    }
    find_abandoned(state, saved, place.0, Came::ByCall);
    saved.enters += 1;
    if saved.enters > MAX_ENTERS_IN_HANDLER {
        abandon_all(state, saved, true);
    }
    if load(state).assumed() != 0 {
        saved.enters_since_assumed += 1;
        if saved.enters_since_assumed > MAX_ENTERS_IN_HANDLER {
            store(state, load(state).settled());
        }
    }
    false
}

/// Whether the call of `kind` at `place` is one that was set aside, see [`is_aside`]. If so, it is open again. That is a
/// guess.
#[inline(always)]
fn take_up_aside(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    place: Place,
    kind: u32,
) -> bool {
    for index in 0..MAX_INTERRUPTED {
        let entry = &saved.calls[index as usize];
        let is_pending = load(state).pending() & 1 << index != 0;
        if !(is_pending && is_aside(state, entry) && is_at(entry, place)) {
            continue;
        }
        this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
        if !goes_on_as(entry, kind) {
            // The debugger, or a tracer, has put another call in its place.
            end(state, saved, index, ABANDONED, false);
            return false;
        }
        take_up(state, saved, index, kind);
        abandon_below(state, saved, place.0);
        return true;
    }
    false
}

/// The pending call in entry `index` is entered again, as a call of `kind`.
#[inline(always)]
fn take_up(state: &mut ThreadState, saved: &InterruptedCalls, index: u32, kind: u32) {
    let entry = &saved.calls[index as usize];
    if entry.was_seen() {
        this_cpu::count_by(Counter::Restarts, entry.settings.one_in);
        state.call.kind = entry.kind;
        state.call.settings = entry.settings;
        state.call.off_before = entry.off_before;
    } else {
        // Its end counts again, if it is seen.
        this_cpu::uncount(Counter::OpenAtAttach, entry.settings.one_in);
        state.call.kind = kind;
        state.call.origin = entry.origin;
    }
    state.call.entered_at = entry.entered_at;
    store(state, load(state).without(index));
}

/// The running thread leaves the scope: restarts and handlers' returns are no longer seen.
#[inline(never)]
pub(crate) fn leave_scope<T: Storage>(state: &mut ThreadState) {
    let thread = T::current();
    if let Some(saved) = thread.interrupted() {
        abandon_all(state, saved, true);
    }
}

/// The thread's call leaves the kernel with `ret`, while other calls of it are interrupted: finds out which of them have
/// ended.
#[inline(never)]
pub(crate) fn before_exit<T: Storage>(state: &mut ThreadState, ret: i64, regs: *const pt_regs) {
    let thread = T::current();
    let is_sigreturn = kind::is_sigreturn(state.call.kind);
    let began_unseen = is_sigreturn && state.restarts.handlers == 0;
    if is_sigreturn && !began_unseen {
        state.restarts.handlers -= 1;
    }
    let saved = if began_unseen { thread.interrupted_or_new() } else { thread.interrupted() };
    let Some(saved) = saved else { return };
    if !is_sigreturn && !result::is_interruption(ret) {
        if ret == 0 && kind::is_exec(state.call.kind) {
            // The program that made them is gone.
            abandon_all(state, saved, false);
        }
        return;
    }
    let (stack_pointer, instruction_pointer) = place::<T>(regs);
    // The register of a 32-bit program has 32 bits.
    let is_compat = kind::is_of_compat_call(state.call.kind);
    let ret = if is_compat { i64::from(ret as i32) } else { ret };
    if is_sigreturn {
        handler_returned(state, saved, ret, stack_pointer, instruction_pointer);
        if began_unseen && state.restarts.may_restart == 0 {
            // It may return to a call that was interrupted before attaching.
            state.restarts.unseen_returns = state.restarts.unseen_returns.saturating_add(1);
            let behind = instruction_pointer + u64::from(constant!(MACHINE.syscall_bytes));
            let place = (stack_pointer, behind);
            keep_unseen(state, saved, place, thread.signal_stack(), ORIGIN_UNKNOWN);
        }
    }
    if state.restarts.may_restart == 0 {
        let came = match is_sigreturn {
            true if ret == -i64::from(EINTR) => Came::ByHandlerWithEintr,
            true => Came::ByHandler,
            false => Came::ByCall,
        };
        find_abandoned(state, saved, stack_pointer, came);
    }
}

/// A handler has returned to this place, with `ret` in the register that holds results.
#[inline(always)]
fn handler_returned(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    ret: i64,
    stack_pointer: u64,
    instruction_pointer: u64,
) {
    for index in 0..MAX_INTERRUPTED {
        let entries = load(state);
        let entry = &saved.calls[index as usize];
        if entry.stack_pointer != stack_pointer {
            continue;
        }
        let way = leads_back(entry, instruction_pointer);
        if entries.pending() & 1 << index != 0 {
            match way {
                Way::ToTheCall => state.restarts.may_restart = index + 1,
                Way::Behind => end(state, saved, index, result::errno(ret) as u32, false),
                // The handler has changed where the program goes on.
                Way::Elsewhere => end(state, saved, index, ABANDONED, false),
            }
        } else if entries.assumed() & 1 << index != 0 && way != Way::Elsewhere {
            // It is recorded as abandoned, now or soon. Its restart will count as another call, and its EINTR not at all.
            this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
            store(state, entries.without_assumption(index));
        }
    }
}

/// Where a handler's return leads, as seen from an interrupted call at the same stack pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To its system call instruction: the kernel will enter it again.
    ToTheCall,
    /// Behind it: it has a result.
    Behind,
    /// Somewhere else.
    Elsewhere,
}

#[inline(always)]
fn leads_back(entry: &Interrupted, instruction_pointer: u64) -> Way {
    match entry.instruction_pointer.wrapping_sub(instruction_pointer) {
        0 => Way::Behind,
        // `syscall`, `int $0x80` and Thumb's `svc` have two bytes, those of Arm have four.
        2 | 4 => Way::ToTheCall,
        _ => Way::Elsewhere,
    }
}

/// Records the running thread's interrupted calls that have ended: one, or several where a jump leaves several handlers.
#[inline(never)]
pub(crate) fn record_ended<T: Storage, R: Raise>() {
    let thread = T::current();
    let Some(state) = thread.state() else { return };
    let Some(saved) = thread.interrupted() else { return };
    for _ in 1..MAX_INTERRUPTED {
        let ended = load(state).ended();
        if ended == 0 {
            return;
        }
        let index = choose(saved, first_of(ended));
        store(state, load(state).with_recorded(index));
        record::<T, R>(&thread, &saved.calls[index as usize]);
    }
}

/// A call of the running thread was denied (seccomp, a tracer), with the result `ret`. If an interrupted call was to go on
/// there, it has ended.
#[inline(never)]
pub(crate) fn denied<T: Storage>(state: &mut ThreadState, ret: i64, regs: *const pt_regs) {
    if result::is_interruption(ret) {
        // The signal came while seccomp's supervisor was asked. The call goes on as before.
        return;
    }
    let expected = state.restarts.may_restart;
    state.restarts.may_restart = 0;
    let thread = T::current();
    let Some(saved) = thread.interrupted() else { return };
    let index = expected.wrapping_sub(1) & (MAX_INTERRUPTED - 1);
    let entry = &saved.calls[index as usize];
    if expected == 0 || !is_at(entry, place::<T>(regs)) {
        return;
    }
    let mut errno = result::errno(ret) as u32;
    // ENOSYS is there until a tracer, which runs later, puts a result there. The call's own number is there where a
    // signal handler answers in place of the kernel (SECCOMP_RET_TRAP).
    let has_no_result = errno == ENOSYS || kind::has_nr(entry.kind, ret);
    if has_no_result {
        this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
        errno = ABANDONED;
    }
    end(state, saved, index, errno, false);
}

/// The running thread dies.
#[inline(never)]
pub(crate) fn on_thread_exit<T: Storage, R: Raise>(state: &mut ThreadState) {
    let entries = state.restarts.entries;
    let restarting = state.restarts.may_restart;
    state.restarts.entries = Entries::NONE;
    state.restarts.may_restart = 0;
    let thread = T::current();
    let Some(saved) = thread.interrupted() else { return };
    for index in 0..MAX_INTERRUPTED {
        if (entries.pending() | entries.ended()) & 1 << index == 0 {
            continue;
        }
        let entry = &mut saved.calls[index as usize];
        if !entry.was_seen() {
            continue;
        }
        if restarting == index + 1 {
            // The signal that interrupted it was the end of its thread.
            this_cpu::count_by(Counter::EndedWithoutExit, entry.settings.one_in);
        } else {
            if entries.pending() & 1 << index != 0 {
                entry.errno = ABANDONED;
            }
            record::<T, R>(&thread, entry);
        }
    }
}

/// A signal is being delivered to the running thread. `handler`: its `sa_handler`. If a handler runs, the next enter is no
/// restart.
#[inline(always)]
pub(crate) fn on_signal<T: Storage>(handler: u64) {
    if handler <= SIG_IGN {
        return;
    }
    let thread = T::current();
    if scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    if let Some(state) = thread.state() {
        state.restarts.may_restart = 0;
        state.restarts.handlers = state.restarts.handlers.saturating_add(1);
        // After a handler, no call goes on by `restart_syscall`.
        if matches!(state.call.origin, ORIGIN_LEFT_OUT | ORIGIN_SAMPLED_OUT) {
            state.call.origin = ORIGIN_SEEN;
        }
    }
}

/// Records an interrupted call of the running thread. It ended when it left the kernel.
#[inline(never)]
fn record<T: Storage, R: Raise>(thread: &T, entry: &Interrupted) {
    if !entry.was_seen() {
        return;
    }
    let cpu = ThisCpu::get();
    let Interrupted { settings: then, entered_at, left_at, errno, .. } = *entry;
    let weight = then.one_in;
    cpu.uncount(Counter::Interrupted, weight);
    let is_abandoned = errno == ABANDONED;
    if is_abandoned {
        cpu.count_by(Counter::Abandoned, weight);
    }
    let errno = if is_abandoned { 0 } else { errno.into() };
    let latency_ns = left_at.saturating_sub(entered_at);
    let seen = settings::saw_all_switches(then, cpu.settings());
    let off = entry.off_at_leaving.since(entry.off_before);
    let finished = Finished { latency_ns, seen, off, weight, errno };
    let cell = |kind| slots::cell_of(cpu, kind, weight);
    finish::call::<PlainOrAtomic<R>, T, _>(cpu, thread, finished, entry, cell);
}

/// The user's stack pointer and instruction pointer in `regs`.
#[inline(always)]
fn place<T: Storage>(regs: *const pt_regs) -> Place {
    (
        T::register(regs, constant!(MACHINE.regs_stack_pointer)),
        T::register(regs, constant!(MACHINE.regs_instruction_pointer)),
    )
}
