//! Interrupted calls: a signal took them out of the kernel before they had a result.
//!
//! A call that leaves the kernel with one of ERESTARTSYS to ERESTART_RESTARTBLOCK has neither
//! finished nor is it in the kernel. Without a handler the kernel enters it again at once. With a
//! handler, its `rt_sigreturn` either leads back to the system call instruction, or behind it with a
//! result, usually EINTR (Linux: `arch_do_signal_or_restart`, `handle_signal`). A handler may also
//! never return: it leaves by `siglongjmp`, `setcontext` or `execve`, and the call is abandoned.

use crate::{off_cpu::OffCpu, settings::Settings};

/// Entries for the interrupted calls of a thread: three pending ones (a call, the call of the handler that
/// interrupted it, and so on), and one more. A power of two.
pub const MAX_INTERRUPTED: u32 = 4;

/// After this many further enters without an `rt_sigreturn` to it, an interrupted call is taken for abandoned, which is a
/// guess. Handlers make few calls; a thread with an interrupted call is not cached.
pub const MAX_ENTERS_IN_HANDLER: u64 = 1000;

/// How many threads without task storage can have interrupted calls at the same time.
pub const MAX_INTERRUPTED_BY_TID: u32 = 1024;

/// At most this many handlers of a thread can have begun unseen, each inside the one before. A program can also make
/// `rt_sigreturn` without any handler; with more of them, it is a guess what they return to.
pub const MAX_UNSEEN_RETURNS: u32 = 3;

/// One interrupted call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Interrupted {
    /// When it was first entered, ns of CLOCK_MONOTONIC; 0 if that was not seen, or if the call is sampled out. Such a call is
    /// not recorded, and neither is what it goes on with. One that was not seen counts as
    /// [`Counter::OpenAtAttach`](crate::ledger::Counter::OpenAtAttach) only.
    pub entered_at: u64,
    /// When it left the kernel, ns of CLOCK_MONOTONIC.
    pub left_at: u64,
    /// The user stack pointer of the call.
    pub stack_pointer: u64,
    /// The user address behind the system call instruction.
    pub instruction_pointer: u64,
    /// The thread's alternate signal stack at that moment: lowest address and size in bytes; a size
    /// of 0 for none, [`UNKNOWN_STACK`] where it cannot be read.
    pub signal_stack: [u64; 2],
    /// The settings when it was first entered. For a call that is not recorded, `one_in` is how often it has been counted as
    /// open at attach.
    pub settings: Settings,
    /// The thread's time off the CPU when it was first entered.
    pub off_before: OffCpu,
    /// The same when it left the kernel.
    pub off_at_leaving: OffCpu,
    /// Its arguments, as the registers held them.
    pub args: [u64; 6],
    /// Its kind, see [`crate::kind`]; [`NO_KIND`] where it is not known.
    pub kind: u32,
    /// Once it has ended: its errno, 0 for none, or [`ABANDONED`].
    pub errno: u32,
    /// [`Restarts::handlers`] when it left the kernel. As long as there are not more, every handler that has begun since
    /// has returned: none can have left the call by a jump.
    pub handlers: u32,
    /// For a call that is not recorded: what [`OpenCall::origin`](crate::open_call::OpenCall::origin) becomes when it goes
    /// on.
    pub origin: u32,
}

const _: () = assert!(size_of::<Interrupted>() == 152);

/// The kind of a call whose number was not seen: no call has it.
pub const NO_KIND: u32 = u32::MAX;

/// In place of an errno: no handler returned to the call.
pub const ABANDONED: u32 = u32::MAX;

/// The size of a signal stack that cannot be read.
pub const UNKNOWN_STACK: u64 = u64::MAX;

impl Interrupted {
    /// Whether the call was seen to be entered, and is recorded when it ends.
    #[inline(always)]
    pub const fn was_seen(&self) -> bool {
        self.entered_at != 0
    }

    /// How many calls may be wrong if its end is guessed: what it stands for, at least itself.
    #[inline(always)]
    pub const fn weight_of_guess(&self) -> u32 {
        if self.settings.one_in == 0 { 1 } else { self.settings.one_in }
    }

    /// How a thread whose stack pointer is `stack_pointer` has left the frame of this call. A handler runs
    /// below that frame, or on the signal stack. `None`: not known.
    #[inline(always)]
    pub const fn is_abandoned_at(&self, stack_pointer: u64) -> Option<Jump> {
        let [lowest, bytes] = self.signal_stack;
        if stack_pointer == self.stack_pointer {
            return Some(Jump::SameFrame);
        }
        if bytes == UNKNOWN_STACK {
            return None;
        }
        let is_there = is_on(lowest, bytes, stack_pointer);
        let was_there = is_on(lowest, bytes, self.stack_pointer);
        if is_there != was_there {
            // From the signal stack back to another one; or a handler that runs there.
            return Some(if was_there { Jump::Near } else { Jump::None });
        }
        // A signal frame holds all registers: no handler's own frame is as close as this.
        if stack_pointer.wrapping_add(MIN_SIGNAL_FRAME) <= self.stack_pointer {
            return Some(Jump::None);
        }
        let is_near = stack_pointer < self.stack_pointer.wrapping_add(FAR);
        Some(if is_near { Jump::Near } else { Jump::Far })
    }
}

/// How a thread has left the frame of an interrupted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// Not at all: it is in a handler.
    None,
    /// It is in the very same frame again: for good.
    SameFrame,
    /// Up its stack, probably.
    Near,
    /// So far that it may be on another stack, and the handler can still return.
    Far,
}

/// Frames that are less than this apart, in bytes, are taken to be on the same stack: a program with several
/// stacks makes each of them larger.
const FAR: u64 = 32 * 1024;

/// A signal frame is larger than this (bytes): `struct rt_sigframe` of x86-64 and arm64 holds a
/// `ucontext` and a `siginfo` of 128 bytes.
const MIN_SIGNAL_FRAME: u64 = 256;

/// As `__on_sig_stack` of include/linux/sched/signal.h.
#[inline(always)]
const fn is_on(lowest: u64, bytes: u64, stack_pointer: u64) -> bool {
    stack_pointer > lowest && stack_pointer.wrapping_sub(lowest) <= bytes
}

/// Which calls of a thread are interrupted. Part of its state, because each enter and exit asks for it; the calls themselves
/// are in [`InterruptedCalls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Restarts {
    /// Which entries of the thread's [`InterruptedCalls`] are in use.
    pub entries: Entries,
    /// The index of the interrupted call that the very next enter may be again, plus 1: no handler has run since. 0 for
    /// none.
    pub may_restart: u32,
    /// Signal handlers that were seen to begin, and not to return. It is too large after a handler that never returns. At 0,
    /// an `rt_sigreturn` is that of a handler that began unseen.
    pub handlers: u32,
    /// Handlers that began unseen, and returned to a call that was taken for interrupted.
    pub unseen_returns: u32,
}

const _: () = assert!(size_of::<Restarts>() == 16);

/// The interrupted calls of a thread. Which entries are in use is in [`Restarts::entries`]. All zero: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct InterruptedCalls {
    /// The calls, in no particular order.
    pub calls: [Interrupted; MAX_INTERRUPTED as usize],
    /// Enters since the last interruption.
    pub enters: u64,
    /// Enters since a call was last assumed to be abandoned.
    pub enters_since_assumed: u64,
    /// The index of an entry, while a program works with it. It is in memory because the verifier would otherwise walk the
    /// rest of the program once for each index.
    pub chosen: u64,
}

const _: () = assert!(size_of::<InterruptedCalls>() == 632);

/// Which entries of [`InterruptedCalls`] are in use, and for what: three sets of
/// [`MAX_INTERRUPTED`] bits each, and a flag. A word of zeroes is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entries(pub u32);

impl Entries {
    /// No entry is in use.
    pub const NONE: Self = Self(0);
    const ALL: u32 = (1 << MAX_INTERRUPTED) - 1;
    const ENDED: u32 = MAX_INTERRUPTED;
    const ASSUMED: u32 = 2 * MAX_INTERRUPTED;
    /// Set beside them once so many calls have been made since the last assumption that it is no longer checked.
    const SETTLED: u32 = 1 << (3 * MAX_INTERRUPTED);

    /// The calls that have not ended, as far as is known.
    #[inline(always)]
    pub const fn pending(self) -> u32 {
        self.0 & Self::ALL
    }

    /// The calls that have ended, or are assumed to, and are not recorded yet.
    #[inline(always)]
    pub const fn ended(self) -> u32 {
        self.0 >> Self::ENDED & Self::ALL
    }

    /// The calls that were assumed to be abandoned: an `rt_sigreturn` to one of them proves the
    /// assumption wrong.
    #[inline(always)]
    pub const fn assumed(self) -> u32 {
        self.0 >> Self::ASSUMED & Self::ALL
    }

    /// Whether each call of the thread must be looked at: another one is interrupted and not recorded, or is assumed to be
    /// abandoned and that is still checked.
    #[inline(always)]
    pub const fn any_open(self) -> bool {
        let is_settled = self.0 & Self::SETTLED != 0;
        (self.pending() | self.ended()) != 0 || (self.assumed() != 0 && !is_settled)
    }

    /// With nothing more to be looked for.
    #[inline(always)]
    pub const fn settled(self) -> Self {
        Self::of(self.0 | Self::SETTLED)
    }

    /// `bits`; the flag alone counts as none.
    #[inline(always)]
    const fn of(bits: u32) -> Self {
        Self(if bits == Self::SETTLED { 0 } else { bits })
    }

    /// With entry `index` used for a call whose end is not known yet.
    #[inline(always)]
    pub const fn with_pending(self, index: u32) -> Self {
        Self(self.without(index).0 | 1 << index)
    }

    /// With entry `index` used for a call that has ended and has to be recorded. `assumed`: whether
    /// that may turn out to be wrong.
    #[inline(always)]
    pub const fn with_ended(self, index: u32, assumed: bool) -> Self {
        let bit = 1 << index;
        let without = self.without(index).0;
        if assumed {
            return Self(without & !Self::SETTLED | bit << Self::ENDED | bit << Self::ASSUMED);
        }
        Self(without | bit << Self::ENDED)
    }

    /// With entry `index` recorded; it stays known if its end was only assumed.
    #[inline(always)]
    pub const fn with_recorded(self, index: u32) -> Self {
        Self::of(self.0 & !(1 << index | 1 << index << Self::ENDED))
    }

    /// With the end of entry `index` no longer remembered as assumed.
    #[inline(always)]
    pub const fn without_assumption(self, index: u32) -> Self {
        Self::of(self.0 & !(1 << index << Self::ASSUMED))
    }

    /// Without entry `index`.
    #[inline(always)]
    pub const fn without(self, index: u32) -> Self {
        let bit = 1 << index;
        Self::of(self.0 & !(bit | bit << Self::ENDED | bit << Self::ASSUMED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn call(stack_pointer: u64, signal_stack: [u64; 2]) -> Interrupted {
        Interrupted { stack_pointer, signal_stack, ..Interrupted::default() }
    }

    #[test]
    fn a_handler_runs_below_the_frame_and_anything_above_has_left_it() {
        let call = call(100 * PAGE, [0, 0]);
        assert_eq!(call.is_abandoned_at(99 * PAGE), Some(Jump::None), "in a handler, or deeper");
        assert_eq!(call.is_abandoned_at(100 * PAGE), Some(Jump::SameFrame));
        let too_close = call.is_abandoned_at(100 * PAGE - 16);
        assert_eq!(too_close, Some(Jump::Near), "no room for a signal frame");
        assert_eq!(call.is_abandoned_at(101 * PAGE), Some(Jump::Near));
        assert_eq!(call.is_abandoned_at(107 * PAGE), Some(Jump::Near));
        assert_eq!(call.is_abandoned_at(108 * PAGE), Some(Jump::Far), "maybe another stack");
    }

    #[test]
    fn a_handler_on_the_signal_stack_has_left_nothing_wherever_that_is() {
        for lowest in [10 * PAGE, 1000 * PAGE] {
            let call = call(100 * PAGE, [lowest, 2 * PAGE]);
            assert_eq!(call.is_abandoned_at(lowest + PAGE), Some(Jump::None));
            let highest = call.is_abandoned_at(lowest + 2 * PAGE);
            assert_eq!(highest, Some(Jump::None), "its highest address");
            assert_eq!(call.is_abandoned_at(101 * PAGE), Some(Jump::Near));
        }
    }

    #[test]
    fn a_handlers_call_on_the_signal_stack_is_left_by_leaving_that_stack() {
        let call = call(11 * PAGE, [10 * PAGE, 2 * PAGE]);
        assert_eq!(call.is_abandoned_at(100 * PAGE), Some(Jump::Near));
        let deeper = call.is_abandoned_at(10 * PAGE + 100);
        assert_eq!(deeper, Some(Jump::None), "a handler in a handler");
        assert_eq!(call.is_abandoned_at(11 * PAGE + 500), Some(Jump::Near));
    }

    #[test]
    fn where_the_signal_stack_is_not_known_only_the_same_frame_tells() {
        let call = call(100 * PAGE, [0, UNKNOWN_STACK]);
        assert_eq!(call.is_abandoned_at(100 * PAGE), Some(Jump::SameFrame));
        assert_eq!(call.is_abandoned_at(101 * PAGE), None);
    }

    #[test]
    fn an_entry_is_used_for_one_thing_at_a_time() {
        let pending = Entries::NONE.with_pending(2);
        assert_eq!((pending.pending(), pending.ended(), pending.assumed()), (4, 0, 0));
        let assumed = pending.with_ended(2, true);
        assert_eq!((assumed.pending(), assumed.ended(), assumed.assumed()), (0, 4, 4));
        assert!(assumed.any_open());
        let recorded = assumed.with_recorded(2);
        assert_eq!((recorded.pending(), recorded.ended(), recorded.assumed()), (0, 0, 4));
        assert!(recorded.any_open(), "a handler may return to it yet");
        let settled = recorded.settled();
        assert!(!settled.any_open() && settled.assumed() == 4);
        assert_eq!(settled.with_pending(1).without(1), settled);
        assert_eq!(settled.with_ended(1, true).assumed(), 6);
        assert!(settled.with_ended(1, true).with_recorded(1).any_open(), "of another one");
        assert_eq!((settled.without(2), Entries::NONE.settled()), (Entries::NONE, Entries::NONE));
        assert_eq!(settled.without_assumption(2), Entries::NONE);
        assert_eq!(pending.with_ended(2, false).settled().with_recorded(2), Entries::NONE);
        assert_eq!(recorded.with_pending(2), pending);
        assert_eq!(pending.with_ended(2, false).with_recorded(2), Entries::NONE);
        assert_eq!(recorded.with_pending(0).without(2), Entries::NONE.with_pending(0));
    }
}
