//! The live source: the probes on what is measured.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use super::Source;
use crate::{
    probe::{CostMeasurement, Hooks, Probe, Request},
    sample::{Calibrated, CostSample, Detail, GroupKey, GroupsSample, Sample},
    target::{CpuClock, Process, Target, cgroup::Cgroups},
};

/// How often to look whether those are gone of whom the kernel does not tell.
const LOOK: Duration = Duration::from_millis(20);

/// How long to measure what the programs cost: long enough for some thousand runs where they matter,
/// short enough for nobody to notice.
const COST_TIME: Duration = Duration::from_millis(20);

/// What is measured and the probes that measure it.
pub struct Live {
    target: Target,
    /// The pidfds of the processes that were given.
    held: Vec<AsyncFd<OwnedFd>>,
    probe: Probe,
    only: Option<String>,
    cgroups: Cgroups,
    cpu: CpuClock,
    calibrated: Option<Calibrated>,
    cost: Option<CostSample>,
    finished: Option<Sample>,
}

impl Live {
    /// Attaches as `request` says, which is about `target`. Needs a running tokio reactor.
    /// `calibrated` is what is known of the machine.
    ///
    /// # Errors
    /// When the probes cannot be attached.
    pub fn attach(
        target: Target,
        request: &Request,
        calibrated: Option<Calibrated>,
    ) -> Result<Self> {
        let held = target.processes().map(hold).collect::<Result<Vec<_>>>();
        let held = held.context("cannot wait for processes to exit")?;
        let probe = Probe::attach(request)?;
        Ok(Self {
            cpu: CpuClock::start(&target),
            calibrated,
            cost: None,
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

    /// As [`Source::measure_cost`], for whoever has privileges now and none later. Takes as long as
    /// that does.
    pub fn measure_cost_now(&mut self) -> Result<()> {
        let began = self.probe.begin_cost()?;
        std::thread::sleep(COST_TIME);
        self.end_cost(began, None);
        Ok(())
    }

    fn end_cost(&mut self, began: CostMeasurement, budget_pct: Option<f64>) -> f64 {
        let cost = self.probe.end_cost(began);
        let at_ns = crate::probe::monotonic_ns();
        let (run_pct, run_ns) = (cost.run_pct, cost.run_ns);
        self.cost = Some(CostSample { run_pct, run_ns, at_ns, budget_pct });
        run_pct
    }

    fn read(&mut self, exited: bool) -> Result<Sample> {
        let open_calls = self.probe.open_calls();
        let groups = self.probe.groups()?.map(|groups| self.name(groups));
        let (at_ns, kinds, ledger) = self.probe.snapshot();
        let subject = self.target.subject(self.only.clone(), exited);
        let attached_at_ns = self.probe.attached_at_ns();
        Ok(Sample {
            at_ns,
            attached_at_ns,
            subject,
            kinds,
            open_calls,
            groups,
            ledger,
            detail: self.probe.detail(),
            cpu_ns: self.cpu.passed_ns(),
            calibrated: self.calibrated,
            cost: self.cost,
        })
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

    fn set_detail(&mut self, level: Detail) -> Result<()> {
        self.probe.set_detail(level)
    }

    async fn measure_cost(&mut self, budget_pct: Option<f64>) -> Result<f64> {
        let began = self.probe.begin_cost()?;
        sleep(COST_TIME).await;
        Ok(self.end_cost(began, budget_pct))
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
