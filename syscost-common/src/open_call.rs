//! The open call of a thread: entered, not yet exited.

/// What is kept for each thread from its first event on, updated in place by that thread alone.
/// All-zero bytes are a thread that was never seen.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct OpenCall {
    /// When the open call was entered, ns of CLOCK_MONOTONIC; 0 when no call is open.
    pub entered_at: u64,
    /// The open call's kind, see [`crate::kind`]. Kept from enter, for at exit the register that
    /// held the number may have changed.
    pub kind: u32,
    /// How the thread came to be known: one of the `ORIGIN_*` constants.
    pub origin: u32,
    /// A call that a signal took out of the kernel, and that may be entered again.
    pub interrupted: Interrupted,
}

const _: () = assert!(size_of::<OpenCall>() == 48);

/// A call that left the kernel with one of ERESTARTSYS to ERESTART_RESTARTBLOCK: neither finished
/// nor in the kernel. All-zero bytes are none.
///
/// What becomes of it is decided when the thread returns to where it was interrupted, which its
/// user stack pointer tells: either the kernel enters the call again, or `rt_sigreturn` hands
/// EINTR to the program (Linux: `arch_do_signal_or_restart`, `handle_signal`).
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Interrupted {
    /// When the call was first entered, ns of CLOCK_MONOTONIC.
    pub entered_at: u64,
    /// When it left the kernel, ns of CLOCK_MONOTONIC.
    pub left_at: u64,
    /// The user stack pointer of the call; 0 when there is none.
    pub stack_pointer: u64,
    /// Its kind.
    pub kind: u32,
    /// Explicit padding: kernel memory holds nothing undefined.
    pub reserved: u32,
}

/// Never seen before: whatever it exits was open when the probes were attached.
pub const ORIGIN_UNKNOWN: u32 = 0;
/// Born while attached: its first exit may be that of its parent's fork or clone.
pub const ORIGIN_NEWBORN: u32 = 1;
/// Has entered a call while attached: from then on every exit must have an enter.
pub const ORIGIN_SEEN: u32 = 2;

/// How many threads the hash by tid has room for, on kernels without task storage.
pub const MAX_OPEN_BY_TID: u32 = 16384;
