//! Seats: a CPU keeps the open call of the thread that runs on it, so that a call that does not leave
//! the CPU finds its begin there and looks nothing up.
//!
//! A seat also knows the kind of the call that was made last, which is often the next one's.
//!
//! A thread sits down when a call of its own ends and nothing about it is out of the ordinary: no
//! interrupted call, no sampling, switches seen. It gets up when it is switched out, when it dies, and
//! for everything that its storage must know of; then an open call moves to its storage. Only the thread
//! itself and its switch-out write to its seat, one after the other on the same CPU.
//!
//! A switch-out that was not seen leaves the thread's seat taken. The storage says where that is: the
//! thread finds its call there from any CPU, and in between nobody else sits down on it.

use syscost_common::{
    cpu::{NO_NR, Seat},
    detail,
    group::NONE,
    open_call::OpenCall,
};

use crate::{
    by_task::ByTask,
    ledger::Here,
    maps::{CPUS, GROUP_BY, PREEMPTED},
    scope,
    threads::Threads,
};

/// Whether anybody sits. Where a program can be preempted it could meet its own switch-out; and totals
/// by thread are in the thread's storage. Constant to the verifier.
#[inline(always)]
fn are_used() -> bool {
    PREEMPTED.load() == 0 && GROUP_BY.load() == NONE
}

/// The seat of this CPU, whoever sits there.
#[inline(always)]
pub(crate) fn of(here: Here) -> &'static mut Seat {
    // SAFETY: in a live map value that only programs on this CPU write, which do not interrupt each
    // other where anybody sits.
    unsafe { &mut (*here.kept).seat }
}

/// The seat of `cpu`, which need not be the one that the program runs on.
#[inline(always)]
fn at(cpu: u32) -> Option<*mut Seat> {
    // SAFETY: in a live map value.
    CPUS.get_ptr_mut(cpu).map(|cpu| unsafe { &raw mut (*cpu).seat })
}

/// Lets the running thread, of which `call` is kept, sit down if it may.
#[inline(always)]
pub(crate) fn sit_down(thread: &ByTask, call: &mut OpenCall, here: Here, regs: u64) {
    let knobs = here.knobs();
    if !are_used()
        || call.interrupted.any_open()
        || !detail::sees_switches(knobs.detail)
        || knobs.one_in != 1
    {
        return;
    }
    let seat = of(here);
    if seat.task != 0 {
        return;
    }
    seat.task = thread.address();
    seat.regs = regs;
    seat.regs_in_scope = if scope::keeps_its_threads() { regs } else { 0 };
    seat.entered_at = 0;
    seat.knobs = knobs;
    seat.nr = NO_NR;
    call.seat = here.cpu + 1;
}

/// Lets the running thread get up, wherever it sits, before its storage is asked.
#[inline(always)]
pub(crate) fn get_up(thread: &ByTask, call: &mut OpenCall, cpu: u32) {
    if are_used() && call.seat != 0 {
        find_and_get_up(thread.address(), call, cpu);
    }
}

/// Out of line: it is rare where calls are many.
#[inline(never)]
fn find_and_get_up(task: u64, call: &mut OpenCall, cpu: u32) {
    let taken = call.seat.wrapping_sub(1);
    call.seat = 0;
    // SAFETY: only the thread that sits there writes to it, which is the running one or none.
    let Some(seat) = at(taken).map(|seat| unsafe { &mut *seat }) else { return };
    if seat.task != task {
        return;
    }
    let was_open = seat.entered_at != 0;
    move_to_storage(seat, call);
    if was_open && taken != cpu {
        // It was switched out and nobody saw it.
        call.knobs.detail = detail::unseen(call.knobs.detail);
    }
}

/// The CPU goes from one thread to another.
#[inline(always)]
pub(crate) fn on_switch(here: Here) {
    of(here).stranger = 0;
}

/// `prev` loses the CPU. Returns what is kept of it, if it matters that it is switched out.
#[inline(always)]
pub(crate) fn on_switch_out(prev: &ByTask, here: Here) -> Option<&mut OpenCall> {
    let seat = of(here);
    if seat.task != prev.address() {
        return prev.open_call();
    }
    if seat.entered_at == 0 {
        leave(seat);
        return None;
    }
    let Some(call) = prev.open_call() else {
        // Its storage cannot be asked while the kernel is busy with another one on this CPU (5.12 to 6.1).
        // So the call stays here, as one of which a switch was not seen: it is looked for in its storage
        // when it ends, and gets there, and what it consists of is not known.
        seat.knobs.detail = detail::unseen(seat.knobs.detail);
        return None;
    };
    call.seat = 0;
    move_to_storage(seat, call);
    Some(call)
}

#[inline(always)]
fn move_to_storage(seat: &mut Seat, call: &mut OpenCall) {
    if seat.entered_at != 0 {
        call.entered_at = seat.entered_at;
        call.kind = seat.kind;
        call.knobs = seat.knobs;
        // It has not been off the CPU since.
        call.off_before = call.off;
        seat.entered_at = 0;
    }
    leave(seat);
}

#[inline(always)]
fn leave(seat: &mut Seat) {
    seat.task = 0;
    seat.regs = 0;
    seat.regs_in_scope = 0;
}

/// The open call of `thread`, which may be running anywhere: when it was entered (0: none is open) and
/// its kind. `call`: what is kept of it.
#[inline(always)]
pub(crate) fn open_call_of(thread: &ByTask, call: &OpenCall) -> (u64, u32) {
    // The seat first: an open call goes from there to the storage, never back.
    if are_used()
        && call.seat != 0
        && let Some(seat) = at(call.seat - 1)
    {
        // SAFETY: the places are fields of a live map value of plain integers; its CPU may be writing.
        let (task, kind, entered_at) = unsafe {
            (
                (&raw const (*seat).task).read_volatile(),
                (&raw const (*seat).kind).read_volatile(),
                (&raw const (*seat).entered_at).read_volatile(),
            )
        };
        if task == thread.address() && entered_at != 0 {
            return (entered_at, kind);
        }
    }
    // SAFETY: as above.
    unsafe {
        ((&raw const call.entered_at).read_volatile(), (&raw const call.kind).read_volatile())
    }
}
