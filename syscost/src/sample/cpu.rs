//! CPU time of the target.

use serde::{Deserialize, Serialize};

use crate::reading::Reading;

/// CPU time that the target has used since the probes were attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuSample {
    /// By its threads, inside calls and outside, ns.
    pub used_ns: Reading<u64>,
    /// By the kernel threads that io_uring runs in its processes, ns.
    pub io_workers_ns: Reading<u64>,
    /// Grows whenever some of that time is not seen. Where two samples have the same number here, the difference of
    /// their times is exact.
    pub unseen: u64,
}

impl CpuSample {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { used_ns: Reading::NotCollected, io_workers_ns: Reading::NotCollected, unseen: 0 };
}
