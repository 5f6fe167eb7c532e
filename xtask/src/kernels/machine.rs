//! An emulated machine, from its start to its end, and what it says on its console.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::packages::Emulator;

/// A machine that runs until it powers off, or until its time is up. Ends with this value.
pub(super) struct Machine {
    child: Child,
    lines: Receiver<String>,
    until: Instant,
}

impl Machine {
    pub(super) fn start(
        emulator: &Emulator,
        kernel: &Path,
        initrd: &Path,
        limit: Duration,
    ) -> Result<Self> {
        let mut command = emulator.command();
        // Emulated even where the processor could do it: everywhere the same, and no privilege. Both
        // processors in one thread: with a thread each, one now and then goes on executing code that
        // the other has patched, as the kernel does with tracepoints, and the machine hangs.
        let arch = emulator.arch();
        command.args(["-accel", "tcg,thread=single", "-smp", "2", "-m", "1024"]);
        command.args(arch.machine());
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]);
        command.arg("-no-reboot").arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        command.arg("-append").arg(format!("console={} panic=-1 quiet", arch.console()));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the emulator")?;
        let stdout = child.stdout.take().context("the emulator has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines, until: Instant::now() + limit })
    }

    /// The next line on the console; `None` when there will be no more.
    pub(super) fn line(&mut self) -> Option<String> {
        self.lines.recv_timeout(self.until.saturating_duration_since(Instant::now())).ok()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
