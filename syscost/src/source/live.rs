//! The live source: the probes on what is measured.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use super::Source;
use crate::{
    probe::{Hooks, Probe, Request},
    sample::{GroupKey, GroupsSample, Sample},
    target::{Process, Target, cgroup::Cgroups},
};

/// How often to look whether those are gone of whom the kernel does not tell.
const LOOK: Duration = Duration::from_millis(20);

/// What is measured and the probes that measure it.
pub struct Live {
    target: Target,
    /// The pidfds of the processes that were given.
    held: Vec<AsyncFd<OwnedFd>>,
    probe: Probe,
    only: Option<String>,
    cgroups: Cgroups,
    finished: Option<Sample>,
}

impl Live {
    /// Attaches as `request` says, which is about `target`. Needs a running tokio reactor.
    ///
    /// # Errors
    /// When the probes cannot be attached.
    pub fn attach(target: Target, request: &Request) -> Result<Self> {
        let held = target.processes().map(hold).collect::<Result<Vec<_>>>();
        let held = held.context("cannot wait for processes to exit")?;
        let probe = Probe::attach(request)?;
        Ok(Self {
            target,
            held,
            probe,
            only: request.filter.describe(),
            cgroups: Cgroups::default(),
            finished: None,
        })
    }

    /// What is measured.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Which hooks are in use.
    pub fn hooks(&self) -> &Hooks {
        self.probe.hooks()
    }

    fn read(&mut self, exited: bool) -> Result<Sample> {
        let open_calls = self.probe.open_calls();
        let groups = self.probe.groups()?.map(|groups| self.name(groups));
        let (at_ns, kinds, ledger) = self.probe.snapshot();
        let subject = self.target.subject(self.only.clone(), exited);
        let attached_at_ns = self.probe.attached_at_ns();
        Ok(Sample { at_ns, attached_at_ns, subject, kinds, open_calls, groups, ledger })
    }

    /// Gives cgroups their paths, which the kernel's programs do not know.
    fn name(&mut self, mut groups: GroupsSample) -> GroupsSample {
        for group in &mut groups.groups {
            if let GroupKey::Cgroup { id } = &group.key {
                group.name = self.cgroups.path(*id);
            }
        }
        groups
    }

    /// Whether nothing is left to measure.
    fn is_over(&self) -> bool {
        self.target.has_exited() && self.probe.children() == 0
    }
}

/// Something that becomes readable when `process` exits.
fn hold(process: &Process) -> Result<AsyncFd<OwnedFd>> {
    let fd = process.pidfd().try_clone_to_owned()?;
    // SAFETY: the descriptor is owned by what is made here, and not closed before.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

impl Source for Live {
    fn sample(&mut self) -> Result<Sample> {
        match &self.finished {
            Some(sample) => Ok(sample.clone()),
            None => self.read(false),
        }
    }

    async fn exit(&mut self) {
        if !self.target.can_exit() {
            return std::future::pending().await;
        }
        for process in &self.held {
            // The only error is a reactor that is gone, and with it whoever waits.
            let _ = process.readable().await.map(|mut ready| ready.retain_ready());
        }
        while !self.is_over() {
            sleep(LOOK).await;
        }
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
        let exited = self.is_over();
        let sample = Sample { open_calls, ..self.read(exited)? };
        self.finished = Some(sample.clone());
        Ok(sample)
    }
}
