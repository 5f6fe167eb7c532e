//! The open call of a thread: entered, not yet exited.

use crate::{off_cpu::OffCpu, settings::Settings};

/// The call that a thread is in, and how the thread came to be known. Written by the thread's own programs.
/// All zero: a thread that was never seen.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct OpenCall {
    /// When the call was entered, ns of CLOCK_MONOTONIC; 0 while no call is open. May have [`RETURNED_LATE`] set.
    pub entered_at: u64,
    /// The kind of the call, see [`crate::kind`]. Noted at enter: at exit the register that held the number may have
    /// changed.
    pub kind: u32,
    /// How the thread came to be known: one of the `ORIGIN_*` constants.
    pub origin: u32,
    /// The settings when the call was entered.
    pub settings: Settings,
    /// The thread's time off the CPU when the call was entered.
    pub off_before: OffCpu,
    /// The number of the CPU whose cache may hold the open call, plus 1; 0 for none. While a cache holds it, the
    /// fields above are not valid.
    pub cached_on: u32,
    /// 1: the thread has begun to exit, and was in scope then.
    pub exits_in_scope: u32,
}

const _: () = assert!(size_of::<OpenCall>() == 48);

/// Never seen before: its first exit is of a call that was open when the probes were attached.
pub const ORIGIN_UNKNOWN: u32 = 0;
/// Born while attached: its first exit may be that of its parent's fork or clone.
pub const ORIGIN_NEWBORN: u32 = 1;
/// Has entered a call while attached: from then on every exit must have an enter.
pub const ORIGIN_SEEN: u32 = 2;
/// Has entered a call that the filter leaves out: its exit counts nowhere.
pub const ORIGIN_LEFT_OUT: u32 = 3;
/// Has entered a call that is sampled out: its exit counts nowhere.
pub const ORIGIN_SAMPLED_OUT: u32 = 4;

/// Set in [`OpenCall::entered_at`] when the call has returned after the end of the measurement: it was open when the
/// measurement ended. CLOCK_MONOTONIC takes 292 years to get there.
pub const RETURNED_LATE: u64 = 1 << 63;
