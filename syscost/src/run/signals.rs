//! The signals that end a measurement in good order.

use std::{
    future::{pending, poll_fn},
    task::Poll,
};

use anyhow::{Context, Result};
use nix::sys::signal;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{exit, inherited};

/// The signals by which the user, the system or a terminal that goes away asks for an end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under nohup(1), which has it ignored.
    hang_up: Option<Signal>,
    quit: Signal,
    /// Others that would end it, those left out that are ignored.
    others: Vec<(Signal, signal::Signal)>,
}

/// Signals that end a process which does not catch them, and that nobody sends to ask for an end in good order.
const OTHERS: [signal::Signal; 9] = [
    signal::Signal::SIGUSR1,
    signal::Signal::SIGUSR2,
    signal::Signal::SIGALRM,
    signal::Signal::SIGVTALRM,
    signal::Signal::SIGPROF,
    signal::Signal::SIGXCPU,
    signal::Signal::SIGIO,
    signal::Signal::SIGPWR,
    signal::Signal::SIGSTKFLT,
];

impl Signals {
    /// From now on these signals no longer kill the process.
    pub(super) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let others = OTHERS.into_iter().filter(|other| !inherited::is_ignored(*other as i32));
        let others = others
            .map(|other| Ok((catch(SignalKind::from_raw(other as i32))?, other)))
            .collect::<Result<_>>();
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: match inherited::is_ignored(libc::SIGHUP) {
                true => None,
                false => Some(catch(SignalKind::hangup())?),
            },
            quit: catch(SignalKind::quit())?,
            others: others?,
        })
    }

    /// None that anybody sends.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let urgent = || signal(SignalKind::from_raw(libc::SIGURG)).expect("there is a reactor");
        Self {
            interrupt: urgent(),
            terminate: urgent(),
            hang_up: None,
            quit: urgent(),
            others: Vec::new(),
        }
    }

    /// Completes at the next of them.
    pub(super) async fn next(&mut self) -> signal::Signal {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => pending().await,
            }
        };
        let others = &mut self.others;
        let other = poll_fn(|context| {
            let mut come = others.iter_mut().filter_map(|(other, signal)| {
                other.poll_recv(context).is_ready().then_some(*signal)
            });
            come.next().map_or(Poll::Pending, Poll::Ready)
        });
        tokio::select! {
            _ = self.interrupt.recv() => signal::Signal::SIGINT,
            _ = self.terminate.recv() => signal::Signal::SIGTERM,
            _ = hang_up => signal::Signal::SIGHUP,
            _ = self.quit.recv() => signal::Signal::SIGQUIT,
            other = other => other,
        }
    }
}

/// The code to exit with when `signal` has ended a measurement: a signal that asks for an end in good
/// order leaves none behind, others do.
pub(super) fn exit_code(signal: signal::Signal) -> u8 {
    match signal {
        signal::Signal::SIGINT | signal::Signal::SIGTERM | signal::Signal::SIGHUP => exit::OK,
        _ => exit::KILLED + signal as u8,
    }
}
