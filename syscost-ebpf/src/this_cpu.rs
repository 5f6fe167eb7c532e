//! The state of the CPU that the program runs on: its cache, its ledger, and the settings beside the counters.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use syscost_common::{cpu_state::CpuState, ledger::Counter, settings::Settings};

use crate::{
    atomic,
    maps::{self, PREEMPTED},
    update::{Plain, Update},
};

/// This CPU. A program stays on its CPU, also where it is preempted.
#[derive(Clone, Copy)]
pub(crate) struct ThisCpu {
    /// The CPU's state.
    pub(crate) state: *mut CpuState,
}

/// The number of this CPU.
#[inline(always)]
pub(crate) fn number() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}

impl ThisCpu {
    /// The CPU that the program runs on.
    #[inline(always)]
    pub(crate) fn get() -> Self {
        Self { state: maps::cpu_state(number()) }
    }

    /// Which detail is collected at this moment, see [`Settings::detail`].
    #[inline(always)]
    pub(crate) fn detail(self) -> u32 {
        // SAFETY: the pointer is to a live map value of plain integers.
        unsafe { (&raw const (*self.state).ledger.settings.detail).read_volatile() }
    }

    /// The settings of this moment.
    #[inline(always)]
    pub(crate) fn settings(self) -> Settings {
        // SAFETY: the pointer is to a live map value of plain integers.
        unsafe { (&raw const (*self.state).ledger.settings).read_volatile() }
    }

    /// Whether the settings of this moment are still `settings`. It compares them as one word.
    #[inline(always)]
    pub(crate) fn still_has(self, settings: &Settings) -> bool {
        // SAFETY: the pointers are to live values of eight bytes, aligned to that.
        unsafe {
            let now: *const u64 = (&raw const (*self.state).ledger.settings).cast();
            now.read_volatile() == ptr::from_ref(settings).cast::<u64>().read_volatile()
        }
    }

    /// Whether enters are seen yet. Exits are seen a moment earlier, so that no enter lacks its exit.
    #[inline(always)]
    pub(crate) fn sees_enters(self) -> bool {
        // SAFETY: as above.
        unsafe { (&raw const (*self.state).ledger.sees_enters).read_volatile() != 0 }
    }

    /// Adds 1 to `counter`.
    #[inline(always)]
    pub(crate) fn count(self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `by` to `counter`.
    #[inline(always)]
    pub(crate) fn count_by(self, counter: Counter, by: u32) {
        self.add(counter, by.into());
    }

    /// Subtracts `by` from `counter`: the events turned out to be of another sort.
    #[inline(always)]
    pub(crate) fn uncount(self, counter: Counter, by: u32) {
        // Over all CPUs the sum is right, though this CPU's share of it may wrap below zero.
        self.add(counter, u64::from(by).wrapping_neg());
    }

    #[inline(always)]
    fn add(self, counter: Counter, by: u64) {
        // SAFETY: the place is a counter, which is only ever added to.
        unsafe {
            if PREEMPTED.load() != 0 {
                atomic::add64(self.counter(counter), by);
            } else {
                Plain::add64(self.counter(counter), by);
            }
        }
    }

    /// The place of `counter`.
    #[inline(always)]
    pub(crate) fn counter(self, counter: Counter) -> *mut u64 {
        // SAFETY: the pointer is to a live map value; the counter's index is below their number.
        unsafe { &raw mut (*self.state).ledger.counters[counter as usize] }
    }
}

/// Adds 1 to `counter`, where nothing else of this CPU's state is needed.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    ThisCpu::get().count(counter);
}

/// Adds `by` to `counter`.
#[inline(always)]
pub(crate) fn count_by(counter: Counter, by: u32) {
    ThisCpu::get().count_by(counter, by);
}

/// Subtracts `by` from `counter`, see [`ThisCpu::uncount`].
#[inline(always)]
pub(crate) fn uncount(counter: Counter, by: u32) {
    ThisCpu::get().uncount(counter, by);
}
