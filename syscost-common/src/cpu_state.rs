//! The state of a CPU: all that a cached call needs, in one place.

use crate::{
    cpu_time::CpuTime,
    ledger::{COUNTERS, Ledger},
    settings::Settings,
};

/// The state of one CPU. All zero: an empty cache and a ledger without counts.
// A multiple of two cache lines, so that two CPUs never share one, nor a pair that is fetched together.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub struct CpuState {
    /// The open call of the thread that runs there.
    pub cache: CallCache,
    /// The counters, and the settings beside them.
    pub ledger: Ledger,
    /// The CPU time of tasks in scope.
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

/// A CPU's cache of the open call of the thread that runs there, in place of the thread's
/// [`OpenCall`](crate::open_call::OpenCall). It is filled while context switches are seen, calls are not sampled, and no
/// call of the thread is interrupted. All zero: empty.
// The fields that each call reads come first: one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct CallCache {
    /// The address of the registers that the thread enters the kernel with: on its kernel stack, the same for as long as it
    /// lives. 0 if the cache is empty, if the hooks are not handed the address, and if a call's exit needs more than its
    /// cell.
    pub regs: u64,
    /// The same, if the thread is in scope whenever it enters a call; 0 if scope must be asked.
    pub regs_in_scope: u64,
    /// When the open call was entered, ns of CLOCK_MONOTONIC; 0 when no call is open.
    pub entered_at: u64,
    /// The settings when the cache was filled. It is valid under these only.
    pub settings: Settings,
    /// The number of the thread's last call, if that was a native or x32 call; [`NO_NR`] otherwise.
    pub nr: u64,
    /// The kind of the thread's last call, which may be open, see [`crate::kind`].
    pub kind: u32,
    /// The cell for calls of that kind, see [`crate::cell::index`]; [`NO_CELL`] while the kind's slot is not known, or if it
    /// has none of its own.
    pub cell: u32,
    /// The address of the registers of the running thread, if that is known to be out of scope; 0 otherwise.
    pub out_of_scope_regs: u64,
    /// Explicit padding: kernel memory holds nothing undefined.
    pub reserved: [u32; 16],
    /// The address of the task of the thread that the cache is filled for; 0 if it is empty.
    pub task: u64,
}

impl CallCache {
    /// An empty cache.
    pub const EMPTY: Self = Self {
        regs: 0,
        regs_in_scope: 0,
        entered_at: 0,
        settings: Settings { detail: 0, one_in: 0 },
        nr: 0,
        kind: 0,
        cell: 0,
        out_of_scope_regs: 0,
        reserved: [0; 16],
        task: 0,
    };
}

const _: () = assert!(size_of::<CallCache>() == 128);

/// Not the index of any cell.
pub const NO_CELL: u32 = u32::MAX;

/// Not the number of any call: the kernel hands over ints, widened with their sign.
pub const NO_NR: u64 = 1 << 63;
