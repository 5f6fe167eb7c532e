//! Waits until no program is running any more that began before.
//!
//! Programs run inside RCU read-side sections, so that a grace period of RCU is what to wait for. User space
//! has no call for just that; two have one as a side effect.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use super::bpf;

/// Long enough for any program that began before, unless its CPU is taken from it: the last resort.
const LAST_RESORT: Duration = Duration::from_millis(100);

/// A way to wait for a grace period.
pub(super) struct GracePeriod {
    /// In case membarrier(2) refuses, as it does where the tick may stop on busy CPUs (nohz_full), and
    /// through some filters of system calls: a map of maps, and one to put into it. The update returns after
    /// a grace period (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c).
    maps: io::Result<(OwnedFd, OwnedFd)>,
}

impl GracePeriod {
    /// Makes the maps while there are privileges for it.
    pub(super) fn prepare() -> Self {
        let maps =
            bpf::create_array(None).and_then(|inner| Ok((bpf::create_array(Some(&inner))?, inner)));
        Self { maps }
    }

    /// Returns after all programs that began before the call have ended.
    pub(super) fn wait(&self) {
        // SAFETY: takes three integers and touches no memory of ours.
        let barrier =
            unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
        if barrier != 0 && !self.update() {
            thread::sleep(LAST_RESORT);
        }
    }

    /// `false`: it did not come to wait.
    fn update(&self) -> bool {
        let Ok((outer, inner)) = &self.maps else { return false };
        bpf::set_inner(outer, inner.as_raw_fd()).is_ok()
    }
}
