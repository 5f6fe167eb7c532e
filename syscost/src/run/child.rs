//! The command that syscost started. It gets the signals that are meant for it, and its exit status becomes that of
//! syscost.

use std::{io::IsTerminal, time::Duration};

use anyhow::Result;
use nix::{
    sys::signal::Signal,
    unistd::{getpgrp, tcgetpgrp},
};
use tokio::time::{Instant, sleep};

use super::signals::Signals;
use crate::{exit, message, source::Live, target::command::Command};

/// How often to look whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// After this time of waiting for the command, a message says so.
const QUIET: Duration = Duration::from_secs(1);

/// The command, if there is one.
pub(super) struct Child {
    command: Option<Command>,
    /// Whether a signal was passed on. The next one ends the measurement.
    told: bool,
}

impl Child {
    /// No command.
    pub(super) fn none() -> Self {
        Self { command: None, told: false }
    }

    /// Lets the command, which has waited until `source` measures it, run.
    pub(super) fn release(mut command: Option<Command>, source: &mut Live) -> Result<Self> {
        if let Some(command) = &mut command {
            source.begin_now();
            command.release()?;
        }
        Ok(Self { command, told: false })
    }

    /// Whether `signal` is for the command. The first one is, while the command runs.
    pub(super) fn takes(&mut self, signal: Signal) -> bool {
        // The terminal sends Ctrl-C and Ctrl-\\ to all processes in its foreground by itself.
        let by_key = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
        let has_it = by_key && in_foreground();
        self.tell(if has_it { None } else { Some(signal) })
    }

    /// Interrupts the command, as Ctrl-C does on a terminal that is not read key by key. Returns whether the command
    /// was running and had got no signal before.
    pub(super) fn interrupt(&mut self) -> bool {
        self.tell(Some(Signal::SIGINT))
    }

    fn tell(&mut self, signal: Option<Signal>) -> bool {
        let Some(command) = &mut self.command else { return false };
        if self.told || command.try_wait().is_some() {
            return false;
        }
        self.told = true;
        if let Some(signal) = signal {
            pass_on(command, signal);
        }
        true
    }

    /// Sends the command a signal.
    pub(super) fn signal(&mut self, signal: Signal) {
        if let Some(command) = &mut self.command
            && command.try_wait().is_none()
        {
            pass_on(command, signal);
        }
    }

    /// Waits until the command has ended. Returns the code to exit with: the command's, or `OK` without a command. A
    /// signal is passed on; if the command `was_told` to end already, a signal kills it.
    pub(super) async fn wait(&mut self, signals: &mut Signals, was_told: bool) -> u8 {
        let Some(command) = &mut self.command else { return exit::OK };
        let say_at = Instant::now() + QUIET;
        let mut is_said = false;
        loop {
            if let Some(status) = command.try_wait() {
                return crate::target::command::exit_code(status);
            }
            if !is_said && Instant::now() >= say_at {
                is_said = true;
                let pid = command.pid();
                if was_told {
                    message::say(format_args!(
                        "waiting for the command (pid {pid}), which was sent SIGTERM; Ctrl-C kills it"
                    ));
                } else {
                    message::say(format_args!(
                        "measured; waiting for the command (pid {pid}) to end (kill -KILL {pid} \
                         forces it)"
                    ));
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                // The command must get signals also now: nothing else passes them on.
                signal = signals.next() => match signal {
                    _ if was_told => pass_on(command, Signal::SIGKILL),
                    Signal::SIGINT | Signal::SIGQUIT if in_foreground() => {}
                    signal => pass_on(command, signal),
                },
            }
        }
    }

    /// Whether there is a command, running or not.
    pub(super) fn is_there(&self) -> bool {
        self.command.is_some()
    }

    /// The command itself.
    pub(super) fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }
}

fn pass_on(command: &Command, signal: Signal) {
    if let Err(error) = command.signal(signal) {
        let pid = command.pid();
        message::say(format_args!("cannot send {signal} to the command (pid {pid}): {error}"));
    }
}

/// Whether this process is in the terminal's foreground, and so gets the signals of keys.
fn in_foreground() -> bool {
    let stdin = std::io::stdin();
    let group =
        if stdin.is_terminal() { tcgetpgrp(stdin) } else { message::foreground_of_stderr() };
    group.is_ok_and(|group| group == getpgrp())
}
