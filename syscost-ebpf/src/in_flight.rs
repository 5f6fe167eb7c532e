//! The calls that are open now: an iterator over the host's threads, run when user space reads it.
//!
//! Costs the hot path nothing: when a call began is in its thread's storage anyhow, and its
//! arguments are in the registers that the kernel saved when the thread came in. Its first reading, right
//! after attaching, finds the calls that were interrupted before; see [`find_interrupted`].

use core::mem::size_of;

use aya_ebpf::{bindings::pt_regs, helpers::generated::bpf_task_pt_regs};
use syscost_common::{
    interrupted::{Entries, MAX_INTERRUPTED, UNKNOWN_STACK},
    kind::{AbiClass, unpack},
    ledger::Counter,
    open_call::{InFlight, ORIGIN_SAMPLED_OUT, ORIGIN_UNKNOWN, OpenCall, RETURNED_LATE},
    settings,
};

use crate::{
    by_task::ByTask,
    cache,
    constant::constant,
    exchange, filter, interrupted,
    iterator::{Context, Meta, write},
    kind,
    maps::MACHINE,
    scope_of, task,
    this_cpu::{self, ThisCpu},
    threads::Threads,
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
    let thread = ByTask(task);
    let mut record = InFlight { runnable: task::is_runnable(task).into(), ..InFlight::default() };
    if let Some(call) = thread.open_call() {
        (record.entered_at, record.kind) = cache::open_call_of(&thread, call);
        barrier(call);
        if call.interrupted.pending() != 0 {
            write_interrupted(meta, &thread, call, record.runnable);
        }
        record.sampled_out = u32::from(call.origin == ORIGIN_SAMPLED_OUT);
        // Between two calls. Once nothing is recorded any more, that its thread lives is told.
        if record.entered_at == 0 && !is_unseen(call.origin) {
            if ThisCpu::find().is_some_and(|cpu| settings::is_stopped(cpu.settings())) {
                record.entered_at = RETURNED_LATE;
                record.ids = task::shown_ids(task);
                // SAFETY: plain integers without padding.
                unsafe { write(meta, (&raw const record).cast(), size_of::<InFlight>()) };
            }
            return;
        }
    }
    if record.entered_at == 0 {
        // Not seen, so in a call since before attaching, or busy without any. A thread that waits was
        // brought there by a call or by a page fault, which leaves no number.
        let may_be_busy = record.runnable != 0 && record.sampled_out == 0;
        if may_be_busy || !scope_of::contains(&thread) {
            return;
        }
        // Threads of the kernel's own, io_uring's workers among them, came in by no call: what was saved
        // of user space is zeroes (copy_thread).
        if read(regs, constant!(MACHINE.regs_stack_pointer)) == 0 {
            return;
        }
        let nr = read_int(regs, constant!(MACHINE.regs_nr));
        if thread.open_call().is_none() {
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
    let is_compat = matches!(unpack(record.kind), Some((AbiClass::Compat, _)));
    for index in 0..6 {
        record.args[index] = if is_compat {
            read(regs, constant!(MACHINE.regs_compat_args[index])) as u32 as u64
        } else {
            read(regs, constant!(MACHINE.regs_args[index]))
        };
    }
    // What was read meanwhile is of this call only if it is still open. Its kind may have been read before
    // it was entered.
    match thread.open_call() {
        Some(call) => {
            barrier(call);
            let (entered_at, kind) = cache::open_call_of(&thread, call);
            if entered_at != record.entered_at {
                return;
            }
            if entered_at != 0 {
                record.kind = kind;
            } else if !is_unseen(call.origin) {
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

/// Of `thread`, which does not run, nothing has been seen yet: notes that it is in an interrupted call, if
/// its registers lead back to one.
#[inline(always)]
fn find_interrupted(thread: &ByTask, regs: *const pt_regs, nr: i32) {
    let mut behind = read(regs, constant!(MACHINE.regs_instruction_pointer));
    if constant!(MACHINE.stops_at_the_call) != 0 {
        if !task::is_stopped(thread.0) || nr >= 0 {
            return;
        }
        behind += u64::from(constant!(MACHINE.syscall_bytes));
    } else if nr < 0
        || !interrupted::is_interruption(read(regs, constant!(MACHINE.regs_result)) as i64)
    {
        return;
    }
    let (Some(kept), Some(call)) = (thread.interrupted_or_new(), thread.open_call_or_new()) else {
        return this_cpu::count(Counter::OpenCallsFull);
    };
    // Else it goes on by now.
    if call.origin == ORIGIN_UNKNOWN && call.entered_at == 0 && call.interrupted == Entries::NONE {
        let place = (read(regs, constant!(MACHINE.regs_stack_pointer)), behind);
        // Whatever its signal stack is: only the very same place is looked for.
        interrupted::keep_unseen(call, kept, place, [0, UNKNOWN_STACK], ORIGIN_UNKNOWN);
        barrier(call);
        if task::is_runnable(thread.0) {
            // It may have written there itself meanwhile.
            this_cpu::count(Counter::RestartsGuessed);
        }
    }
}

/// Whether `regs`, of a thread that does not run, show that its call has a result: it was stopped, or went to
/// sleep, on its way out. x86 puts ENOSYS there for as long as there is none (PUSH_AND_CLEAR_REGS in
/// arch/x86/entry/entry_64.S). On other machines the register is an argument's as well.
#[inline(always)]
fn has_returned(regs: *const pt_regs) -> bool {
    let result = read(regs, constant!(MACHINE.regs_result)) as i64;
    constant!(MACHINE.stops_at_the_call) == 0
        && result != -i64::from(interrupted::ENOSYS)
        && !interrupted::is_interruption(result)
}

/// Lets no reading before it be done after it, nor the other way round, on any machine.
#[inline(always)]
fn barrier(call: &mut OpenCall) {
    // SAFETY: a live map value. Adds nothing.
    unsafe { exchange::fetch_add64(&raw mut call.totals.mark, 0) };
}

/// Writes the interrupted calls of `thread`, with the arguments that they left the kernel with: the
/// thread's registers are its handler's by now.
#[inline(never)]
fn write_interrupted(meta: *const Meta, thread: &ByTask, open: &mut OpenCall, runnable: u32) {
    let Some(kept) = thread.interrupted() else { return };
    let ids = task::shown_ids(thread.0);
    for index in 0..MAX_INTERRUPTED {
        if !is_pending(open, index) {
            continue;
        }
        let call = &kept.calls[index as usize];
        // Which call it is, and with which arguments, was not seen.
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
        // Taken up again, ended, or replaced meanwhile: it is listed as open, or not at all.
        barrier(open);
        // SAFETY: fields of live map values.
        let (entered_at, opened_at) = unsafe {
            (
                (&raw const call.entered_at).read_volatile(),
                (&raw const open.entered_at).read_volatile(),
            )
        };
        if !is_pending(open, index) || entered_at != record.entered_at || opened_at == entered_at {
            continue;
        }
        // SAFETY: plain integers without padding.
        unsafe { write(meta, (&raw const record).cast(), size_of::<InFlight>()) };
    }
}

/// Whether the interrupted call in entry `index` is neither ended nor taken up again.
#[inline(always)]
fn is_pending(open: &OpenCall, index: u32) -> bool {
    // SAFETY: a field of a live map value.
    let entries: Entries = unsafe { (&raw const open.interrupted).read_volatile() };
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
