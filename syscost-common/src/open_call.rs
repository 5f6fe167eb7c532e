//! The open call of a thread: entered, not yet exited.

/// What is kept for each thread from its first event on, updated in place by that thread alone.
/// All-zero bytes are a thread that was never seen.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct OpenCall {
    /// When the open call was entered, ns of CLOCK_MONOTONIC; 0 when no call is open.
    pub entered_at: u64,
    /// The open call's kind, see [`crate::kind`]. Kept from enter, for at exit the register that
    /// held the number may have changed.
    pub kind: u32,
    /// How the thread came to be known: one of the `ORIGIN_*` constants.
    pub origin: u32,
}

const _: () = assert!(size_of::<OpenCall>() == 16);

/// Never seen before: whatever it exits was open when the probes were attached.
pub const ORIGIN_UNKNOWN: u32 = 0;
/// Born while attached: its first exit may be that of its parent's fork or clone.
pub const ORIGIN_NEWBORN: u32 = 1;
/// Has entered a call while attached: from then on every exit must have an enter.
pub const ORIGIN_SEEN: u32 = 2;

/// How many threads the hash by tid has room for, on kernels without task storage.
pub const MAX_OPEN_BY_TID: u32 = 16384;
