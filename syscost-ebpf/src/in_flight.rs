//! The calls that are open now: an iterator over the host's threads, run when user space reads it.
//!
//! It costs the hot path nothing: the time of the enter is in the thread's state anyway, and the arguments are in the
//! registers that the kernel saved at the enter. Its first reading, right after attaching, finds the calls that were
//! interrupted before; see [`find_interrupted`].

use core::mem::size_of;

use aya_ebpf::{bindings::pt_regs, helpers::generated::bpf_task_pt_regs};
use syscost_common::{
    in_flight::InFlight,
    interrupted::{Entries, MAX_INTERRUPTED, UNKNOWN_STACK},
    ledger::Counter,
    open_call::{ORIGIN_SAMPLED_OUT, ORIGIN_UNKNOWN, RETURNED_LATE},
    settings,
    thread_state::ThreadState,
};

use crate::{
    btf_thread::BtfThread,
    cache,
    call::{ARGS, Call, InRegisters},
    constant::constant,
    exchange, filter, interrupted,
    iterator::{Context, Meta, write},
    kind,
    maps::MACHINE,
    result::{self, ENOSYS},
    scope_of,
    storage::Storage,
    task,
    this_cpu::{self, ThisCpu},
};

#[inline(always)]
pub(crate) fn on_task(ctx: *mut Context) {
    // SAFETY: the kernel hands over a context of this layout, which the verifier knows.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null() {
        return;
    }
    // SAFETY: the task is live.
    let regs: *const pt_regs = unsafe { bpf_task_pt_regs(task) as *const pt_regs };
    let thread = BtfThread(task);
    let mut record = InFlight { runnable: task::is_runnable(task).into(), ..InFlight::default() };
    if let Some(state) = thread.state() {
        (record.entered_at, record.kind) = cache::open_call_of(thread.address(), &state.call);
        barrier(state);
        if state.restarts.entries.pending() != 0 {
            write_interrupted(meta, &thread, state, record.runnable);
        }
        record.sampled_out = u32::from(state.call.origin == ORIGIN_SAMPLED_OUT);
        // Between two calls. After the end of the measurement, a record says that the thread lives.
        if record.entered_at == 0 && !is_unseen(state.call.origin) {
            if settings::is_stopped(ThisCpu::get().settings()) {
                record.entered_at = RETURNED_LATE;
                record.ids = task::shown_ids(task);
                // SAFETY: plain integers without padding.
                unsafe { write(meta, (&raw const record).cast(), size_of::<InFlight>()) };
            }
            return;
        }
    }
    if record.entered_at == 0 {
        // No enter was seen: the thread is in a call since before attaching, or in none. A thread that waits does so in a
        // call, or in a page fault, which leaves no number.
        let may_be_busy = record.runnable != 0 && record.sampled_out == 0;
        if may_be_busy || !scope_of::contains(&thread) {
            return;
        }
        // The kernel's own threads, io_uring's workers among them, have made no call: their saved registers are zero
        // (copy_thread).
        if read(regs, constant!(MACHINE.regs_stack_pointer)) == 0 {
            return;
        }
        let nr = read_int(regs, constant!(MACHINE.regs_nr));
        if thread.state().is_none() {
            find_interrupted(&thread, regs, nr);
        }
        if nr < 0 || has_returned(regs) {
            return;
        }
        record.kind = kind::of_call(nr as u32, task::is_in_compat_call(task));
        if filter::leaves_out(record.kind) {
            return;
        }
    }
    let call = InRegisters::<BtfThread, _>::new(record.kind, || regs);
    for index in 0..ARGS {
        record.args[index] = call.arg(index);
    }
    // The arguments are of this call only if it is still open. The kind may have been read before it was entered.
    match thread.state() {
        Some(state) => {
            barrier(state);
            let (entered_at, kind) = cache::open_call_of(thread.address(), &state.call);
            if entered_at != record.entered_at {
                return;
            }
            if entered_at != 0 {
                record.kind = kind;
            } else if !is_unseen(state.call.origin) {
                return;
            }
        }
        None if record.entered_at != 0 => return,
        None => {}
    }
    record.ids = task::shown_ids(task);
    // SAFETY: plain integers without padding.
    unsafe { write(meta, (&raw const record).cast(), size_of::<InFlight>()) };
}

/// Whether a thread of this origin may be in a call though none is open.
#[inline(always)]
fn is_unseen(origin: u32) -> bool {
    matches!(origin, ORIGIN_UNKNOWN | ORIGIN_SAMPLED_OUT)
}

/// No event of `thread`, which does not run, has been seen yet: notes that it is in an interrupted call, if its registers
/// lead back to one.
#[inline(always)]
fn find_interrupted(thread: &BtfThread, regs: *const pt_regs, nr: i32) {
    let mut behind = read(regs, constant!(MACHINE.regs_instruction_pointer));
    if constant!(MACHINE.stops_at_the_call) != 0 {
        if !task::is_stopped(thread.0) || nr >= 0 {
            return;
        }
        behind += u64::from(constant!(MACHINE.syscall_bytes));
    } else if nr < 0 || !result::is_interruption(read(regs, constant!(MACHINE.regs_result)) as i64)
    {
        return;
    }
    let (Some(saved), Some(state)) = (thread.interrupted_or_new(), thread.state_or_new()) else {
        return this_cpu::count(Counter::OpenCallsFull);
    };
    // Otherwise it has gone on meanwhile.
    let (call, restarts) = (&state.call, &state.restarts);
    if call.origin == ORIGIN_UNKNOWN && call.entered_at == 0 && restarts.entries == Entries::NONE {
        let place = (read(regs, constant!(MACHINE.regs_stack_pointer)), behind);
        // The signal stack does not matter: the call can only be found by its place.
        interrupted::keep_unseen(state, saved, place, [0, UNKNOWN_STACK], ORIGIN_UNKNOWN);
        barrier(state);
        if task::is_runnable(thread.0) {
            // It may have changed its state itself meanwhile.
            this_cpu::count(Counter::RestartsGuessed);
        }
    }
}

/// Whether `regs`, of a thread that does not run, show that its call has a result: it was stopped, or went to sleep, on its
/// way out of the kernel. x86 puts ENOSYS there for as long as there is none (PUSH_AND_CLEAR_REGS in
/// arch/x86/entry/entry_64.S). On other machines the register is an argument's as well.
#[inline(always)]
fn has_returned(regs: *const pt_regs) -> bool {
    let result = read(regs, constant!(MACHINE.regs_result)) as i64;
    constant!(MACHINE.stops_at_the_call) == 0
        && result != -i64::from(ENOSYS)
        && !result::is_interruption(result)
}

/// Orders all loads before it against all loads after it, on any machine.
#[inline(always)]
fn barrier(state: &mut ThreadState) {
    // SAFETY: a live map value. Adds nothing, in one step, so that no store of the thread itself is lost.
    unsafe { exchange::fetch_add64(&raw mut state.call.entered_at, 0) };
}

/// Writes the interrupted calls of `thread`, with the arguments noted when they were interrupted: the thread's registers are
/// its handler's now.
#[inline(never)]
fn write_interrupted(
    meta: *const Meta,
    thread: &BtfThread,
    state: &mut ThreadState,
    runnable: u32,
) {
    let Some(saved) = thread.interrupted() else { return };
    let ids = task::shown_ids(thread.0);
    for index in 0..MAX_INTERRUPTED {
        if !is_pending(state, index) {
            continue;
        }
        let call = &saved.calls[index as usize];
        // Its number and arguments were not seen.
        if !call.was_seen() {
            continue;
        }
        let record = InFlight {
            ids,
            entered_at: call.entered_at,
            args: call.args,
            runnable,
            kind: call.kind,
            interrupted: 1,
            sampled_out: 0,
        };
        // If it has gone on, ended, or been replaced meanwhile, it is listed as open, or not at all.
        barrier(state);
        // SAFETY: fields of live map values.
        let (entered_at, opened_at) = unsafe {
            (
                (&raw const call.entered_at).read_volatile(),
                (&raw const state.call.entered_at).read_volatile(),
            )
        };
        if !is_pending(state, index) || entered_at != record.entered_at || opened_at == entered_at {
            continue;
        }
        // SAFETY: plain integers without padding.
        unsafe { write(meta, (&raw const record).cast(), size_of::<InFlight>()) };
    }
}

/// Whether the interrupted call in entry `index` is neither ended nor taken up again.
#[inline(always)]
fn is_pending(state: &ThreadState, index: u32) -> bool {
    // SAFETY: a field of a live map value.
    let entries: Entries = unsafe { (&raw const state.restarts.entries).read_volatile() };
    entries.pending() & 1 << index != 0
}

/// The number of a call is a long on x86 and an int on arm64; its low half is the same.
#[inline(always)]
fn read_int(regs: *const pt_regs, offset: u32) -> i32 {
    // SAFETY: as below.
    unsafe { regs.cast::<u8>().add(offset as usize).cast::<i32>().read_volatile() }
}

#[inline(always)]
fn read(regs: *const pt_regs, offset: u32) -> u64 {
    // SAFETY: a BTF pointer; the verifier checks the offset against the type.
    unsafe { regs.cast::<u8>().add(offset as usize).cast::<u64>().read_volatile() }
}
