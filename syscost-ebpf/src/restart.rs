//! Interrupted calls: one call to the program, however often the kernel enters it.
//!
//! A signal takes a blocked call out of the kernel with ERESTARTSYS to ERESTART_RESTARTBLOCK, which
//! the program never sees. Without a handler the kernel enters the call again at once. With one,
//! the handler runs first and makes calls of its own; its `rt_sigreturn` then either leads to the
//! call being entered again or hands EINTR to the program. Both happen with the stack pointer that the call
//! had, which a handler's calls do not have.
//!
//! What is rare is out of line, so that it does not crowd the registers of the hot path.

use syscost_common::{
    kind::{AbiClass, NRS_PER_ABI, pack},
    ledger::Counter,
    open_call::{Interrupted, OpenCall},
};

use crate::{
    atomic::Raise,
    frozen::frozen,
    ledger::{self, Here},
    maps::MACHINE,
    own::Either,
    record::{self, Finished},
    syscall::was_seen,
};

const EINTR: u64 = 4;

/// Whether `ret` says that the call was interrupted and has not returned by this.
#[inline(always)]
pub(crate) fn is_interruption(ret: i64) -> bool {
    // ERESTARTSYS 512, ERESTARTNOINTR 513, ENOIOCTLCMD 515 is none, ERESTARTNOHAND 514,
    // ERESTART_RESTARTBLOCK 516 (include/linux/errno.h).
    matches!(ret, -514..=-512 | -516)
}

/// `call` has left the kernel at `now`, interrupted.
#[inline(never)]
pub(crate) fn interrupt<R: Raise>(
    call: &mut OpenCall,
    entered_at: u64,
    now: u64,
    stack_pointer: u64,
) {
    let Some(here) = Here::find() else { return };
    if call.interrupted.stack_pointer != 0 {
        // A handler's call was interrupted by another handler.
        here.count_by(Counter::RestartsGuessed, call.interrupted.knobs.one_in);
        end_with_eintr::<R>(call);
    }
    here.count_by(Counter::Interrupted, call.knobs.one_in);
    call.interrupted = Interrupted {
        entered_at,
        left_at: now,
        stack_pointer,
        kind: call.kind,
        knobs: call.knobs,
        off_before: call.off_before,
        off_at_leaving: call.off,
        reserved: 0,
    };
}

/// Whether the call of `kind` that is being entered is the interrupted one; then it is open again,
/// and as old as it was.
#[inline(never)]
pub(crate) fn resume(call: &mut OpenCall, kind: u32, stack_pointer: u64) -> bool {
    let interrupted = call.interrupted;
    if interrupted.stack_pointer != stack_pointer
        || (interrupted.kind != kind && !is_restart_syscall(kind))
    {
        return false;
    }
    ledger::count_by(Counter::Restarts, interrupted.knobs.one_in);
    call.kind = interrupted.kind;
    call.knobs = interrupted.knobs;
    call.off_before = interrupted.off_before;
    call.entered_at = interrupted.entered_at;
    call.interrupted.stack_pointer = 0;
    true
}

/// A handler has returned to where the stack pointer is `stack_pointer`, with `ret` in the register
/// that holds results.
#[inline(never)]
pub(crate) fn handler_returned<R: Raise>(call: &mut OpenCall, ret: i64, stack_pointer: u64) {
    if record::errno(ret) == EINTR && call.interrupted.stack_pointer == stack_pointer {
        end_with_eintr::<R>(call);
    }
}

#[inline(never)]
fn end_with_eintr<R: Raise>(call: &mut OpenCall) {
    let Some(here) = Here::find() else { return };
    let Interrupted { kind, knobs, entered_at, left_at, .. } = call.interrupted;
    let Interrupted { off_before, off_at_leaving, .. } = call.interrupted;
    call.interrupted.stack_pointer = 0;
    let weight = knobs.one_in;
    here.uncount(Counter::Interrupted, weight);
    let latency_ns = left_at.saturating_sub(entered_at);
    let seen = was_seen(knobs, here.knobs());
    let off = off_at_leaving.since(off_before);
    let finished = Finished { latency_ns, seen, off, weight, errno: EINTR };
    let cell = || record::cell_of(here, kind, weight);
    record::call::<Either<R>>(here, finished, Some(&mut call.totals), cell);
}

#[inline(always)]
fn is_restart_syscall(kind: u32) -> bool {
    kind == pack(AbiClass::Native, frozen!(MACHINE.restart_syscall))
        || kind == pack(AbiClass::X32, 219)
        // i386 and 32-bit Arm.
        || kind == pack(AbiClass::Compat, 0)
}

/// Whether `kind` is a handler's return: its result is whatever the interrupted code had there.
#[inline(always)]
pub(crate) fn is_sigreturn(kind: u32) -> bool {
    if kind < NRS_PER_ABI {
        return kind == pack(AbiClass::Native, frozen!(MACHINE.rt_sigreturn));
    }
    kind == pack(AbiClass::X32, 513)
        // i386 and 32-bit Arm: sigreturn and rt_sigreturn.
        || kind == pack(AbiClass::Compat, 119)
        || kind == pack(AbiClass::Compat, 173)
}
