//! Signals while a program is loaded: the verifier gives up when one is pending (`signal_pending` in `do_check`,
//! kernel/bpf/verifier.c, since Linux 5.1), and the program must be loaded again.

use std::io;

use aya::programs::ProgramError;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// How often to load a program. Each time this process is stopped, or a debugger attaches to it, one load may fail.
const TRIES: usize = 5;

/// Calls `load`, and again while a signal may have interrupted it.
pub(super) fn retried(load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    retried_if(load, |error| match error {
        ProgramError::LoadError { io_error, .. } => may_be(io_error),
        _ => false,
    })
}

/// The same for any way to load a program. `again`: whether an error may come from a signal.
pub(super) fn retried_if<T, E>(
    mut load: impl FnMut() -> Result<T, E>,
    again: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 1..TRIES {
        match load() {
            Err(error) if again(&error) => {}
            loaded => return loaded,
        }
    }
    load()
}

/// Whether a signal may have caused this error. The kernel returns EAGAIN. The library then tries once more to get a
/// log, and reports the error of that try: EINVAL, as for any program that the verifier refuses.
pub(super) fn may_be(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINVAL))
}

/// Until this is dropped, signals to this thread, and to threads that it starts, stay pending.
pub(super) struct BlockedSignals {
    before: SigSet,
}

impl BlockedSignals {
    /// Blocks all signals that can be blocked.
    pub(super) fn all() -> Self {
        let mut before = SigSet::empty();
        // Only a wrong request fails.
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before));
        Self { before }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn what_may_have_been_interrupted_is_tried_again_and_nothing_else() {
        let tries = |errno: i32, until: usize| {
            let mut tries = 0;
            let load = || {
                tries += 1;
                if tries == until { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
            };
            let loaded = retried_if(load, may_be).is_ok();
            (tries, loaded)
        };
        assert_eq!(tries(libc::EINVAL, 3), (3, true));
        assert_eq!(tries(libc::EAGAIN, usize::MAX), (TRIES, false));
        assert_eq!(tries(libc::EPERM, 3), (1, false));
    }

    #[test]
    fn blocked_signals_come_afterwards() {
        let is_blocked = || SigSet::thread_get_mask().unwrap().contains(Signal::SIGWINCH);
        let before = is_blocked();
        let blocked = BlockedSignals::all();
        assert!(is_blocked());
        drop(blocked);
        assert_eq!(is_blocked(), before);
    }
}
