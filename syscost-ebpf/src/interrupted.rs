//! Interrupted calls: one call to the program, however often the kernel enters it.
//!
//! A signal takes a blocked call out of the kernel with ERESTARTSYS to ERESTART_RESTARTBLOCK, which
//! the program never sees. Three things can follow:
//!
//! - No handler runs: the very next enter takes the call up again.
//! - A handler runs and returns. Its `rt_sigreturn` restores the stack pointer that the call had, and
//!   the instruction pointer says what follows: at the system call instruction the next enter
//!   takes the call up again, behind it the call has ended with what the result register holds.
//! - A handler runs and never returns there: the call is abandoned, and ended when it left the kernel.
//!
//! Of a call that was open at attach, or interrupted before, an entry is kept as well: what goes on with
//! it is no new call either. See [`Interrupted::was_seen`].
//!
//! So an enter is a restart only if no handler has run since the call, or the `rt_sigreturn` to it,
//! left the kernel. Where a debugger lets the thread make other calls in between, it is taken for one, as a guess:
//! see [`is_aside`]. Abandoned calls are found by the stack pointers of later calls, by a successful
//! exec, and when their thread dies. What has ended is recorded before the program that has found out ends.
//!
//! All of this is rare and out of line, so that it does not crowd the registers of the hot path.

use aya_ebpf::bindings::pt_regs;
use syscost_common::{
    interrupted::{
        ABANDONED, Entries, Interrupted, InterruptedCalls, Jump, MAX_ENTERS_IN_HANDLER,
        MAX_INTERRUPTED, MAX_UNSEEN_RETURNS,
    },
    kind::{AbiClass, NRS_PER_ABI, pack, unpack},
    ledger::Counter,
    open_call::{ORIGIN_LEFT_OUT, ORIGIN_SAMPLED_OUT, ORIGIN_SEEN, ORIGIN_UNKNOWN, OpenCall},
};

use crate::{
    atomic::Raise,
    constant::constant,
    maps::MACHINE,
    record::{self, Finished},
    scope,
    syscall::was_seen,
    this_cpu::{self, ThisCpu},
    threads::Threads,
    update::PlainOrAtomic,
};

/// `SIG_DFL` and `SIG_IGN` (include/uapi/asm-generic/signal-defs.h): no handler.
const SIG_IGN: u64 = 1;

/// Whether `ret` says that the call was interrupted and has no result yet.
#[inline(always)]
pub(crate) fn is_interruption(ret: i64) -> bool {
    // ERESTARTSYS 512, ERESTARTNOINTR 513, ENOIOCTLCMD 515 is none, ERESTARTNOHAND 514,
    // ERESTART_RESTARTBLOCK 516 (include/linux/errno.h).
    matches!(ret, -514..=-512 | -516)
}

/// Whether the running thread's call, which leaves the kernel with `ret`, was interrupted. Some calls have such
/// results of their own: `ioctl` of a file system in user space, `F_GETOWN` of process group 513.
#[inline(always)]
pub(crate) fn is_interrupted<T: Threads>(ret: i64) -> bool {
    is_interruption(ret) && may_be_interrupted::<T>()
}

#[inline(never)]
fn may_be_interrupted<T: Threads>() -> bool {
    T::current().may_be_interrupted()
}

/// The open call has left the kernel at `now`, interrupted. `entered_at`: 0 for a call that was open at
/// attach.
#[inline(never)]
pub(crate) fn interrupt<T: Threads>(
    call: &mut OpenCall,
    entered_at: u64,
    now: u64,
    regs: *const pt_regs,
) {
    let Some(cpu) = ThisCpu::find() else { return };
    if entered_at == 0 {
        call.settings.one_in = 1;
        cpu.count(Counter::OpenAtAttach);
    }
    let thread = T::current();
    let Some(kept) = thread.interrupted_or_new() else {
        // As if it had never been entered: should it be taken up again, that is a call of its own.
        if entered_at != 0 {
            cpu.uncount(Counter::Enters, call.settings.one_in);
        }
        return cpu.count_by(Counter::OpenCallsFull, call.settings.one_in);
    };
    if entered_at != 0 {
        cpu.count_by(Counter::Interrupted, call.settings.one_in);
    }
    let place = place::<T>(regs);
    let index = keep(call, kept, place, thread.signal_stack());
    let entry = &mut kept.calls[index as usize];
    entry.entered_at = entered_at;
    entry.left_at = now;
    entry.settings = call.settings;
    entry.off_before = call.off_before;
    entry.off_at_leaving = call.off;
    entry.kind = if entered_at == 0 { ORIGIN_UNKNOWN } else { call.kind };
    let is_compat = matches!(unpack(call.kind), Some((AbiClass::Compat, _)));
    for arg in 0..6 {
        entry.args[arg] = if is_compat {
            T::register(regs, constant!(MACHINE.regs_compat_args[arg])) as u32 as u64
        } else {
            T::register(regs, constant!(MACHINE.regs_args[arg]))
        };
    }
    if load(call).pending() == ALL {
        end_oldest(call, kept);
    }
}

/// Makes an entry for an interrupted call that the very next enter may take up again: that of the call
/// at `place`. There is an unused one: at most three are pending, or have ended and are not recorded yet.
#[inline(always)]
fn keep(
    call: &mut OpenCall,
    kept: &mut InterruptedCalls,
    (stack_pointer, instruction_pointer): (u64, u64),
    signal_stack: [u64; 2],
) -> u32 {
    confirm(call, kept, stack_pointer);
    let entries = load(call);
    let unused = !(entries.pending() | entries.ended());
    // Rather one that is not remembered at all.
    let forgotten = unused & !entries.assumed() & ALL;
    let index = choose(kept, first_of(if forgotten != 0 { forgotten } else { unused }));
    if forgotten == 0 {
        // Should a handler return to it yet, nobody will know.
        this_cpu::count_by(Counter::RestartsGuessed, kept.calls[index as usize].weight_of_guess());
    }
    let entry = &mut kept.calls[index as usize];
    entry.stack_pointer = stack_pointer;
    entry.instruction_pointer = instruction_pointer;
    entry.signal_stack = signal_stack;
    entry.handlers = call.handlers;
    kept.enters = 0;
    store(call, load(call).with_pending(index));
    call.may_restart = index + 1;
    index
}

/// A call that is not recorded has left the kernel, interrupted: another one of a sample stands for it.
#[inline(never)]
pub(crate) fn interrupt_unrecorded<T: Threads>(call: &mut OpenCall, regs: *const pt_regs) {
    let thread = T::current();
    // As if it had ended: should it be taken up again, that is a call of its own.
    let Some(kept) = thread.interrupted_or_new() else {
        return this_cpu::count(Counter::OpenCallsFull);
    };
    keep_unseen(call, kept, place::<T>(regs), thread.signal_stack(), ORIGIN_SAMPLED_OUT);
}

/// A call that is not recorded was interrupted, and may be taken up again by the very next enter: it is the one
/// at `place`. `origin`: see [`Interrupted::kind`].
#[inline(always)]
pub(crate) fn keep_unseen(
    call: &mut OpenCall,
    kept: &mut InterruptedCalls,
    place: (u64, u64),
    signal_stack: [u64; 2],
    origin: u32,
) {
    let index = keep(call, kept, place, signal_stack);
    let entry = &mut kept.calls[index as usize];
    entry.entered_at = 0;
    entry.left_at = 0;
    entry.settings.one_in = 0;
    entry.kind = origin;
    if load(call).pending() == ALL {
        end_oldest(call, kept);
    }
}

/// The set of all entries.
const ALL: u32 = (1 << MAX_INTERRUPTED) - 1;

/// Which entries are in use. Read from and written to memory each time: of a value in a register the
/// verifier knows the bits, and follows the rest of a loop once for each value.
#[inline(always)]
fn load(call: &OpenCall) -> Entries {
    // SAFETY: a field of a live map value.
    unsafe { (&raw const call.interrupted).read_volatile() }
}

/// As [`load`].
#[inline(always)]
fn store(call: &mut OpenCall, entries: Entries) {
    // SAFETY: a field of a live map value.
    unsafe { (&raw mut call.interrupted).write_volatile(entries) };
}

/// `index`, so that the verifier takes it for any index.
#[inline(always)]
fn choose(kept: &mut InterruptedCalls, index: u32) -> u32 {
    // SAFETY: a field of a live map value.
    unsafe {
        (&raw mut kept.chosen).write_volatile(index.into());
        chosen(kept)
    }
}

#[inline(always)]
fn chosen(kept: &InterruptedCalls) -> u32 {
    // SAFETY: a field of a live map value.
    let index = unsafe { (&raw const kept.chosen).read_volatile() };
    index as u32 & (MAX_INTERRUPTED - 1)
}

#[inline(always)]
fn first_of(set: u32) -> u32 {
    match set {
        _ if set & 1 != 0 => 0,
        _ if set & 2 != 0 => 1,
        _ if set & 4 != 0 => 2,
        _ => 3,
    }
}

/// Whether the call of `kind` that is being entered is an interrupted one; then it is open again, and
/// as old as it was. `regs`: the registers that it comes in with.
#[inline(never)]
pub(crate) fn resume<T: Threads>(call: &mut OpenCall, kind: u32, regs: *const pt_regs) -> bool {
    let expected = call.may_restart;
    call.may_restart = 0;
    let thread = T::current();
    let Some(kept) = thread.interrupted() else { return false };
    let place = place::<T>(regs);
    if expected != 0 {
        let index = (expected - 1) & (MAX_INTERRUPTED - 1);
        let entry = &kept.calls[index as usize];
        if is_at(entry, place) && goes_on_as(entry, kind) {
            if !entry.was_seen() && call.unseen_returns > MAX_UNSEEN_RETURNS {
                this_cpu::count(Counter::RestartsGuessed);
            }
            take_up(call, kept, index, kind);
            return true;
        }
        if is_at(entry, place) {
            // Its handler has put another call in its place.
            end(call, kept, index, ABANDONED, false);
        } else if entry.left_at == 0 {
            // There may be no such call at all.
            store(call, load(call).without(index));
        }
    }
    if take_up_aside(call, kept, place, kind) {
        return true;
    }
    find_abandoned(call, kept, place.0, Came::ByCall);
    kept.enters += 1;
    if kept.enters > MAX_ENTERS_IN_HANDLER {
        abandon_all(call, kept, true);
    }
    if load(call).assumed() != 0 {
        kept.enters_since_assumed += 1;
        if kept.enters_since_assumed > MAX_ENTERS_IN_HANDLER {
            store(call, load(call).settled());
        }
    }
    false
}

/// Whether no handler can have left an interrupted call by a jump, so that it has to go on. Where another one is
/// entered first, a debugger has let the thread call a function (gdb's `call`), and puts its registers back; or it
/// has put a result into them; or a handler has let the program call a function before it goes on.
#[inline(always)]
fn is_aside(call: &OpenCall, entry: &Interrupted) -> bool {
    entry.left_at != 0 && entry.handlers == call.handlers
}

/// Whether the call of `kind` at `place` is one that was set aside; then it is open again. That is a guess.
#[inline(always)]
fn take_up_aside(
    call: &mut OpenCall,
    kept: &mut InterruptedCalls,
    place: (u64, u64),
    kind: u32,
) -> bool {
    for index in 0..MAX_INTERRUPTED {
        let entry = &kept.calls[index as usize];
        let is_pending = load(call).pending() & 1 << index != 0;
        if !(is_pending && is_aside(call, entry) && is_at(entry, place)) {
            continue;
        }
        this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
        if !goes_on_as(entry, kind) {
            // The debugger, or a tracer, has not let it go on.
            end(call, kept, index, ABANDONED, false);
            return false;
        }
        take_up(call, kept, index, kind);
        abandon_below(call, kept, place.0);
        return true;
    }
    false
}

/// The thread is in a frame again at `stack_pointer` that a debugger had left: what was interrupted below, in the
/// functions that it has called, has ended.
#[inline(always)]
fn abandon_below(call: &mut OpenCall, kept: &mut InterruptedCalls, stack_pointer: u64) {
    for index in 0..MAX_INTERRUPTED {
        let is_pending = load(call).pending() & 1 << index != 0;
        if is_pending && kept.calls[index as usize].stack_pointer < stack_pointer {
            end(call, kept, index, ABANDONED, false);
        }
    }
}

/// Whether an interrupted call is the one that was made at `place`.
#[inline(always)]
fn is_at(entry: &Interrupted, (stack_pointer, instruction_pointer): (u64, u64)) -> bool {
    entry.stack_pointer == stack_pointer && entry.instruction_pointer == instruction_pointer
}

/// Whether a call of `kind` may be what an interrupted one goes on with.
#[inline(always)]
fn goes_on_as(entry: &Interrupted, kind: u32) -> bool {
    !entry.was_seen() || entry.kind == kind || is_restart_syscall(kind)
}

/// The pending call in entry `index` is entered again, as one of `kind`.
#[inline(always)]
fn take_up(call: &mut OpenCall, kept: &InterruptedCalls, index: u32, kind: u32) {
    let entry = &kept.calls[index as usize];
    if entry.was_seen() {
        this_cpu::count_by(Counter::Restarts, entry.settings.one_in);
        call.kind = entry.kind;
        call.settings = entry.settings;
        call.off_before = entry.off_before;
    } else {
        // Counted when it ends, if it is.
        this_cpu::uncount(Counter::OpenAtAttach, entry.settings.one_in);
        call.kind = kind;
        call.origin = entry.kind;
    }
    call.entered_at = entry.entered_at;
    store(call, load(call).without(index));
}

/// The running thread, with `call` kept of it, goes on outside the scope: restarts and handlers' returns
/// are no longer seen.
#[inline(never)]
pub(crate) fn leave_scope<T: Threads>(call: &mut OpenCall) {
    let thread = T::current();
    if let Some(kept) = thread.interrupted() {
        abandon_all(call, kept, true);
    }
}

/// Takes all interrupted calls of a thread for abandoned. `guessed`: a handler may return to them all the
/// same.
#[inline(always)]
fn abandon_all(call: &mut OpenCall, kept: &mut InterruptedCalls, guessed: bool) {
    call.may_restart = 0;
    for index in 0..MAX_INTERRUPTED {
        if load(call).pending() & 1 << index != 0 {
            if guessed {
                let weight = kept.calls[index as usize].weight_of_guess();
                this_cpu::count_by(Counter::RestartsGuessed, weight);
            }
            end(call, kept, index, ABANDONED, false);
        }
    }
}

/// The pending call in entry `index` has ended.
#[inline(always)]
fn end(call: &mut OpenCall, kept: &mut InterruptedCalls, index: u32, errno: u32, assumed: bool) {
    kept.calls[index as usize].errno = errno;
    if assumed {
        kept.enters_since_assumed = 0;
    }
    store(call, load(call).with_ended(index, assumed));
}

/// What has brought a thread's stack pointer to where it is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Came {
    /// A call that it makes there.
    ByCall,
    /// A handler's return.
    ByHandler,
    /// The same, with -EINTR in the register that holds results.
    ByHandlerWithEintr,
}

/// Ends the interrupted calls whose frames are gone, with the thread's stack pointer at `stack_pointer`.
#[inline(always)]
fn find_abandoned(
    call: &mut OpenCall,
    kept: &mut InterruptedCalls,
    stack_pointer: u64,
    came: Came,
) {
    for index in 0..MAX_INTERRUPTED {
        if load(call).pending() & 1 << index == 0 {
            continue;
        }
        let entry = &kept.calls[index as usize];
        if is_aside(call, entry) {
            end_aside(call, kept, index, stack_pointer, came);
            continue;
        }
        // Programs with several stacks may be on another one than it seems, where a handler has
        // switched to it: then the handler can still return.
        match entry.is_abandoned_at(stack_pointer) {
            Some(Jump::SameFrame) => end(call, kept, index, ABANDONED, false),
            Some(Jump::Near) => end(call, kept, index, ABANDONED, true),
            Some(Jump::Far) => {
                this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
                end(call, kept, index, ABANDONED, false);
            }
            Some(Jump::None) | None => {}
        }
    }
    confirm(call, kept, stack_pointer);
}

/// As [`find_abandoned`], of the call in entry `index`, which is aside. All of that is a guess.
#[inline(always)]
fn end_aside(
    call: &mut OpenCall,
    kept: &mut InterruptedCalls,
    index: u32,
    stack_pointer: u64,
    came: Came,
) {
    let index = index & (MAX_INTERRUPTED - 1);
    let entry = &kept.calls[index as usize];
    // A debugger's function runs below. So does one that a handler lets the program call, in the place of the
    // call's return: the result is still in the register.
    let is_below = stack_pointer < entry.stack_pointer;
    let errno = match came {
        Came::ByCall if is_below => return,
        Came::ByHandlerWithEintr if is_below => EINTR,
        _ => ABANDONED,
    };
    this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
    if !is_below || errno != ABANDONED {
        end(call, kept, index, errno, false);
    }
}

/// The thread makes a call from the frame at `stack_pointer`: of a call in the same frame, which was assumed to
/// be abandoned and is recorded, the assumption was right.
#[inline(always)]
fn confirm(call: &mut OpenCall, kept: &InterruptedCalls, stack_pointer: u64) {
    for index in 0..MAX_INTERRUPTED {
        let entries = load(call);
        let is_assumed = entries.assumed() & !entries.ended() & 1 << index != 0;
        if is_assumed && kept.calls[index as usize].stack_pointer == stack_pointer {
            store(call, entries.without(index));
        }
    }
}

/// The call in `call`, with interrupted calls below it, leaves the kernel with `ret`: finds out which of them
/// have ended.
#[inline(never)]
pub(crate) fn before_exit<T: Threads>(call: &mut OpenCall, ret: i64, regs: *const pt_regs) {
    let thread = T::current();
    let is_sigreturn = is_sigreturn(call.kind);
    let began_unseen = is_sigreturn && call.handlers == 0;
    if is_sigreturn && !began_unseen {
        call.handlers -= 1;
    }
    let kept = if began_unseen { thread.interrupted_or_new() } else { thread.interrupted() };
    let Some(kept) = kept else { return };
    if !is_sigreturn && !is_interruption(ret) {
        if ret == 0 && is_exec(call.kind) {
            // The program that they were calls of is gone.
            abandon_all(call, kept, false);
        }
        return;
    }
    let (stack_pointer, instruction_pointer) = place::<T>(regs);
    // The register of a 32-bit program has 32 bits.
    let is_compat = matches!(unpack(call.kind), Some((AbiClass::Compat, _)));
    let ret = if is_compat { i64::from(ret as i32) } else { ret };
    if is_sigreturn {
        handler_returned(call, kept, ret, stack_pointer, instruction_pointer);
        if began_unseen && call.may_restart == 0 {
            // If it returns to a call, that was interrupted unseen.
            call.unseen_returns = call.unseen_returns.saturating_add(1);
            let behind = instruction_pointer + u64::from(constant!(MACHINE.syscall_bytes));
            let place = (stack_pointer, behind);
            keep_unseen(call, kept, place, thread.signal_stack(), ORIGIN_UNKNOWN);
        }
    }
    if call.may_restart == 0 {
        let came = match is_sigreturn {
            true if ret == -i64::from(EINTR) => Came::ByHandlerWithEintr,
            true => Came::ByHandler,
            false => Came::ByCall,
        };
        find_abandoned(call, kept, stack_pointer, came);
    }
}

/// All entries are pending, one more than are kept: takes the oldest call for abandoned.
#[inline(always)]
fn end_oldest(call: &mut OpenCall, kept: &mut InterruptedCalls) {
    choose(kept, 0);
    for index in 1..MAX_INTERRUPTED {
        let oldest = chosen(kept) as usize;
        if kept.calls[index as usize].left_at < kept.calls[oldest].left_at {
            choose(kept, index);
        }
    }
    let oldest = chosen(kept);
    this_cpu::count_by(Counter::RestartsGuessed, kept.calls[oldest as usize].weight_of_guess());
    end(call, kept, oldest, ABANDONED, false);
}

/// A handler has returned to this place, with `ret` in the register that holds results.
#[inline(always)]
fn handler_returned(
    call: &mut OpenCall,
    kept: &mut InterruptedCalls,
    ret: i64,
    stack_pointer: u64,
    instruction_pointer: u64,
) {
    for index in 0..MAX_INTERRUPTED {
        let entries = load(call);
        let entry = &kept.calls[index as usize];
        if entry.stack_pointer != stack_pointer {
            continue;
        }
        let way = leads_back(entry, instruction_pointer);
        if entries.pending() & 1 << index != 0 {
            match way {
                Way::ToTheCall => call.may_restart = index + 1,
                Way::Behind => end(call, kept, index, record::errno(ret) as u32, false),
                // The handler has changed where the program goes on.
                Way::Elsewhere => end(call, kept, index, ABANDONED, false),
            }
        } else if entries.assumed() & 1 << index != 0 && way != Way::Elsewhere {
            // It was recorded as abandoned, or is about to be: neither its EINTR nor its restart
            // will be told from a call of its own.
            this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
            store(call, entries.without_assumption(index));
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

/// Records the running thread's interrupted calls that have ended: one, or as many as there can be where a jump
/// leaves several handlers.
#[inline(never)]
pub(crate) fn record_ended<T: Threads, R: Raise>() {
    let thread = T::current();
    let Some(call) = thread.open_call() else { return };
    let Some(kept) = thread.interrupted() else { return };
    for _ in 1..MAX_INTERRUPTED {
        let ended = load(call).ended();
        if ended == 0 {
            return;
        }
        let index = choose(kept, first_of(ended));
        store(call, load(call).with_recorded(index));
        record::<R>(call, &kept.calls[index as usize]);
    }
}

/// The running thread has not been let into a call (seccomp, a tracer), which has the result `ret`. If that was an
/// interrupted one to go on, it has ended.
#[inline(never)]
pub(crate) fn denied<T: Threads>(call: &mut OpenCall, ret: i64, regs: *const pt_regs) {
    if is_interruption(ret) {
        // While seccomp's supervisor was asked. It goes on as before.
        return;
    }
    let expected = call.may_restart;
    call.may_restart = 0;
    let thread = T::current();
    let Some(kept) = thread.interrupted() else { return };
    let index = expected.wrapping_sub(1) & (MAX_INTERRUPTED - 1);
    let entry = &kept.calls[index as usize];
    if expected == 0 || !is_at(entry, place::<T>(regs)) {
        return;
    }
    let mut errno = record::errno(ret) as u32;
    // What the register holds before a tracer, which comes last, puts a result there; or the call's own number, where
    // a signal handler is to answer in its place (SECCOMP_RET_TRAP).
    let has_no_result =
        errno == ENOSYS || unpack(entry.kind).is_some_and(|(_, nr)| ret == nr.into());
    if has_no_result {
        this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
        errno = ABANDONED;
    }
    end(call, kept, index, errno, false);
}

/// What x86 and a tracer's skipped call leave in the register for results.
pub(crate) const ENOSYS: u32 = 38;
/// The result of an interrupted call that does not go on.
const EINTR: u32 = 4;

/// The running thread dies, with `call` kept of it.
#[inline(never)]
pub(crate) fn on_thread_exit<T: Threads, R: Raise>(call: &mut OpenCall) {
    let entries = call.interrupted;
    let restarting = call.may_restart;
    call.interrupted = Entries::NONE;
    call.may_restart = 0;
    let thread = T::current();
    let Some(kept) = thread.interrupted() else { return };
    for index in 0..MAX_INTERRUPTED {
        if (entries.pending() | entries.ended()) & 1 << index == 0 {
            continue;
        }
        let entry = &mut kept.calls[index as usize];
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
            record::<R>(call, entry);
        }
    }
}

/// A signal is being delivered to the running thread. `handler`: its `sa_handler`. If there is one,
/// what the thread enters next is no restart.
#[inline(always)]
pub(crate) fn on_signal<T: Threads>(handler: u64) {
    if handler <= SIG_IGN {
        return;
    }
    let thread = T::current();
    if scope::is_constant() && !scope::contains(&thread) {
        return;
    }
    if let Some(call) = thread.open_call() {
        call.may_restart = 0;
        call.handlers = call.handlers.saturating_add(1);
        // After a handler, no call goes on by `restart_syscall`.
        if matches!(call.origin, ORIGIN_LEFT_OUT | ORIGIN_SAMPLED_OUT) {
            call.origin = ORIGIN_SEEN;
        }
    }
}

/// Records an interrupted call, which ended when it left the kernel.
#[inline(never)]
fn record<R: Raise>(call: &mut OpenCall, entry: &Interrupted) {
    if !entry.was_seen() {
        return;
    }
    let Some(cpu) = ThisCpu::find() else { return };
    let Interrupted { kind, settings, entered_at, left_at, errno, .. } = *entry;
    let weight = settings.one_in;
    cpu.uncount(Counter::Interrupted, weight);
    let is_abandoned = errno == ABANDONED;
    if is_abandoned {
        cpu.count_by(Counter::Abandoned, weight);
    }
    let errno = if is_abandoned { 0 } else { errno.into() };
    let latency_ns = left_at.saturating_sub(entered_at);
    let seen = was_seen(settings, cpu.settings());
    let off = entry.off_at_leaving.since(entry.off_before);
    let finished = Finished { latency_ns, seen, off, weight, errno };
    let cell = || record::cell_of(cpu, kind, weight);
    record::call::<PlainOrAtomic<R>>(cpu, finished, Some(&mut call.totals), cell);
}

/// The user's stack pointer and instruction pointer in `regs`.
#[inline(always)]
fn place<T: Threads>(regs: *const pt_regs) -> (u64, u64) {
    (
        T::register(regs, constant!(MACHINE.regs_stack_pointer)),
        T::register(regs, constant!(MACHINE.regs_instruction_pointer)),
    )
}

#[inline(always)]
pub(crate) fn is_restart_syscall(kind: u32) -> bool {
    kind == pack(AbiClass::Native, constant!(MACHINE.restart_syscall))
        || kind == pack(AbiClass::X32, 219)
        // i386 and 32-bit Arm.
        || kind == pack(AbiClass::Compat, 0)
}

/// Whether `kind` is `execve` or `execveat`.
#[inline(always)]
fn is_exec(kind: u32) -> bool {
    kind == pack(AbiClass::Native, constant!(MACHINE.execve))
        || kind == pack(AbiClass::Native, constant!(MACHINE.execveat))
        || kind == pack(AbiClass::X32, 520)
        || kind == pack(AbiClass::X32, 545)
        // i386 and 32-bit Arm: execve; i386's execveat; that of 32-bit Arm.
        || kind == pack(AbiClass::Compat, 11)
        || kind == pack(AbiClass::Compat, 358)
        || kind == pack(AbiClass::Compat, 387)
}

/// Whether `kind` is a handler's return: its result is whatever the interrupted code had there.
#[inline(always)]
pub(crate) fn is_sigreturn(kind: u32) -> bool {
    if kind < NRS_PER_ABI {
        return kind == pack(AbiClass::Native, constant!(MACHINE.rt_sigreturn));
    }
    kind == pack(AbiClass::X32, 513)
        // i386 and 32-bit Arm: sigreturn and rt_sigreturn.
        || kind == pack(AbiClass::Compat, 119)
        || kind == pack(AbiClass::Compat, 173)
}
