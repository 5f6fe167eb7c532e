//! The state of a thread: what the programs keep for it from its first event on.

use crate::{interrupted::Restarts, off_cpu::OffCpuState, open_call::OpenCall};

/// One value, because each program that needs one of the parts needs another one too: an exit reads all three, a
/// context switch asks whether a call is open or interrupted. Each part has one module in the programs that changes
/// it. Updated in place. All zero: a thread that was never seen.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct ThreadState {
    /// The open call. Changed by `syscall` and, when a call is taken up again, `interrupted`.
    pub call: OpenCall,
    /// Which calls of the thread are interrupted. Changed by `interrupted`.
    pub restarts: Restarts,
    /// The time off the CPU. Changed by `off_cpu`, at context switches and wake-ups.
    pub off_cpu: OffCpuState,
}

// The first two parts, which every exit reads, are one cache line.
const _: () = assert!(size_of::<ThreadState>() == 120);

/// How many threads the hash by tid has room for, on kernels without task storage.
pub const MAX_THREADS_BY_TID: u32 = 16384;
