//! Job control: the program is stopped and continued, by a key or by signals from outside.

use std::{future::pending, ptr::null_mut};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, raise};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::inherited;

/// What happened to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// It is asked to stop.
    Stop,
    /// It was continued, after any kind of stop.
    Continue,
}

/// The signals of job control, while the screen is on the terminal. There must be only one of these at a time.
pub(super) struct Jobs {
    /// `None` if SIGTSTP was ignored when the program was started.
    stop: Option<unix::Signal>,
    go_on: unix::Signal,
    /// What SIGTSTP did before.
    before: libc::sigaction,
}

impl Jobs {
    /// From now on SIGTSTP no longer stops the process by itself.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub(super) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let before = replace(None);
        let stop = if inherited::is_ignored(libc::SIGTSTP) {
            None
        } else {
            Some(catch(SignalKind::from_raw(libc::SIGTSTP))?)
        };
        Ok(Self { stop, go_on: catch(SignalKind::from_raw(libc::SIGCONT))?, before })
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Job {
        let stop = async {
            match &mut self.stop {
                Some(signal) => signal.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = stop => Job::Stop,
            _ = self.go_on.recv() => Job::Continue,
        }
    }

    /// Stops the process, as Ctrl-Z does on a terminal. Returns once it is continued; at once if there is no shell
    /// that could continue it.
    pub(super) fn stop(&self) {
        // SIGTSTP and not SIGSTOP: the kernel ignores it if the process group has no shell (is orphaned).
        let ours = replace(Some(&self.before));
        let _ = raise(Signal::SIGTSTP);
        replace(Some(&ours));
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        replace(Some(&self.before));
    }
}

/// Sets what SIGTSTP does, if `action` is given. Returns what it did before.
fn replace(action: Option<&libc::sigaction>) -> libc::sigaction {
    // SAFETY: plain data, for which zeroes are valid.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    let new = action.map_or(null_mut(), |action| std::ptr::from_ref(action).cast_mut());
    // SAFETY: the action is one that was in force before, and the answer goes to the place given.
    unsafe { libc::sigaction(libc::SIGTSTP, new, &raw mut before) };
    before
}
