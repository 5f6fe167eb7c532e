//! The open call of a thread: entered, not yet exited.

use crate::{
    detail::Knobs,
    group::Totals,
    off_cpu::{Away, OffCpu},
};

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
    /// The settings when it was entered: what is seen of it, and how many calls it stands for.
    pub knobs: Knobs,
    /// [`OpenCall::off`] when it was entered.
    pub off_before: OffCpu,
    /// Where the open call may be instead, if not here: the number of a CPU and 1; 0 for nowhere. What
    /// is above is then of no meaning.
    pub seat: u32,
    /// Explicit padding: kernel memory holds nothing undefined.
    pub reserved: u32,
    /// How long the thread was off the CPU, over all calls.
    pub off: OffCpu,
    /// Since when it is off the CPU, while it is.
    pub away: Away,
    /// A call that a signal took out of the kernel, and that may be entered again.
    pub interrupted: Interrupted,
    /// The thread's finished calls, where groups are asked for.
    pub totals: Totals,
}

const _: () = assert!(size_of::<OpenCall>() == 232);

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
    /// The settings when it was first entered.
    pub knobs: Knobs,
    /// [`OpenCall::off`] when it was first entered.
    pub off_before: OffCpu,
    /// The same when it left the kernel.
    pub off_at_leaving: OffCpu,
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
/// Has entered a call that the filter leaves out: its exit counts nowhere.
pub const ORIGIN_LEFT_OUT: u32 = 3;
/// Has entered a call that another one of a sample stands for: its exit counts nowhere.
pub const ORIGIN_SAMPLED_OUT: u32 = 4;

/// How many threads the hash by tid has room for, on kernels without task storage.
pub const MAX_OPEN_BY_TID: u32 = 16384;

/// A thread and its process, with the ids of the PID namespace that they are shown in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ThreadIds {
    /// The thread.
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// The name of the process: that of its first thread, padded with zeroes.
    pub comm: crate::comm::Comm,
}

const _: () = assert!(size_of::<ThreadIds>() == 24);

/// What the iterator over threads writes for each thread that is in a call. The records follow
/// each other without anything between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InFlight {
    /// The thread.
    pub ids: ThreadIds,
    /// When it was entered, ns of CLOCK_MONOTONIC; 0 when that was before attaching.
    pub entered_at: u64,
    /// Its arguments, as the registers hold them.
    pub args: [u64; 6],
    /// 1 when the thread can run, 0 when it waits for something.
    pub runnable: u32,
    /// The call's kind, see [`crate::kind`].
    pub kind: u32,
}

const _: () = assert!(size_of::<InFlight>() == 88);
