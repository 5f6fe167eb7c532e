//! The live source: the probes on a running process.

use anyhow::{Context, Result};
use tokio::io::{Interest, unix::AsyncFd};

use super::Source;
use crate::{
    probe::{HookChoice, Hooks, Probe, preflight},
    reading::Reading,
    sample::{Process, Sample},
    target::Target,
};

/// A process and the probes that measure it.
pub struct Live {
    target: AsyncFd<Target>,
    probe: Probe,
    last_comm: String,
    finished: Option<Sample>,
}

impl Live {
    /// Attaches to `target`. Needs a running tokio reactor.
    ///
    /// # Errors
    /// When the probes cannot be attached.
    pub fn attach(target: Target, hooks: HookChoice, verbose: bool) -> Result<Self> {
        preflight::require_root_pid_namespace()?;
        let probe = Probe::attach(target.pid, hooks, verbose)?;
        let last_comm = target.comm.clone();
        // SAFETY: the target owns its pidfd and neither closes nor changes it while it lives.
        let target = unsafe { AsyncFd::register_with_interest(target, Interest::READABLE) }
            .context("cannot wait for the process to exit")?;
        Ok(Self { target, probe, last_comm, finished: None })
    }

    /// The process that is measured.
    pub fn target(&self) -> &Target {
        self.target.get_ref()
    }

    /// Which hooks are in use.
    pub fn hooks(&self) -> &Hooks {
        self.probe.hooks()
    }

    fn read(&mut self, exited: bool) -> Sample {
        let open_calls = self.probe.open_calls();
        let (at_ns, kinds, ledger) = self.probe.snapshot();
        let now = if exited { None } else { self.target().now() };
        let threads = match now {
            Some(now) => {
                self.last_comm = now.comm;
                now.threads
            }
            None if exited => Reading::Exact(0),
            // Gone since, which the next sample will say.
            None => Reading::NotCollected,
        };
        let process =
            Process { pid: self.target().pid, comm: self.last_comm.clone(), threads, exited };
        Sample {
            at_ns,
            attached_at_ns: self.probe.attached_at_ns(),
            process,
            kinds,
            open_calls,
            ledger,
        }
    }
}

impl Source for Live {
    fn sample(&mut self) -> Result<Sample> {
        match &self.finished {
            Some(sample) => Ok(sample.clone()),
            None => Ok(self.read(false)),
        }
    }

    async fn exit(&mut self) {
        // The only error is a reactor that is gone, and with it whoever waits.
        let _ = self.target.readable().await.map(|mut ready| ready.retain_ready());
    }

    fn diagnostics(&mut self) -> Vec<String> {
        self.probe.diagnostics()
    }

    fn finish(&mut self) -> Result<Sample> {
        if let Some(sample) = &self.finished {
            return Ok(sample.clone());
        }
        // What is open now can be listed only while the programs are there. They go at once then:
        // until then every process on the host pays for them.
        let open_calls = self.probe.open_calls();
        self.probe.detach();
        let exited = self.target().has_exited();
        let sample = Sample { open_calls, ..self.read(exited) };
        self.finished = Some(sample.clone());
        Ok(sample)
    }
}
