//! The command that was started to be measured: it gets the signals that are meant for it, and its
//! exit status becomes ours.

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

/// How long to wait for the command without a word.
const QUIET: Duration = Duration::from_secs(1);

/// Our child, if there is one.
pub(super) struct Child {
    command: Option<Command>,
    /// Whether a signal was passed on: the next one is for us.
    told: bool,
}

impl Child {
    /// There is none.
    pub(super) fn none() -> Self {
        Self { command: None, told: false }
    }

    /// Lets the command go, now that `source` measures it.
    pub(super) fn release(mut command: Option<Command>, source: &mut Live) -> Result<Self> {
        if let Some(command) = &mut command {
            source.begin_now();
            command.release()?;
        }
        Ok(Self { command, told: false })
    }

    /// Whether `signal` was for the command: the first one is, as long as it runs.
    pub(super) fn takes(&mut self, signal: Signal) -> bool {
        // Ctrl-C and Ctrl-\\ on a terminal reach everybody in its foreground by itself.
        let by_key = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
        let has_it = by_key && in_foreground();
        self.tell(if has_it { None } else { Some(signal) })
    }

    /// Interrupts the command, as Ctrl-C does on a terminal that is not read key by key. Whether it
    /// was there to be interrupted, and for the first time.
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

    /// Waits until the command has ended. The code to exit with: the command's, or `OK` without
    /// one. A signal is passed on, or, where the command `was_told` to end, kills it.
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
                // It is told again, and nobody else can end it any more.
                signal = signals.next() => match signal {
                    _ if was_told => pass_on(command, Signal::SIGKILL),
                    Signal::SIGINT | Signal::SIGQUIT if in_foreground() => {}
                    signal => pass_on(command, signal),
                },
            }
        }
    }

    /// Whether there is a command at all.
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

/// Whether the terminal sends us what it sends to its foreground.
fn in_foreground() -> bool {
    let stdin = std::io::stdin();
    let group =
        if stdin.is_terminal() { tcgetpgrp(stdin) } else { message::foreground_of_stderr() };
    group.is_ok_and(|group| group == getpgrp())
}
