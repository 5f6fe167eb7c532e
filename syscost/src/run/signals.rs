//! The signals that end a measurement in good order.

use std::{future::pending, pin::Pin};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::{Stream, StreamExt, StreamMap, wrappers::SignalStream};

use crate::{exit, inherited};

/// Signals by which the user or the system asks for an end. They are caught even if they are ignored.
const ASKING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT];

/// Other signals that would end the process. They are caught unless they are ignored: SIGHUP is, under nohup(1).
const OTHERS: [Signal; 10] = [
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGXCPU,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
];

/// The signals that end a measurement in good order.
pub(super) struct Signals {
    caught: StreamMap<Signal, Pin<Box<dyn Stream<Item = ()>>>>,
}

impl Signals {
    /// From now on these signals no longer kill the process.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub(super) fn catch() -> Result<Self> {
        let mut signals = Self::none();
        let others = OTHERS.into_iter().filter(|other| !inherited::is_ignored(*other as i32));
        for kind in ASKING.into_iter().chain(others) {
            let stream =
                signal(SignalKind::from_raw(kind as i32)).context("cannot catch signals")?;
            signals.caught.insert(kind, Box::pin(SignalStream::new(stream)));
        }
        Ok(signals)
    }

    /// No signals.
    pub(super) fn none() -> Self {
        Self { caught: StreamMap::new() }
    }

    /// `signal` comes once `after` this.
    #[cfg(test)]
    pub(super) fn after(signal: Signal, after: std::time::Duration) -> Self {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = sender.send(());
            // The stream does not end.
            pending::<()>().await;
        });
        let mut signals = Self::none();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        signals.caught.insert(signal, Box::pin(stream));
        signals
    }

    /// The next of them. Nothing is lost if the wait for it is given up.
    pub(super) async fn next(&mut self) -> Signal {
        match self.caught.next().await {
            Some((signal, ())) => signal,
            // There are none.
            None => pending().await,
        }
    }
}

/// The code to exit with when `signal` has ended a measurement: a signal that asks for an end in good
/// order leaves none behind, others do.
pub(super) fn exit_code(signal: Signal) -> u8 {
    match signal {
        Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP => exit::OK,
        _ => exit::KILLED + signal as u8,
    }
}
