//! The live source: the probes on what is measured.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use super::{Last, Source, emptiness::Emptiness};
use crate::{
    probe::{CostMeasurement, Probe, ProgramCost},
    reading::Reading,
    request::{Hooks, Request},
    sample::{
        Calibrated, CostSample, CpuSample, Detail, GroupKey, GroupsSample, OpenCallSample, Sample,
    },
    target::{CpuClock, Ends, Process, Target, cgroup::Cgroups},
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
    emptiness: Emptiness,
    cgroups: Cgroups,
    cpu: CpuClock,
    ring_at_attach: bool,
    calibrated: Option<Calibrated>,
    cost: Option<CostSample>,
    /// The measurement of the cost that is going on.
    cost_began: Option<CostMeasurement>,
    /// From when on samples count, ns of CLOCK_MONOTONIC.
    began_at_ns: u64,
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
        let probe = Probe::attach_to(request, &|id| target.is_there(id))?;
        Ok(Self {
            cpu: CpuClock::start(&target),
            ring_at_attach: target.has_ring() || probe.held_ring(),
            calibrated,
            cost: None,
            cost_began: None,
            began_at_ns: probe.attached_at_ns(),
            target,
            held,
            probe,
            only: request.filter.describe(),
            emptiness: Emptiness::new(request.filter.wants_nothing(), crate::probe::monotonic_ns()),
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

    /// Lets the time since attach begin now. For a command that has waited until now: whatever was
    /// counted is from now on.
    pub fn begin_now(&mut self) {
        self.began_at_ns = crate::probe::monotonic_ns();
    }

    /// Reads all that is not given. `exited`: whether the target has. `is_last`: nothing is measured any more.
    fn read(&mut self, given: Given, exited: bool, is_last: bool) -> Sample {
        let Given { at_ns, open_calls, groups } = given;
        let (_, kinds, ledger) = self.probe.snapshot();
        let cpu = self.cpu_time();
        let read_ns = crate::probe::monotonic_ns().saturating_sub(at_ns);
        let groups = groups.map(|groups| self.name(groups));
        let mut subject = self.target.subject(self.only.clone(), exited);
        if let Target::Threads(_) = self.target {
            let left = u32::try_from(self.probe.targets_left());
            subject.threads = left.map_or(Reading::NotCollected, Reading::Exact);
        }
        let any_open = open_calls.as_ref().is_some_and(|calls| !calls.is_empty());
        subject.why_empty = self.emptiness.why(&self.target, &ledger, any_open, at_ns, is_last);
        Sample {
            at_ns,
            read_ns,
            attached_at_ns: self.began_at_ns,
            subject,
            kinds,
            open_calls,
            groups,
            ledger,
            detail: self.probe.detail(),
            cpu,
            ring_at_attach: self.ring_at_attach,
            other_tracers: self.probe.other_tracers(),
            calibrated: self.calibrated,
            cost: self.cost,
        }
    }

    fn cpu_time(&mut self) -> CpuSample {
        let cpu_time = self.probe.cpu_time();
        let ends = || Ends {
            left: self.probe.targets_left(),
            leaders_replaced: self.probe.leaders_replaced(),
        };
        cpu_time.unwrap_or_else(|| self.cpu.sample(ends))
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
        let ended = match self.target {
            // Exec may have changed their tids: only the programs know which threads are left.
            Target::Threads(_) => self.target.has_exited() || self.probe.targets_left() == 0,
            _ => self.target.has_exited(),
        };
        ended && self.probe.children() == 0
    }
}

/// What is read first, and before the calls: whatever is in it, those have as well.
struct Given {
    /// When that was begun, ns of CLOCK_MONOTONIC.
    at_ns: u64,
    open_calls: Option<Vec<OpenCallSample>>,
    groups: Option<GroupsSample>,
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
            None => {
                // Before the open calls are listed: of those, the ones that had been entered by then
                // were open then.
                let at_ns = crate::probe::monotonic_ns();
                let open_calls = self.probe.open_calls();
                let groups = self.probe.groups()?;
                Ok(self.read(Given { at_ns, open_calls, groups }, false, false))
            }
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

    fn begin_cost(&mut self) -> Result<()> {
        self.cost_began = Some(self.probe.begin_cost()?);
        Ok(())
    }

    fn end_cost(&mut self, budget_pct: Option<f64>) -> Result<f64> {
        let began = self.cost_began.take().context("the cost is not being measured")?;
        let ProgramCost { run_pct, run_ns } = self.probe.end_cost(began);
        let at_ns = crate::probe::monotonic_ns();
        let detail = self.probe.detail().level;
        self.cost = Some(CostSample { run_pct, run_ns, at_ns, budget_pct, detail });
        Ok(run_pct)
    }

    fn finish(&mut self) -> Result<Last> {
        if let Some(sample) = &self.finished {
            return Ok(Last { sample: sample.clone(), error: None });
        }
        // The window ends here; what follows takes up to 100 ms.
        let at_ns = self.probe.stop();
        // What is open can be listed only while the programs are there. They go at once then: until
        // then every process on the host pays for them.
        let open_calls = self.probe.open_calls();
        let cpu = self.cpu_time();
        let detail = self.probe.detail();
        self.cost_began = None;
        self.probe.detach();
        let open_calls = open_calls.map(|listed| self.probe.open_at_end(listed, at_ns));
        let exited = self.is_over();
        let (groups, error) = match self.probe.groups() {
            Ok(groups) => (groups, None),
            Err(error) => (None, Some(error)),
        };
        let given = Given { at_ns, open_calls, groups };
        let sample = Sample { read_ns: 0, cpu, detail, ..self.read(given, exited, true) };
        self.finished = Some(sample.clone());
        Ok(Last { sample, error })
    }
}
