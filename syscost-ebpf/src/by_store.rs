//! A replacement for the atomic instructions that kernels before 5.12 lack.

use crate::atomic::Raise;

/// By a plain comparison and store. That is right where no program preempts another: the kernels that this is for run
/// tracepoints with preemption off, and cells belong to a CPU.
pub(crate) struct ByStore;

impl Raise for ByStore {
    #[inline(always)]
    unsafe fn raise(place: *mut u64, value: u64) {
        // SAFETY: as the caller says.
        unsafe {
            if value > place.read_volatile() {
                place.write_volatile(value);
            }
        }
    }
}
