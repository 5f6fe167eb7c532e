//! The hot path: enter and exit of a call that the CPU's cache holds, and of a call known to be out of scope. Neither looks
//! anything up by thread.

use core::arch::asm;

use syscost_common::{
    cell::{self, OVERFLOW_SLOT},
    cpu_state::{CallCache, NO_CELL, NO_NR},
    filter::LEFT_OUT,
    ledger::Counter,
    settings,
};

use crate::{
    call::InRegisters,
    clock::now,
    constant::constant,
    event::Event,
    finish,
    finished::Finished,
    kind::{self, NO_CALL},
    maps::{MACHINE, PREEMPTED},
    result, scope, slots,
    storage::Storage,
    this_cpu::{self, ThisCpu},
    update::{Plain, Update},
};

/// Opens the call of the thread that `cache` is filled for, which is of the same kind as the last one. `false`: the call must
/// be opened in the thread's state.
#[inline(always)]
pub(crate) fn enter_same_kind(cache: &mut CallCache, cpu: ThisCpu) -> bool {
    if cache.entered_at != 0 || !cpu.still_has(&cache.settings) {
        return false;
    }
    begin(cache, cpu);
    true
}

/// The same for a call of any kind. `is_native`: whether it certainly is a native call.
#[inline(always)]
pub(crate) fn enter<T: Storage>(
    cache: &mut CallCache,
    cpu: ThisCpu,
    event: impl Event,
    is_native: impl FnOnce() -> bool,
) -> bool {
    if cache.entered_at != 0 || !cpu.still_has(&cache.settings) {
        return false;
    }
    let (is_native, nr) = (is_native(), event.word());
    if !(is_native && cache.nr == nr) && !change_kind::<T>(cache, nr, is_native) {
        return false;
    }
    begin(cache, cpu);
    true
}

#[inline(always)]
fn begin(cache: &mut CallCache, cpu: ThisCpu) {
    // SAFETY: a live map value.
    unsafe { Plain::add64(cpu.counter(Counter::Enters), 1) };
    // Last, so that the call is charged as little of our own time as possible.
    cache.entered_at = now();
}

/// The call that is entered is of another kind than the last one. `false`: it is not one that may be cached.
#[inline(always)]
fn change_kind<T: Storage>(cache: &mut CallCache, nr: u64, is_native: bool) -> bool {
    let is_native = is_native && constant!(MACHINE.regs_tell_native) != 0;
    let is_compat = !is_native && T::current().is_in_compat_call();
    let kind = kind::of_call(nr as u32, is_compat);
    let slot = slots::entry(kind);
    if nr as i32 == NO_CALL || slot == LEFT_OUT || kind::is_sigreturn(kind) {
        return false;
    }
    // Where the registers of a 32-bit call can look like those of a native one, the kind is found anew for each call.
    let is_known_by_nr = !is_compat && constant!(MACHINE.regs_tell_native) != 0;
    cache.nr = if is_known_by_nr { nr } else { NO_NR };
    cache.kind = kind;
    cache.cell =
        if slot == OVERFLOW_SLOT { NO_CELL } else { cell::index(this_cpu::number(), slot) };
    true
}

/// The cell for the cached call. If its kind has no slot yet, it gets one.
#[inline(always)]
fn cell_of(cache: &mut CallCache) -> u32 {
    if cache.cell == NO_CELL { find_cell(cache) } else { cache.cell }
}

/// Out of line: it is rare, and calls of a known kind need none of its registers and stack.
#[inline(never)]
fn find_cell(cache: &mut CallCache) -> u32 {
    let slot = slots::slot_of(ThisCpu::get(), cache.kind, 1);
    let cell = cell::index(this_cpu::number(), slot);
    if slot != OVERFLOW_SLOT {
        cache.cell = cell;
    }
    cell
}

/// Closes the call in `cache`, which has not left this CPU since it was entered. Returns its latency, ns. `None`: it must be
/// closed in its thread's state, or none is open.
#[inline(always)]
fn close(cache: &mut CallCache, cpu: ThisCpu) -> Option<u64> {
    if cache.entered_at == 0 || !cpu.still_has(&cache.settings) {
        return None;
    }
    let now = now();
    // Read again: to keep it meanwhile would take a register that must be saved and restored.
    // SAFETY: a live map value.
    let entered_at = unsafe { (&raw const cache.entered_at).read_volatile() };
    let mut latency_ns = now.checked_sub(entered_at)?;
    // SAFETY: no instruction. The compiler keeps the difference from here on, not the two times.
    unsafe { asm!("/* {0} */", inout(reg) latency_ns, options(nomem, nostack, preserves_flags)) };
    cache.entered_at = 0;
    Some(latency_ns)
}

/// Finishes the call in `cache` with `errno` (0 if it did not fail), where it is known to go to its cell only. `false`: see
/// [`close`].
#[inline(always)]
pub(crate) fn exit_to_cell(cache: &mut CallCache, cpu: ThisCpu, errno: u64) -> bool {
    let Some(latency_ns) = close(cache, cpu) else { return false };
    let finished = Finished::undivided(latency_ns, errno);
    finish::call_to_cells_only::<Plain>(cpu, finished, || cell_of(cache));
    true
}

/// Finishes the call in `cache`, with every sink. `thread` is the running one. `false`: see [`close`].
#[inline(always)]
pub(crate) fn exit_to_all<T: Storage>(
    cache: &mut CallCache,
    cpu: ThisCpu,
    thread: &T,
    event: impl Event,
) -> bool {
    let ret = event.word() as i64;
    if result::is_interruption(ret) {
        return false;
    }
    let Some(latency_ns) = close(cache, cpu) else { return false };
    let finished = Finished::undivided(latency_ns, result::errno(ret));
    let call = InRegisters::<T, _>::new(cache.kind, || event.regs());
    finish::call::<Plain, T, _>(cpu, thread, finished, &call, |_| cell_of(cache));
    true
}

/// Whether the thread with these registers is known to be out of scope. It saves almost all threads of the host the
/// question of their process, which takes a call of the kernel.
#[inline(always)]
pub(crate) fn is_out_of_scope(cache: &CallCache, regs: u64) -> bool {
    cache.out_of_scope_regs == regs
}

/// Notes that the running thread, with these registers, is out of scope. The note holds until the thread is switched out.
/// When user space stops seeing switches, it clears the notes before it detaches the hook at context switches.
#[inline(always)]
pub(crate) fn note_out_of_scope(cache: &mut CallCache, regs: u64, cpu: ThisCpu) {
    let stays_out = PREEMPTED.load() == 0 && scope::keeps_others_out();
    if stays_out && settings::sees_switches(cpu.detail()) {
        cache.out_of_scope_regs = regs;
    }
}
