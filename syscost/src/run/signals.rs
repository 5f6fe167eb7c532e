//! The signals that end a measurement in good order.

use anyhow::{Context, Result};
use nix::sys::signal;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those who may ask for an end: the user, the system, a terminal that goes away.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on these signals no longer kill the process.
    pub(super) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// Completes at the next of them.
    pub(super) async fn next(&mut self) -> signal::Signal {
        tokio::select! {
            _ = self.interrupt.recv() => signal::Signal::SIGINT,
            _ = self.terminate.recv() => signal::Signal::SIGTERM,
            _ = self.hang_up.recv() => signal::Signal::SIGHUP,
        }
    }
}
