//! The hot path: enter and exit of a call that the CPU's cache holds, and of a call known to be out of scope. Neither looks
//! anything up by thread.

use syscost_common::{
    cell::{self, OVERFLOW_SLOT},
    cpu_state::{CallCache, NO_CELL, NO_NR},
    filter::LEFT_OUT,
    ledger::Counter,
    off_cpu::OffCpu,
    settings,
};

use crate::{
    call::InRegisters,
    clock::now,
    constant::constant,
    finish,
    finished::Finished,
    kind::{self, NO_CALL},
    maps::{MACHINE, PREEMPTED},
    regs::Regs,
    result, scope, slots,
    storage::Storage,
    this_cpu::ThisCpu,
    update::{Plain, Update},
};

/// Opens call number `nr` of the thread that `cache` is filled for. `is_native`: whether it certainly is a native call.
/// `false`: the call must be opened in the thread's state.
#[inline(always)]
pub(crate) fn enter<T: Storage>(
    cache: &mut CallCache,
    cpu: ThisCpu,
    nr: u64,
    is_native: impl FnOnce() -> bool,
) -> bool {
    if cache.entered_at != 0 || !cpu.still_has(&cache.settings) {
        return false;
    }
    let is_native = is_native();
    if !(is_native && cache.nr == nr) {
        let is_native = is_native && constant!(MACHINE.regs_tell_native) != 0;
        let is_compat = !is_native && T::current().is_in_compat_call();
        if !change_kind(cache, cpu, nr, is_compat) {
            return false;
        }
    }
    // SAFETY: a live map value.
    unsafe { Plain::add64(cpu.counter(Counter::Enters), 1) };
    // Last, so that the call is charged as little of our own time as possible.
    cache.entered_at = now();
    true
}

/// The call that is entered is of another kind than the last one. `false`: it is not one that may be cached.
#[inline(always)]
fn change_kind(cache: &mut CallCache, cpu: ThisCpu, nr: u64, is_compat: bool) -> bool {
    let kind = kind::of_call(nr as u32, is_compat);
    let slot = slots::entry(kind);
    if nr as i32 == NO_CALL || slot == LEFT_OUT || kind::is_sigreturn(kind) {
        return false;
    }
    // Where the registers of a 32-bit call can look like those of a native one, the kind is found anew for each call.
    let is_known_by_nr = !is_compat && constant!(MACHINE.regs_tell_native) != 0;
    cache.nr = if is_known_by_nr { nr } else { NO_NR };
    cache.kind = kind;
    cache.cell = if slot == OVERFLOW_SLOT { NO_CELL } else { cell::index(cpu.number, slot) };
    true
}

/// The cell for the cached call. If its kind has no slot yet, it gets one.
#[inline(always)]
fn cell_of(cache: &mut CallCache, cpu: ThisCpu) -> u32 {
    if cache.cell == NO_CELL {
        let slot = slots::slot_of(cpu, cache.kind, 1);
        let cell = cell::index(cpu.number, slot);
        if slot != OVERFLOW_SLOT {
            cache.cell = cell;
        }
        return cell;
    }
    cache.cell
}

/// Finishes the call in `cache`, which has not left this CPU since it was entered. `false`: it must be closed in its
/// thread's state, or none is open.
#[inline(always)]
pub(crate) fn exit(
    cache: &mut CallCache,
    cpu: ThisCpu,
    ret: i64,
    finish: impl FnOnce(&mut CallCache, Finished),
) -> bool {
    let entered_at = cache.entered_at;
    if entered_at == 0 || !cpu.still_has(&cache.settings) {
        return false;
    }
    let now = now();
    let errno = result::errno(ret);
    if errno != 0 && result::is_interruption(ret) {
        return false;
    }
    let Some(latency_ns) = now.checked_sub(entered_at) else { return false };
    cache.entered_at = 0;
    finish(cache, Finished { latency_ns, seen: true, off: OffCpu::NONE, weight: 1, errno });
    true
}

/// The same, where the call is known to go to the cells only.
#[inline(always)]
pub(crate) fn exit_to_cells_only(cache: &mut CallCache, cpu: ThisCpu, ret: i64) -> bool {
    exit(cache, cpu, ret, |cache, finished| {
        finish::call_to_cells_only::<Plain>(cpu, finished, || cell_of(cache, cpu));
    })
}

/// The same, with every sink; `thread` is the running one.
#[inline(always)]
pub(crate) fn exit_to_all<T: Storage>(
    cache: &mut CallCache,
    cpu: ThisCpu,
    thread: &T,
    regs: impl Regs,
    ret: i64,
) -> bool {
    exit(cache, cpu, ret, |cache, finished| {
        let call = InRegisters::<T, _>::new(cache.kind, || regs.get());
        finish::call::<Plain, T, _>(cpu, thread, finished, &call, |_| cell_of(cache, cpu));
    })
}

/// Whether the thread with these registers is known to be out of scope. It saves almost all threads of the host the
/// question of their process, which takes a call of the kernel.
#[inline(always)]
pub(crate) fn is_out_of_scope(cache: &CallCache, regs: u64, cpu: ThisCpu) -> bool {
    cache.out_of_scope_regs == regs && cache.out_of_scope_detail == cpu.detail()
}

/// Notes that the running thread, with these registers, is out of scope. The note holds until the thread is switched out.
#[inline(always)]
pub(crate) fn note_out_of_scope(cache: &mut CallCache, regs: u64, cpu: ThisCpu) {
    let detail = cpu.detail();
    let stays_out = PREEMPTED.load() == 0 && scope::keeps_others_out();
    if stays_out && settings::sees_switches(detail) {
        cache.out_of_scope_regs = regs;
        cache.out_of_scope_detail = detail;
    }
}
