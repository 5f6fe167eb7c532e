//! An emulated machine, from its start to its end, and the lines on its console.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::packages::Emulator;

/// How long to wait for a machine.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// From one line to the next.
    pub(crate) silence: Duration,
    /// From its start to its end.
    pub(crate) whole: Duration,
}

/// How a machine's processors run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Two of them, as fast as the emulator can.
    Free,
    /// One, and what the machine takes for a nanosecond is one instruction. Time without work passes at once.
    /// Every run of the same programs is the same to the instruction.
    Counted,
}

impl Pace {
    /// For the emulator.
    const fn args(self) -> &'static [&'static str] {
        match self {
            // Emulated even where the processor could do it: everywhere the same, and no privilege. Both
            // processors in one thread: with a thread each, one now and then goes on executing code that
            // the other has patched, as the kernel does with tracepoints, and the machine hangs.
            Self::Free => &["-accel", "tcg,thread=single", "-smp", "2"],
            // Dates and random numbers would differ from run to run.
            Self::Counted => &[
                "-accel",
                "tcg",
                "-icount",
                "shift=0,sleep=off",
                "-smp",
                "1",
                "-seed",
                "1",
                "-rtc",
                "base=2026-01-01,clock=vm",
            ],
        }
    }

    /// For the kernel.
    const fn kernel_args(self) -> &'static str {
        match self {
            Self::Free => "",
            // Mitigations are what differs most between the processors that programs are really run on.
            Self::Counted => " mitigations=off nokaslr norandmaps",
        }
    }
}

/// The next event on the console.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Line(String),
    NoMore(End),
}

/// Why no further line comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The machine is off.
    Off,
    /// It has printed nothing for too long.
    Silent,
    /// It goes on printing, but has run for too long.
    Late,
}

impl End {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Off => "the machine is off",
            Self::Silent => "the machine has printed nothing for too long",
            Self::Late => "the machine has run for too long",
        }
    }
}

/// A running machine. It is ended when this value is dropped.
pub(crate) struct Machine {
    child: Child,
    console: Console,
}

impl Machine {
    pub(crate) fn start(
        emulator: &Emulator,
        kernel: &Path,
        initrd: &Path,
        pace: Pace,
        patience: Patience,
    ) -> Result<Self> {
        let mut command = emulator.command();
        let arch = emulator.arch();
        command.args(pace.args()).args(["-m", "1024"]).args(arch.machine());
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]);
        command.arg("-no-reboot").arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        let (console, own, more) = (arch.console(), arch.kernel_args(), pace.kernel_args());
        command.arg("-append").arg(format!("console={console} panic=-1 quiet{own}{more}"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the emulator")?;
        let stdout = child.stdout.take().context("the emulator has no output")?;
        let (sender, console) = Console::open(patience);
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, console })
    }

    /// Waits for the next line on the console.
    pub(crate) fn next(&mut self) -> Said {
        self.console.next()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that the machine prints.
struct Console {
    lines: Receiver<String>,
    patience: Patience,
    until: Instant,
}

impl Console {
    /// A console and the sender that feeds it.
    fn open(patience: Patience) -> (Sender<String>, Self) {
        let (sender, lines) = channel();
        (sender, Self { lines, patience, until: Instant::now() + patience.whole })
    }

    fn next(&self) -> Said {
        let left = self.until.saturating_duration_since(Instant::now());
        // Checked first: a machine that prints without end is late as well.
        if left.is_zero() {
            return Said::NoMore(End::Late);
        }
        match self.lines.recv_timeout(left.min(self.patience.silence)) {
            Ok(line) => Said::Line(line),
            Err(RecvTimeoutError::Disconnected) => Said::NoMore(End::Off),
            Err(RecvTimeoutError::Timeout) if left > self.patience.silence => {
                Said::NoMore(End::Silent)
            }
            Err(RecvTimeoutError::Timeout) => Said::NoMore(End::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(1);

    fn saying(silence: Duration, whole: Duration) -> (Sender<String>, Console) {
        let (sender, console) = Console::open(Patience { silence, whole });
        sender.send("Linux".to_owned()).unwrap();
        (sender, console)
    }

    #[test]
    fn the_lines_are_read_before_the_end_is_told() {
        let (sender, console) = saying(LONG, LONG);
        drop(sender);
        assert_eq!(console.next(), Said::Line("Linux".to_owned()));
        assert_eq!(console.next(), Said::NoMore(End::Off));
    }

    #[test]
    fn a_machine_that_prints_nothing_for_too_long_is_silent() {
        let (_sender, console) = saying(SHORT, LONG);
        assert_eq!(console.next(), Said::Line("Linux".to_owned()));
        assert_eq!(console.next(), Said::NoMore(End::Silent));
    }

    #[test]
    fn a_machine_that_runs_for_too_long_is_late_whether_it_prints_or_not() {
        let (_sender, console) = saying(LONG, Duration::ZERO);
        assert_eq!(console.next(), Said::NoMore(End::Late));
        let (_sender, console) = saying(LONG, SHORT);
        while let Said::Line(_) = console.next() {}
        assert_eq!(console.next(), Said::NoMore(End::Late));
    }
}
