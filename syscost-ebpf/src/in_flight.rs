//! The calls that are open now: an iterator over the host's threads, run when user space reads it.
//!
//! Costs the hot path nothing: when a call began is in its thread's storage anyhow, and its
//! arguments are in the registers that the kernel saved when the thread came in.

use core::mem::size_of;

use aya_ebpf::{bindings::pt_regs, helpers::generated::bpf_task_pt_regs};
use syscost_common::{
    kind::{AbiClass, unpack},
    open_call::InFlight,
};

use crate::{
    by_task::ByTask,
    filter,
    frozen::frozen,
    iterator::{Context, write},
    kind,
    maps::MACHINE,
    scope_of, seat, task,
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
    let mut record = InFlight { runnable: task::is_runnable(task).into(), ..InFlight::default() };
    let thread = ByTask(task);
    match thread.open_call() {
        Some(call) => {
            (record.entered_at, record.kind) = seat::open_call_of(&thread, call);
            if record.entered_at == 0 && call.interrupted.stack_pointer != 0 {
                record.entered_at = call.interrupted.entered_at;
                record.kind = call.interrupted.kind;
            }
            // Between two calls.
            if record.entered_at == 0 {
                return;
            }
        }
        // Never seen, so in a call since before attaching, or busy without any. A thread that
        // waits was brought there by a call or by a page fault, which leaves no number.
        None => {
            let nr = read_int(regs, frozen!(MACHINE.regs_nr));
            if record.runnable != 0 || nr < 0 || !scope_of::contains(task) {
                return;
            }
            // Threads of the kernel's own, io_uring's workers among them, came in by no call: what
            // was saved of user space is zeroes (copy_thread).
            if read(regs, frozen!(MACHINE.regs_stack_pointer)) == 0 {
                return;
            }
            record.kind = kind::of_call(nr as u32, task::is_in_compat_call(task));
            if filter::leaves_out(record.kind) {
                return;
            }
        }
    }
    let is_compat = matches!(unpack(record.kind), Some((AbiClass::Compat, _)));
    for index in 0..6 {
        record.args[index] = if is_compat {
            read(regs, frozen!(MACHINE.regs_compat_args[index])) as u32 as u64
        } else {
            read(regs, frozen!(MACHINE.regs_args[index]))
        };
    }
    record.ids = task::shown_ids(task);
    // SAFETY: plain integers without padding.
    unsafe { write(meta, (&raw const record).cast(), size_of::<InFlight>()) };
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
