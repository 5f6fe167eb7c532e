//! The open call of a thread: entered, not yet exited.

use crate::{
    group::OwnTotals,
    interrupted::Entries,
    off_cpu::{Away, OffCpu},
    settings::Settings,
};

/// What is kept for each thread from its first event on, updated in place by that thread alone.
/// All-zero bytes are a thread that was never seen.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct OpenCall {
    /// When the open call was entered, ns of CLOCK_MONOTONIC; 0 when no call is open. May have
    /// [`RETURNED_LATE`] set.
    pub entered_at: u64,
    /// The open call's kind, see [`crate::kind`]. Kept from enter, for at exit the register that
    /// held the number may have changed.
    pub kind: u32,
    /// How the thread came to be known: one of the `ORIGIN_*` constants.
    pub origin: u32,
    /// The settings when it was entered: what is seen of it, and how many calls it stands for.
    pub settings: Settings,
    /// [`OpenCall::off`] when it was entered.
    pub off_before: OffCpu,
    /// Where the open call may be instead, if not cpu: the number of a CPU and 1; 0 for nowhere. What
    /// is above is then of no meaning.
    pub cached_on: u32,
    /// Which calls of the thread a signal took out of the kernel.
    pub interrupted: Entries,
    /// How long the thread was off the CPU, over all calls.
    pub off: OffCpu,
    /// Since when it is off the CPU, while it is.
    pub away: Away,
    /// The index of the interrupted call that the very next enter may take up again, and 1: no
    /// handler has run since. 0 for none.
    pub may_restart: u32,
    /// Signal handlers that were seen to begin, and not to return. Too large after a handler that never
    /// returns. At 0 an `rt_sigreturn` is that of a handler that began unseen.
    pub handlers: u32,
    /// Handlers that began unseen, and returned to a call that was taken for interrupted.
    pub unseen_returns: u32,
    /// 1: the thread has begun to exit, and was in scope then.
    pub exits_in_scope: u32,
    /// The thread's finished calls, where groups are asked for.
    pub totals: OwnTotals,
}

const _: () = assert!(size_of::<OpenCall>() == 192);

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

/// Set in [`OpenCall::entered_at`] when the call has returned and nothing was recorded any more: it was open
/// when the measurement ended. CLOCK_MONOTONIC takes 292 years to get there.
pub const RETURNED_LATE: u64 = 1 << 63;

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

/// What the iterator over threads writes for each thread that is in a call, and, once nothing is recorded any
/// more, for each other one of which something is kept, with [`RETURNED_LATE`] alone as `entered_at`. The
/// records follow each other without anything between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InFlight {
    /// The thread.
    pub ids: ThreadIds,
    /// When it was entered, ns of CLOCK_MONOTONIC; 0 when that was before attaching. May have
    /// [`RETURNED_LATE`] set.
    pub entered_at: u64,
    /// Its arguments, as the registers hold them.
    pub args: [u64; 6],
    /// 1 when the thread can run, 0 when it waits for something.
    pub runnable: u32,
    /// The call's kind, see [`crate::kind`].
    pub kind: u32,
    /// 1 for an interrupted call: the thread is in a signal handler, which runs before the call
    /// goes on.
    pub interrupted: u32,
    /// 1 for a call that another one of a sample stands for: when it was entered is not known, and
    /// `entered_at` is 0.
    pub sampled_out: u32,
}

const _: () = assert!(size_of::<InFlight>() == 96);
