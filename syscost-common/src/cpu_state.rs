//! What is kept for each CPU: all that a call has to find, in one place.

use crate::{
    cpu_time::CpuTime,
    ledger::{COUNTERS, Ledger},
    settings::Settings,
};

/// Found by one look-up. All-zero bytes are an empty cache, and a ledger without entries.
// A multiple of two cache lines, so that two CPUs never share one, nor a pair that is fetched together.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub struct CpuState {
    /// The thread that runs there.
    pub cache: CallCache,
    /// What happened there, and how much is to be collected.
    pub ledger: Ledger,
    /// The CPU time of what is measured.
    pub time: CpuTime,
    /// Explicit padding: kernel memory holds nothing undefined.
    pub reserved: [u64; 7],
}

impl CpuState {
    /// Before anything has happened, at `now` (ns of CLOCK_MONOTONIC).
    pub const fn fresh(settings: Settings, now: u64) -> Self {
        Self {
            cache: CallCache::EMPTY,
            ledger: Ledger { settings, sees_enters: 0, counters: [0; COUNTERS] },
            time: CpuTime::fresh(now),
            reserved: [0; 7],
        }
    }
}

const _: () = assert!(size_of::<CpuState>() == 512);

/// What a CPU keeps of the thread that runs there, in place of [`OpenCall`], as long as nothing about
/// it is out of the ordinary. All-zero bytes are an empty cache.
///
/// [`OpenCall`]: crate::open_call::OpenCall
// First what each call of a thread asks for: one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct CallCache {
    /// Where the registers lie that it comes in with, the same place for as long as it lives: on its
    /// kernel stack. 0 for nobody, and where the hooks are not handed it.
    pub regs: u64,
    /// The same, if the thread is in scope whenever it enters a call; 0 if that must be asked.
    pub regs_in_scope: u64,
    /// When its open call was entered, ns of CLOCK_MONOTONIC; 0 when no call is open.
    pub entered_at: u64,
    /// The settings under which it sat down. Under others it must get up.
    pub settings: Settings,
    /// The number of its last call, if that was not a compat call; [`NO_NR`] otherwise.
    pub nr: u64,
    /// The kind of its last call, which may be open, see [`crate::kind`].
    pub kind: u32,
    /// Where calls of that kind are recorded, see [`crate::cell::index`]; [`NO_CELL`] while its slot is not
    /// known, or if it has none of its own.
    pub cell: u32,
    /// The registers of a thread that is not in scope, if one like that made the last call; 0 for none.
    pub out_of_scope_regs: u64,
    /// [`Settings::detail`] when `stranger` was found to be one.
    pub out_of_scope_detail: u32,
    /// Explicit padding: kernel memory holds nothing undefined.
    pub reserved: [u32; 15],
    /// The address of the thread's task; 0 for nobody.
    pub task: u64,
}

impl CallCache {
    /// Nobody sits there.
    pub const EMPTY: Self = Self {
        regs: 0,
        regs_in_scope: 0,
        entered_at: 0,
        settings: Settings { detail: 0, one_in: 0 },
        nr: 0,
        kind: 0,
        cell: 0,
        out_of_scope_regs: 0,
        out_of_scope_detail: 0,
        reserved: [0; 15],
        task: 0,
    };
}

const _: () = assert!(size_of::<CallCache>() == 128);

/// What is no cell's place.
pub const NO_CELL: u32 = u32::MAX;

/// What is no call's number: the kernel hands over ints, widened with their sign.
pub const NO_NR: u64 = 1 << 63;
