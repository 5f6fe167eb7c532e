//! The live source: probes attached to a target.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use super::{Event, Last, RunCost, Source, Tune, emptiness::Emptiness};
use crate::{
    filter::Selection,
    probe::{CostMeasurement, Probe, ProgramCost, Read, Snapshot},
    reading::Reading,
    request::{Hooks, Request},
    sample::{CpuSample, Detail, Format, GroupKey, GroupsSample, OpenCallSample, Sample},
    target::{CpuClock, Ends, Process, Target, cgroup::Cgroups},
};

/// How often to look whether threads and followed children have ended. No pidfd tells of that.
const LOOK: Duration = Duration::from_millis(20);

/// A target and the probes that measure it.
pub struct Live {
    target: Target,
    /// The pidfds of the processes that the user named.
    held: Vec<AsyncFd<OwnedFd>>,
    probe: Probe,
    selection: Selection,
    emptiness: Emptiness,
    cgroups: Cgroups,
    cpu: CpuClock,
    ring_at_attach: bool,
    /// The measurement of the cost that is going on.
    cost: Option<CostMeasurement>,
    /// From when on calls count, ns of CLOCK_MONOTONIC.
    began_at_ns: u64,
    /// The last sample, once the measurement has ended.
    finished: Option<Sample>,
}

impl Live {
    /// Attaches probes to `target` as `request`, which is about the same target, says. Needs a running tokio
    /// reactor.
    ///
    /// # Errors
    /// When the probes cannot be attached.
    pub fn attach(target: Target, request: &Request) -> Result<Self> {
        let held = target.processes().map(hold).collect::<Result<Vec<_>>>();
        let held = held.context("cannot wait for processes to exit")?;
        let probe = Probe::attach_to(request, &|id| target.is_there(id))?;
        Ok(Self {
            cpu: CpuClock::start(&target),
            ring_at_attach: target.has_ring() || probe.held_ring(),
            cost: None,
            began_at_ns: probe.attached_at_ns(),
            target,
            held,
            probe,
            selection: request.filter.selection(),
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

    /// Moves the begin of the measurement to now. For a command that has waited until now: all that was counted of
    /// it comes after this.
    pub fn begin_now(&mut self) {
        self.began_at_ns = crate::probe::monotonic_ns();
    }

    /// Makes a sample of a reading and of the CPU time `cpu`. `is_last`: nothing is measured any more. Without the
    /// groups if they could not be read.
    fn sample_of(&mut self, read: Read, cpu: CpuSample, is_last: bool) -> Last {
        let Read { at_ns, read_ns, open_calls, groups, calls, detail, .. } = read;
        let Snapshot { kinds, ledger } = calls;
        let (groups, error) = match groups {
            Ok(groups) => (groups, None),
            Err(error) => (None, Some(error)),
        };
        let exited = is_last && self.is_over();
        let mut subject = self.target.subject(self.selection.clone(), exited);
        if let Target::Threads(_) = self.target {
            let left = u32::try_from(self.probe.targets_left());
            subject.threads = left.map_or(Reading::NotCollected, Reading::Exact);
        }
        let any_open = open_calls.as_ref().is_some_and(|calls| !calls.is_empty());
        subject.why_empty = self.emptiness.why(&self.target, &ledger, any_open, at_ns, is_last);
        let sample = Sample {
            format: Format,
            attached_at_ns: self.began_at_ns,
            begin_ns: at_ns,
            end_ns: at_ns + read_ns,
            subject,
            kinds,
            open_calls: open_calls.map(in_order),
            groups: groups.map(|groups| self.complete(groups)),
            ledger,
            detail,
            cpu,
            ring_at_attach: self.ring_at_attach,
            other_tracers: self.probe.other_tracers(),
        };
        Last { sample, error }
    }

    /// CPU time by the kernel's accounts, for hooks that do not see context switches.
    fn cpu_by_clock(&mut self) -> CpuSample {
        self.cpu.sample(|| Ends {
            left: self.probe.targets_left(),
            leaders_replaced: self.probe.leaders_replaced(),
        })
    }

    /// Brings groups into order, and adds the paths of cgroups, which the programs in the kernel do not know.
    fn complete(&mut self, mut groups: GroupsSample) -> GroupsSample {
        groups.groups.sort_unstable_by(|one, other| one.key.cmp(&other.key));
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
            // An exec may have changed their tids: only the programs in the kernel know which threads are left.
            Target::Threads(_) => self.target.has_exited() || self.probe.targets_left() == 0,
            _ => self.target.has_exited(),
        };
        ended && self.probe.children() == 0
    }
}

/// Open calls in the order that a sample has them in.
fn in_order(mut calls: Vec<OpenCallSample>) -> Vec<OpenCallSample> {
    calls.sort_by_key(|call| (call.thread.tid, call.thread.pid));
    calls
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
                let mut read = self.probe.read();
                let cpu = read.cpu.unwrap_or_else(|| {
                    let cpu = self.cpu_by_clock();
                    // This was the last part that was read.
                    read.read_ns = crate::probe::monotonic_ns().saturating_sub(read.at_ns);
                    cpu
                });
                let Last { sample, error } = self.sample_of(read, cpu, false);
                error.map_or(Ok(sample), Err)
            }
        }
    }

    fn events(&mut self) -> Vec<Event> {
        self.probe.diagnostics().into_iter().map(Event::Diagnostic).collect()
    }

    async fn exit(&mut self) {
        if !self.target.can_exit() {
            return std::future::pending().await;
        }
        for process in &self.held {
            // The only error is that the reactor is gone, and then nothing waits any more.
            let _ = process.readable().await.map(|mut ready| ready.retain_ready());
        }
        while !self.is_over() {
            sleep(LOOK).await;
        }
    }

    fn finish(&mut self) -> Result<Last> {
        if let Some(sample) = &self.finished {
            return Ok(Last { sample: sample.clone(), error: None });
        }
        // The window ends here. What follows takes up to 100 ms.
        self.probe.stop();
        let cpu = self.probe.cpu_time().unwrap_or_else(|| self.cpu_by_clock());
        self.cost = None;
        // At once, because every process on the host pays for attached programs.
        self.probe.detach();
        let read = self.probe.read();
        let last = self.sample_of(read, cpu, true);
        self.finished = Some(last.sample.clone());
        Ok(last)
    }
}

impl Tune for Live {
    fn set_detail(&mut self, level: Detail) -> Result<()> {
        self.probe.set_detail(level)
    }

    fn begin_cost(&mut self) -> Result<()> {
        self.cost = Some(self.probe.begin_cost()?);
        Ok(())
    }

    fn end_cost(&mut self) -> Result<RunCost> {
        let began = self.cost.take().context("the cost is not being measured")?;
        let ProgramCost { run_pct, run_ns } = self.probe.end_cost(began);
        Ok(RunCost { run_pct, run_ns, detail: self.probe.detail().level })
    }
}
