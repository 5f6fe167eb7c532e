//! What the iterators write about threads.

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

/// A call that is open. The iterator writes one for each thread that is in a call. Once the measurement has ended, it
/// also writes one for each other thread that has a state, with [`RETURNED_LATE`](crate::open_call::RETURNED_LATE)
/// alone as `entered_at`. The records follow each other without anything between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InFlight {
    /// The thread.
    pub ids: ThreadIds,
    /// When it was entered, ns of CLOCK_MONOTONIC; 0 when that was before attaching. May have
    /// [`RETURNED_LATE`](crate::open_call::RETURNED_LATE) set.
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
    /// 1 for a call that is sampled out: when it was entered is not known, and `entered_at` is 0.
    pub sampled_out: u32,
}

const _: () = assert!(size_of::<InFlight>() == 96);
