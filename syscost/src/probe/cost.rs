//! What the programs themselves cost, by the kernel's own statistics.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use anyhow::{Context, Result};
use aya::{
    programs::ProgramFd,
    sys::{Stats, enable_stats},
};

use super::bpf;

/// 1 if the administrator has switched the statistics on for good.
const ALWAYS_ON: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The kernel's statistics, switched on until this is dropped, and their values at the begin.
pub struct CostMeasurement {
    _statistics: Option<OwnedFd>,
    began: Instant,
    before: (u64, u64),
}

/// What programs have cost over some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProgramCost {
    /// How long they ran, over all CPUs, percent of one CPU. Without the cost of calling them, and of the statistics.
    pub run_pct: f64,
    /// Mean time of one run, ns; `None` if there was none.
    pub run_ns: Option<f64>,
}

impl CostMeasurement {
    pub(super) fn begin<'a>(programs: impl Iterator<Item = &'a ProgramFd>) -> Result<Self> {
        let always = fs::read_to_string(ALWAYS_ON).is_ok_and(|text| text.trim() == "1");
        let statistics = if always {
            None
        } else {
            let statistics = enable_stats(Stats::RunTime);
            Some(statistics.context(
                "cannot switch on the kernel's statistics of BPF programs: needs CAP_SYS_ADMIN \
                 (try sudo), or sysctl kernel.bpf_stats_enabled=1",
            )?)
        };
        Ok(Self { _statistics: statistics, before: sum(programs), began: Instant::now() })
    }

    pub(super) fn end<'a>(self, programs: impl Iterator<Item = &'a ProgramFd>) -> ProgramCost {
        let passed_ns = self.began.elapsed().as_nanos().max(1) as f64;
        let (time_ns, runs) = sum(programs);
        let time_ns = time_ns.saturating_sub(self.before.0) as f64;
        let runs = runs.saturating_sub(self.before.1);
        ProgramCost {
            run_pct: time_ns * 100.0 / passed_ns,
            run_ns: (runs > 0).then(|| time_ns / runs as f64),
        }
    }
}

fn sum<'a>(programs: impl Iterator<Item = &'a ProgramFd>) -> (u64, u64) {
    programs
        .filter_map(|program| bpf::run_time(program.as_fd()))
        .fold((0, 0), |(time, runs), (more_time, more_runs)| (time + more_time, runs + more_runs))
}
