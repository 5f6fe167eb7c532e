//! Where the state of a thread is kept: in its task, in a hash, or, for the thread that runs, in its CPU's cache.

use syscost_common::{
    cpu_state::CallCache, group::OwnTotals, interrupted::InterruptedCalls, ledger::Counter,
    thread_state::ThreadState,
};

use crate::{this_cpu::ThisCpu, thread::Thread};

/// A thread whose state can be found and changed.
///
/// A thread's state is changed by its own programs, which do not interrupt each other, and by those at its context
/// switches and wake-ups. Iterators read it from other CPUs.
pub(crate) trait Storage: Thread {
    /// Whether these hooks can see context switches and wake-ups. Without them the parts of latencies are not known, and
    /// no call is cached.
    const SEES_SWITCHES: bool;

    /// Whether the thread may have a state; `false` saves the look-up.
    fn may_have_state(&self) -> bool;

    /// The thread's state, if it has one.
    fn state(&self) -> Option<&mut ThreadState>;

    /// The thread's state, made if it has none; `None` when there is no room.
    fn state_or_new(&self) -> Option<&mut ThreadState>;

    /// The thread's interrupted calls, if it ever had one.
    fn interrupted(&self) -> Option<&mut InterruptedCalls>;

    /// The same, made if there are none; `None` when there is no room.
    fn interrupted_or_new(&self) -> Option<&mut InterruptedCalls>;

    /// The thread's own totals, made if it has none; `None` when there is no room.
    fn totals_or_new(&self) -> Option<&mut OwnTotals>;

    /// The counter for the exit of a call of a thread without a state.
    fn exit_without_state() -> Counter;

    /// Frees what the kernel does not free with the thread, which dies.
    fn forget(&self);

    /// This CPU's cache, whichever thread's call it holds; `None` where calls are not cached.
    fn cache(cpu: ThisCpu) -> Option<&'static mut CallCache>;

    /// Whether `cache` holds the state of this thread's call.
    fn is_cached(&self, cache: &CallCache) -> bool;

    /// Fills this CPU's cache for the running thread, if its next call may be cached. `state`: the thread's, with no
    /// call open. `regs`: see [`CallCache::regs`]; 0 where they are not at hand.
    fn fill_cache(&self, state: &mut ThreadState, cpu: ThisCpu, regs: u64);

    /// Moves the running thread's open call from the cache that holds it to `call`.
    fn write_back(&self, state: &mut ThreadState);

    /// The running thread enters a call, in scope or not: its CPU time counts accordingly.
    fn note_scope(cpu: ThisCpu, is_in_scope: bool);

    /// Adds waiting time that was not seen to the time off the CPU of the thread, which is running.
    fn settle(&self, state: &mut ThreadState);
}
