//! The signals that end a measurement in good order.

use std::future::pending;

use anyhow::{Context, Result};
use nix::sys::signal;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{cli::exit, inherited};

/// The signals by which the user, the system or a terminal that goes away asks for an end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under nohup(1), which has it ignored.
    hang_up: Option<Signal>,
    quit: Signal,
}

impl Signals {
    /// From now on these signals no longer kill the process.
    pub(super) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: match inherited::is_ignored(libc::SIGHUP) {
                true => None,
                false => Some(catch(SignalKind::hangup())?),
            },
            quit: catch(SignalKind::quit())?,
        })
    }

    /// None that anybody sends.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let urgent = || signal(SignalKind::from_raw(libc::SIGURG)).expect("there is a reactor");
        Self { interrupt: urgent(), terminate: urgent(), hang_up: None, quit: urgent() }
    }

    /// Completes at the next of them.
    pub(super) async fn next(&mut self) -> signal::Signal {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => signal::Signal::SIGINT,
            _ = self.terminate.recv() => signal::Signal::SIGTERM,
            _ = hang_up => signal::Signal::SIGHUP,
            _ = self.quit.recv() => signal::Signal::SIGQUIT,
        }
    }
}

/// The code to exit with when `signal` has ended a measurement: a signal that asks for an end in good
/// order leaves none behind, the one that asks for a dump of memory does.
pub(super) fn exit_code(signal: signal::Signal) -> u8 {
    match signal {
        signal::Signal::SIGQUIT => exit::KILLED + signal as u8,
        _ => exit::OK,
    }
}
