//! Seats: a CPU keeps the open call of the thread that runs on it, so that a call that does not leave
//! the CPU finds its begin there and looks nothing up.
//!
//! A seat also knows the kind of the call that was made last, which is often the next one's.
//!
//! A thread sits down when a call of its own ends and nothing about it is out of the ordinary: no
//! interrupted call, no sampling, switches seen. It gets up when it is switched out, when it dies, and
//! for everything that its storage must know of; then an open call moves to its storage. Only the thread
//! itself and its switch-out write to its cache, one after the other on the same CPU.
//!
//! A switch-out that was not seen leaves the thread's seat taken. The storage says where that is: the
//! thread finds its call there from any CPU, and in between nobody else sits down on it.

use syscost_common::{
    cpu_state::{CallCache, NO_NR},
    group::NONE,
    open_call::OpenCall,
    settings,
};

use crate::{
    by_task::ByTask,
    maps::{CPUS, GROUP_BY, PREEMPTED},
    scope,
    this_cpu::ThisCpu,
    threads::Threads,
};

/// Whether anybody sits. Where a program can be preempted it could meet its own switch-out; and totals
/// by thread are in the thread's storage. Constant to the verifier.
#[inline(always)]
fn is_used() -> bool {
    PREEMPTED.load() == 0 && GROUP_BY.load() == NONE
}

/// The seat of this CPU, whoever sits there.
#[inline(always)]
pub(crate) fn of(cpu: ThisCpu) -> &'static mut CallCache {
    // SAFETY: in a live map value that only programs on this CPU write, which do not interrupt each
    // other where anybody sits.
    unsafe { &mut (*cpu.state).cache }
}

/// The seat of `cpu`, which need not be the one that the program runs on.
#[inline(always)]
fn at(cpu: u32) -> Option<*mut CallCache> {
    // SAFETY: in a live map value.
    CPUS.get_ptr_mut(cpu).map(|cpu| unsafe { &raw mut (*cpu).cache })
}

/// Lets the running thread, of which `call` is kept, sit down if it may.
#[inline(always)]
pub(crate) fn fill(thread: &ByTask, call: &mut OpenCall, cpu: ThisCpu, regs: u64) {
    let settings = cpu.settings();
    if !is_used()
        || call.interrupted.any_open()
        || !settings::sees_switches(settings.detail)
        || settings.one_in != 1
    {
        return;
    }
    let cache = of(cpu);
    if cache.task != 0 {
        return;
    }
    cache.task = thread.address();
    cache.regs = regs;
    cache.regs_in_scope = if scope::keeps_its_threads() { regs } else { 0 };
    cache.entered_at = 0;
    cache.settings = settings;
    cache.nr = NO_NR;
    call.cached_on = cpu.number + 1;
}

/// Lets the running thread get up, wherever it sits, before its storage is asked.
#[inline(always)]
pub(crate) fn write_back(thread: &ByTask, call: &mut OpenCall, cpu: u32) {
    if is_used() && call.cached_on != 0 {
        find_and_write_back(thread.address(), call, cpu);
    }
}

/// Out of line: it is rare where calls are many.
#[inline(never)]
fn find_and_write_back(task: u64, call: &mut OpenCall, cpu: u32) {
    let taken = call.cached_on.wrapping_sub(1);
    call.cached_on = 0;
    // SAFETY: only the thread that sits there writes to it, which is the running one or none.
    let Some(cache) = at(taken).map(|cache| unsafe { &mut *cache }) else { return };
    if cache.task != task {
        return;
    }
    let was_open = cache.entered_at != 0;
    move_to_storage(cache, call);
    if was_open && taken != cpu {
        // It was switched out and nobody saw it.
        call.settings.detail = settings::unseen(call.settings.detail);
    }
}

/// The CPU goes from one thread to another.
#[inline(always)]
pub(crate) fn on_switch(cpu: ThisCpu) {
    of(cpu).out_of_scope_regs = 0;
}

/// `prev` loses the CPU. Returns what is kept of it, if it matters that it is switched out.
#[inline(always)]
pub(crate) fn on_switch_out(prev: &ByTask, cpu: ThisCpu) -> Option<&mut OpenCall> {
    let cache = of(cpu);
    if cache.task != prev.address() {
        return prev.open_call();
    }
    if cache.entered_at == 0 {
        clear(cache);
        return None;
    }
    let Some(call) = prev.open_call() else {
        // Its storage cannot be asked while the kernel is busy with another one on this CPU (5.12 to 6.1).
        // So the call stays cpu, as one of which a switch was not seen: it is looked for in its storage
        // when it ends, and gets there, and what it consists of is not known.
        cache.settings.detail = settings::unseen(cache.settings.detail);
        return None;
    };
    call.cached_on = 0;
    move_to_storage(cache, call);
    Some(call)
}

#[inline(always)]
fn move_to_storage(cache: &mut CallCache, call: &mut OpenCall) {
    if cache.entered_at != 0 {
        call.entered_at = cache.entered_at;
        call.kind = cache.kind;
        call.settings = cache.settings;
        // It has not been off the CPU since.
        call.off_before = call.off;
        cache.entered_at = 0;
    }
    clear(cache);
}

#[inline(always)]
fn clear(cache: &mut CallCache) {
    cache.task = 0;
    cache.regs = 0;
    cache.regs_in_scope = 0;
}

/// The open call of `thread`, which may be running anywhere: when it was entered (0: none is open) and
/// its kind. `call`: what is kept of it.
#[inline(always)]
pub(crate) fn open_call_of(thread: &ByTask, call: &OpenCall) -> (u64, u32) {
    // The seat first: an open call goes from there to the storage, never back.
    if is_used()
        && call.cached_on != 0
        && let Some(cache) = at(call.cached_on - 1)
    {
        // SAFETY: the places are fields of a live map value of plain integers; its CPU may be writing.
        let (task, kind, entered_at) = unsafe {
            (
                (&raw const (*cache).task).read_volatile(),
                (&raw const (*cache).kind).read_volatile(),
                (&raw const (*cache).entered_at).read_volatile(),
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
