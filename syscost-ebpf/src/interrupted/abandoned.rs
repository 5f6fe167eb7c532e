//! Interrupted calls that will not go on: where the stack pointer of a later call, or of a handler's return, shows that
//! their frames are gone.

use syscost_common::{
    interrupted::{ABANDONED, InterruptedCalls, Jump, MAX_INTERRUPTED},
    ledger::Counter,
    thread_state::ThreadState,
};

use super::entries::{confirm, end, is_aside, load};
use crate::{result::EINTR, this_cpu};

/// What the thread does when its stack pointer is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Came {
    /// It makes a call.
    ByCall,
    /// It returns from a handler.
    ByHandler,
    /// The same, with -EINTR in the register that holds results.
    ByHandlerWithEintr,
}

/// Ends the interrupted calls whose frames are gone, with the thread's stack pointer at `stack_pointer`.
#[inline(always)]
pub(super) fn find_abandoned(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    stack_pointer: u64,
    came: Came,
) {
    for index in 0..MAX_INTERRUPTED {
        if load(state).pending() & 1 << index == 0 {
            continue;
        }
        let entry = &saved.calls[index as usize];
        if is_aside(state, entry) {
            end_aside(state, saved, index, stack_pointer, came);
            continue;
        }
        // A program with several stacks may be on another stack: if a handler has switched to it, the handler can still
        // return.
        match entry.is_abandoned_at(stack_pointer) {
            Some(Jump::SameFrame) => end(state, saved, index, ABANDONED, false),
            Some(Jump::Near) => end(state, saved, index, ABANDONED, true),
            Some(Jump::Far) => {
                this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
                end(state, saved, index, ABANDONED, false);
            }
            Some(Jump::None) | None => {}
        }
    }
    confirm(state, saved, stack_pointer);
}

/// The same for the call in entry `index`, which is set aside. All of this is a guess.
#[inline(always)]
fn end_aside(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    index: u32,
    stack_pointer: u64,
    came: Came,
) {
    let index = index & (MAX_INTERRUPTED - 1);
    let entry = &saved.calls[index as usize];
    // A function that a debugger calls runs below. So does a function that a handler makes the program call in place of
    // the return from the interrupted call; then the result is still in the register.
    let is_below = stack_pointer < entry.stack_pointer;
    let errno = match came {
        Came::ByCall if is_below => return,
        Came::ByHandlerWithEintr if is_below => EINTR,
        _ => ABANDONED,
    };
    this_cpu::count_by(Counter::RestartsGuessed, entry.weight_of_guess());
    if !is_below || errno != ABANDONED {
        end(state, saved, index, errno, false);
    }
}

/// Takes all interrupted calls of a thread for abandoned. `guessed`: a handler may still return to them.
#[inline(always)]
pub(super) fn abandon_all(state: &mut ThreadState, saved: &mut InterruptedCalls, guessed: bool) {
    state.restarts.may_restart = 0;
    for index in 0..MAX_INTERRUPTED {
        if load(state).pending() & 1 << index != 0 {
            if guessed {
                let weight = saved.calls[index as usize].weight_of_guess();
                this_cpu::count_by(Counter::RestartsGuessed, weight);
            }
            end(state, saved, index, ABANDONED, false);
        }
    }
}

/// The thread is back in the frame at `stack_pointer`, from functions that a debugger has called: calls that were
/// interrupted in those, below, have ended.
#[inline(always)]
pub(super) fn abandon_below(
    state: &mut ThreadState,
    saved: &mut InterruptedCalls,
    stack_pointer: u64,
) {
    for index in 0..MAX_INTERRUPTED {
        let is_pending = load(state).pending() & 1 << index != 0;
        if is_pending && saved.calls[index as usize].stack_pointer < stack_pointer {
            end(state, saved, index, ABANDONED, false);
        }
    }
}
