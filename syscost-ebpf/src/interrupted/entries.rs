//! Which entries of a thread's interrupted calls are in use, and for what.

use syscost_common::{
    interrupted::{ABANDONED, Entries, Interrupted, InterruptedCalls, MAX_INTERRUPTED, NO_KIND},
    ledger::Counter,
    thread_state::ThreadState,
};

use crate::{kind, this_cpu};

/// Where a call was made: the user's stack pointer, and the address behind the system call instruction.
pub(super) type Place = (u64, u64);

/// The set of all entries.
pub(super) const ALL: u32 = (1 << MAX_INTERRUPTED) - 1;

/// Which entries are in use. It is read from memory and written to memory each time: if it were in a register, the verifier
/// would know its bits, and walk the rest of a loop once for each value.
#[inline(always)]
pub(super) fn load(state: &ThreadState) -> Entries {
    // SAFETY: a field of a live map value.
    unsafe { (&raw const state.restarts.entries).read_volatile() }
}

/// Sets which entries are in use, see [`load`].
#[inline(always)]
pub(super) fn store(state: &mut ThreadState, entries: Entries) {
    // SAFETY: a field of a live map value.
    unsafe { (&raw mut state.restarts.entries).write_volatile(entries) };
}

/// Returns `index`, in a way that the verifier takes it for any index.
#[inline(always)]
pub(super) fn choose(saved: &mut InterruptedCalls, index: u32) -> u32 {
    // SAFETY: a field of a live map value.
    unsafe {
        (&raw mut saved.chosen).write_volatile(index.into());
        chosen(saved)
    }
}

/// The index chosen last.
#[inline(always)]
fn chosen(saved: &InterruptedCalls) -> u32 {
    // SAFETY: a field of a live map value.
    let index = unsafe { (&raw const saved.chosen).read_volatile() };
    index as u32 & (MAX_INTERRUPTED - 1)
}

/// The lowest entry in `set`, which is not empty.
#[inline(always)]
pub(super) fn first_of(set: u32) -> u32 {
    match set {
        _ if set & 1 != 0 => 0,
        _ if set & 2 != 0 => 1,
        _ if set & 4 != 0 => 2,
        _ => 3,
    }
}

/// Makes an entry for the interrupted call at `place`, which the very next enter may be again. There is an unused entry: at
/// most three are pending, or have ended and are not recorded yet.
#[inline(always)]
pub(super) fn keep(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    (stack_pointer, instruction_pointer): Place,
    signal_stack: [u64; 2],
) -> u32 {
    confirm(state, saved, stack_pointer);
    let entries = load(state);
    let unused = !(entries.pending() | entries.ended());
    // Rather an entry that holds no assumption either.
    let forgotten = unused & !entries.assumed() & ALL;
    let index = choose(saved, first_of(if forgotten != 0 { forgotten } else { unused }));
    if forgotten == 0 {
        // If a handler still returns to the call that was assumed to be abandoned, that will not be noticed.
        this_cpu::count_by(Counter::RestartsGuessed, saved.calls[index as usize].weight_of_guess());
    }
    let entry = &mut saved.calls[index as usize];
    entry.stack_pointer = stack_pointer;
    entry.instruction_pointer = instruction_pointer;
    entry.signal_stack = signal_stack;
    entry.handlers = state.restarts.handlers;
    saved.enters = 0;
    store(state, load(state).with_pending(index));
    state.restarts.may_restart = index + 1;
    index
}

/// Makes an entry for a call at `place` that is not recorded. `origin`: see [`Interrupted::origin`].
#[inline(always)]
pub(crate) fn keep_unseen(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    place: Place,
    signal_stack: [u64; 2],
    origin: u32,
) {
    let index = keep(state, saved, place, signal_stack);
    let entry = &mut saved.calls[index as usize];
    entry.entered_at = 0;
    entry.left_at = 0;
    entry.settings.one_in = 0;
    entry.kind = NO_KIND;
    entry.origin = origin;
    if load(state).pending() == ALL {
        end_oldest(state, saved);
    }
}

/// The pending call in entry `index` has ended.
#[inline(always)]
pub(super) fn end(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    index: u32,
    errno: u32,
    assumed: bool,
) {
    saved.calls[index as usize].errno = errno;
    if assumed {
        saved.enters_since_assumed = 0;
    }
    store(state, load(state).with_ended(index, assumed));
}

/// All entries are pending, and one must stay free: takes the oldest call for abandoned.
#[inline(always)]
pub(super) fn end_oldest(state: &mut ThreadState, saved: &mut InterruptedCalls) {
    choose(saved, 0);
    for index in 1..MAX_INTERRUPTED {
        let oldest = chosen(saved) as usize;
        if saved.calls[index as usize].left_at < saved.calls[oldest].left_at {
            choose(saved, index);
        }
    }
    let oldest = chosen(saved);
    this_cpu::count_by(Counter::RestartsGuessed, saved.calls[oldest as usize].weight_of_guess());
    end(state, saved, oldest, ABANDONED, false);
}

/// The thread makes a call from the frame at `stack_pointer`. If an interrupted call in the same frame was assumed to be
/// abandoned, and is recorded, that was right.
#[inline(always)]
pub(super) fn confirm(state: &mut ThreadState, saved: &InterruptedCalls, stack_pointer: u64) {
    for index in 0..MAX_INTERRUPTED {
        let entries = load(state);
        let is_assumed = entries.assumed() & !entries.ended() & 1 << index != 0;
        if is_assumed && saved.calls[index as usize].stack_pointer == stack_pointer {
            store(state, entries.without(index));
        }
    }
}

/// Whether an interrupted call is set aside if another call is entered first: no handler can have left it by a jump, so
/// that it must go on. There are three reasons for the other call. A debugger lets the thread call a function (gdb's
/// `call`), and will put its registers back; or it has put a result into them; or a handler has made the program call a
/// function before the interrupted call goes on.
#[inline(always)]
pub(super) fn is_aside(state: &ThreadState, entry: &Interrupted) -> bool {
    entry.left_at != 0 && entry.handlers == state.restarts.handlers
}

/// Whether an interrupted call is the one that was made at `place`.
#[inline(always)]
pub(super) fn is_at(entry: &Interrupted, (stack_pointer, instruction_pointer): Place) -> bool {
    entry.stack_pointer == stack_pointer && entry.instruction_pointer == instruction_pointer
}

/// Whether an interrupted call may go on as one of `kind`.
#[inline(always)]
pub(super) fn goes_on_as(entry: &Interrupted, kind: u32) -> bool {
    !entry.was_seen() || entry.kind == kind || kind::is_restart_syscall(kind)
}
