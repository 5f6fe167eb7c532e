//! Waits until the programs that are running have ended.
//!
//! Programs run inside RCU read-side sections, so they have ended after a grace period of RCU. No system call only waits
//! for one, but two do so as a side effect.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use super::bpf;

/// The last resort: sleep for so long. Any running program ends within this time, unless its virtual CPU is stopped.
const LAST_RESORT: Duration = Duration::from_millis(100);

/// A way to wait for a grace period.
pub(super) struct GracePeriod {
    /// A map of maps, and a map to put into it: that update returns after a grace period (`maybe_wait_bpf_programs`,
    /// kernel/bpf/syscall.c). For where membarrier(2) refuses: with nohz_full, and under some filters of system calls.
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

    /// `false`: it did not wait.
    fn update(&self) -> bool {
        let Ok((outer, inner)) = &self.maps else { return false };
        bpf::set_inner(outer, inner.as_raw_fd()).is_ok()
    }
}
