//! The per-CPU cache of the running thread's open call. A call that does not leave its CPU is found here at exit, without a
//! look-up in task storage.
//!
//! The cache also knows the kind of the thread's last call, which is often the next one's.
//!
//! It is filled at the end of a call of the running thread if context switches are seen, calls are not sampled, and no
//! call of the thread is interrupted. It is written back, which moves an open call to the thread's state, when the thread
//! is switched out, when it dies, and before anything that needs its state. Only the thread's own programs and the one at
//! its switch-out change it, one after the other on the same CPU.
//!
//! A switch-out that is not seen leaves the cache filled. The thread's state says which CPU's cache that is: the thread
//! finds its call from any CPU, and until then that cache is filled for no other thread.

use syscost_common::{
    cpu_state::{CallCache, NO_NR},
    open_call::OpenCall,
    settings,
    thread_state::ThreadState,
};

use crate::{
    finish,
    maps::{self, PREEMPTED},
    scope,
    this_cpu::{self, ThisCpu},
};

/// Whether calls are cached. Where programs are preempted, a thread's switch-out could come between two writes of its own
/// programs. Constant to the verifier.
#[inline(always)]
fn is_used() -> bool {
    PREEMPTED.load() == 0
}

/// The cache of this CPU.
#[inline(always)]
pub(crate) fn of(cpu: ThisCpu) -> &'static mut CallCache {
    // SAFETY: in a live map value that only programs on this CPU write, which do not interrupt each other where the cache
    // is used.
    unsafe { &mut (*cpu.state).cache }
}

/// The cache of the CPU `number`, which need not be the one that the program runs on.
#[inline(always)]
fn at(number: u32) -> *mut CallCache {
    // SAFETY: in a live map value.
    unsafe { &raw mut (*maps::cpu_state(number)).cache }
}

/// Fills the cache for the running thread, whose task is at `task`, if its next call may be cached.
#[inline(always)]
pub(crate) fn fill(task: u64, state: &mut ThreadState, cpu: ThisCpu, regs: u64) {
    let settings = cpu.settings();
    if !is_used()
        || state.restarts.entries.any_open()
        || !settings::sees_switches(settings.detail)
        || settings.one_in != 1
    {
        return;
    }
    let cache = of(cpu);
    if cache.task != 0 {
        return;
    }
    cache.task = task;
    cache.regs = if finish::goes_to_cells_only() { regs } else { 0 };
    cache.regs_in_scope = if scope::keeps_its_threads() { regs } else { 0 };
    cache.entered_at = 0;
    cache.settings = settings;
    cache.nr = NO_NR;
    state.call.cached_on = this_cpu::number() + 1;
}

/// Moves what a cache holds of the running thread, whose task is at `task`, to its state.
#[inline(always)]
pub(crate) fn write_back(task: u64, state: &mut ThreadState) {
    if is_used() && state.call.cached_on != 0 {
        find_and_write_back(task, state);
    }
}

/// Out of line: it is rare where calls are many.
#[inline(never)]
fn find_and_write_back(task: u64, state: &mut ThreadState) {
    let cached_on = state.call.cached_on.wrapping_sub(1);
    state.call.cached_on = 0;
    // SAFETY: only the programs of the thread that it is filled for write to it; that is the running one, or none.
    let cache = unsafe { &mut *at(cached_on) };
    if cache.task != task {
        return;
    }
    let was_open = cache.entered_at != 0;
    move_to(state, cache);
    if was_open && cached_on != this_cpu::number() {
        // The thread was switched out, and that was not seen.
        state.call.settings.detail = settings::unseen(state.call.settings.detail);
    }
}

/// The CPU goes from one thread to another.
#[inline(always)]
pub(crate) fn on_switch(cpu: ThisCpu) {
    of(cpu).out_of_scope_regs = 0;
}

/// The thread whose task is at `task` loses the CPU. `find`: looks its state up. Returns the state, if the switch-out
/// matters to it.
#[inline(always)]
pub(crate) fn on_switch_out<'a>(
    task: u64,
    cpu: ThisCpu,
    find: impl FnOnce() -> Option<&'a mut ThreadState>,
) -> Option<&'a mut ThreadState> {
    let cache = of(cpu);
    if cache.task != task {
        return find();
    }
    if cache.entered_at == 0 {
        clear(cache);
        return None;
    }
    let Some(state) = find() else {
        // Linux 5.12 to 6.1 refuses the look-up while it is busy with other task storage on this CPU. The call stays in
        // the cache, marked as one of which a switch was not seen: its end looks the thread up, moves it to the thread's
        // state, and does not know its parts.
        cache.settings.detail = settings::unseen(cache.settings.detail);
        return None;
    };
    state.call.cached_on = 0;
    move_to(state, cache);
    Some(state)
}

#[inline(always)]
fn move_to(state: &mut ThreadState, cache: &mut CallCache) {
    if cache.entered_at != 0 {
        let call = &mut state.call;
        call.entered_at = cache.entered_at;
        call.kind = cache.kind;
        call.settings = cache.settings;
        // The thread has not been off the CPU since.
        call.off_before = state.off_cpu.sums;
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

/// When the open call of a thread was entered (0: none is open), and its kind. The thread, whose task is at `task`, may be
/// running on any CPU. `call`: its open call, as far as its state knows it.
#[inline(always)]
pub(crate) fn open_call_of(task: u64, call: &OpenCall) -> (u64, u32) {
    // The cache first: an open call moves from there to the state, never back.
    if is_used() && call.cached_on != 0 {
        let cache = at(call.cached_on - 1);
        // SAFETY: the places are fields of a live map value of plain integers; its CPU may be writing.
        let (cached_task, kind, entered_at) = unsafe {
            (
                (&raw const (*cache).task).read_volatile(),
                (&raw const (*cache).kind).read_volatile(),
                (&raw const (*cache).entered_at).read_volatile(),
            )
        };
        if cached_task == task && entered_at != 0 {
            return (entered_at, kind);
        }
    }
    // SAFETY: as above.
    unsafe {
        ((&raw const call.entered_at).read_volatile(), (&raw const call.kind).read_volatile())
    }
}
