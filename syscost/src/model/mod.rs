//! What samples mean: rows, rates, percentiles, and how far to trust them.
//!
//! Pure: a model is made from one sample, or from two of the same run. Knows no clock, no map, no
//! file and no screen.

pub mod budget;
pub mod calibration;
pub mod check;
pub mod column;
pub mod distribution;
pub mod group;
pub mod history;
pub mod in_flight;
pub mod ledger;
pub mod parts;
pub mod row;
pub mod subject;
pub mod table;
pub mod trust;

use syscost_common::{cell::PartOf, kind::is_io_uring, ledger::Counter};

use crate::{
    costs::{Calibrated, Costs, ProgramsCost},
    reading::Reading,
    sample::{CpuSample, Detail, KindKey, KindSample, Sample},
};
pub use distribution::Distribution;
pub use group::{GroupRow, Groups};
pub use history::History;
pub use in_flight::InFlight;
pub use ledger::Ledger;
pub use parts::{PartSums, Parts};
pub use row::Row;
pub use subject::{Subject, SubjectKind};
pub use table::{Sum, TableContext, TableRow, Total};
pub use trust::{Availability, Trust};

/// The stretch of time a model is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// From attaching to the sample.
    SinceAttach,
    /// Between two samples.
    Interval,
}

/// One window of the syscalls of what is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What was measured.
    pub subject: Subject,
    /// Which stretch of time this is.
    pub window: Window,
    /// How long it is, ns.
    pub window_ns: u64,
    /// How long the probes have been attached, ns.
    pub attached_ns: u64,
    /// How long reading took at the end of the window, ns: calls that ended in that time may count in it.
    pub read_ns: u64,
    /// One row for each syscall with a finished call in the window, by ABI and number.
    pub rows: Vec<Row>,
    /// The sums over all rows.
    pub total: Total,
    /// The calls by process, thread, cgroup or name; `None` where that was not asked for.
    pub groups: Option<Groups>,
    /// The calls open when the window ended, oldest first; `None` where they cannot be listed.
    pub in_flight: Option<Vec<InFlight>>,
    /// The account of every event, always since attach. A loss is never made good.
    pub ledger: Ledger,
    /// How far the numbers of this window can be trusted.
    pub trust: Trust,
    /// How much detail was being collected when the window ended.
    pub detail: Detail,
    /// CPU time of what is measured in this window, inside calls and outside, ns.
    pub cpu_ns: Reading<u64>,
    /// CPU time of the kernel threads that io_uring runs for it in this window, ns; not in `cpu_ns`.
    pub io_workers_ns: Reading<u64>,
    /// Whether the target uses io_uring, whose operations are not visible.
    pub uses_io_uring: bool,
    /// How many other BPF programs were at the hooks of calls when the probes were attached; `None` where
    /// that is not known.
    pub other_tracers: Option<u32>,
    /// The boundary cost on this machine; `None` where it was not calibrated.
    pub calibrated: Option<Calibrated>,
    /// What the programs cost when that was last measured; `None` where it never was.
    pub cost: Option<ProgramsCost>,
}

impl Model {
    /// The model of everything since the probes were attached.
    pub fn since_attach(sample: &Sample) -> Self {
        let rows = sample.kinds.iter().filter_map(|kind| Row::new(kind, None)).collect();
        let groups =
            sample.groups.as_ref().map(|groups| Groups::new(groups, None, finished(sample)));
        Self::assemble(sample, None, sample.attached_ns(), rows, groups)
    }

    /// The model of what happened between two samples of the same run.
    pub fn interval(sample: &Sample, previous: &Sample) -> Self {
        let window_ns = sample.begin_ns.saturating_sub(previous.begin_ns);
        let rows = sample
            .kinds
            .iter()
            .filter_map(|kind| {
                let before = previous.kinds.iter().find(|before| before.key == kind.key);
                Row::new(kind, before)
            })
            .collect();
        let groups = sample
            .groups
            .as_ref()
            .map(|groups| Groups::new(groups, previous.groups.as_ref(), finished(sample)));
        Self::assemble(sample, Some(previous), window_ns, rows, groups)
    }

    fn assemble(
        sample: &Sample,
        before: Option<&Sample>,
        window_ns: u64,
        rows: Vec<Row>,
        groups: Option<Groups>,
    ) -> Self {
        let total = Total::of(&rows);
        let ledger = Ledger::new(sample, before);
        let mut open_calls = sample.open_calls.iter().flatten();
        let uses_io_uring = sample.ring_at_attach
            || open_calls.any(|call| is_io_uring(call.nr))
            || ledger.counter(Counter::IoUringCalls) > 0
            || sample.cpu.io_workers_ns.value().is_some_and(|ns| ns > 0);
        Self {
            subject: Subject::new(&sample.subject),
            window: if before.is_some() { Window::Interval } else { Window::SinceAttach },
            window_ns,
            attached_ns: sample.attached_ns(),
            read_ns: sample.read_ns(),
            rows,
            total,
            groups,
            in_flight: InFlight::of(sample),
            trust: Trust::new(sample, before, window_ns, &ledger),
            ledger,
            detail: sample.detail.level,
            cpu_ns: cpu_since(sample, before, |cpu| cpu.used_ns),
            io_workers_ns: cpu_since(sample, before, |cpu| cpu.io_workers_ns),
            uses_io_uring,
            other_tracers: sample.other_tracers,
            calibrated: None,
            cost: None,
        }
    }

    /// The same model on a machine, and by programs, with these costs.
    #[must_use]
    pub fn with(self, costs: Costs) -> Self {
        Self { calibrated: costs.calibrated, cost: costs.programs, ..self }
    }

    /// What the numbers of syscalls are compared with.
    pub fn context(&self) -> TableContext {
        self.context_of(self.total)
    }

    /// What the numbers of groups are compared with: groups are read a moment before the syscalls.
    pub fn group_context(&self) -> TableContext {
        self.context_of(self.groups.as_ref().map_or(Total::default(), |groups| groups.total))
    }

    fn context_of(&self, total: Total) -> TableContext {
        TableContext {
            total,
            window_ns: self.window_ns,
            trust: self.trust,
            crossing_ns: self.calibrated.map(|calibrated| calibrated.crossing_ns),
        }
    }

    /// Time on a CPU inside calls, percent of all CPU time of what is measured.
    pub fn cpu_share_pct(&self) -> Reading<f64> {
        let on_cpu = self.context().part(PartOf::OnCpu, self.total);
        let (Some(ns), Some(cpu_ns @ 1..)) = (on_cpu.value(), self.cpu_ns.value()) else {
            return Reading::NotCollected;
        };
        let pct = ns as f64 * 100.0 / cpu_ns as f64;
        // A call that ends in this window may have begun long before.
        if pct > 100.0 {
            return Reading::Estimated(100.0);
        }
        // The sum has a call that began before the window as a whole, and an open call not at all.
        if self.window == Window::Interval || self.open_calls() > 0 {
            return Reading::Estimated(pct);
        }
        match (on_cpu, self.cpu_ns) {
            (Reading::Exact(_), Reading::Exact(_)) => Reading::Exact(pct),
            (Reading::Partial(_), Reading::Exact(_)) => Reading::Partial(pct),
            // What it is a share of may be too low.
            _ => Reading::Estimated(pct),
        }
    }

    /// The number of open calls: calls that were seen entering, and listed calls that were not. A call that
    /// returned before it could be listed counts.
    pub fn open_calls(&self) -> u64 {
        let Some(calls) = &self.in_flight else { return self.ledger.in_flight() };
        let listed = calls.len() as u64;
        // With sampling, the list has the calls that were sampled out as well.
        if self.trust.sampled {
            return listed;
        }
        let unseen = calls.iter().filter(|call| !matches!(call.age_ns, Reading::Exact(_))).count();
        listed.max(self.ledger.in_flight() + unseen as u64)
    }

    /// The row of a syscall by its identity, which outlives sorting and windows.
    pub fn row(&self, key: KindKey) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }
}

/// CPU time between `before`, or attaching, and `sample`, ns.
fn cpu_since(
    sample: &Sample,
    before: Option<&Sample>,
    get: impl Fn(&CpuSample) -> Reading<u64>,
) -> Reading<u64> {
    let now = get(&sample.cpu);
    let Some(before) = before else { return now };
    let (Some(ns), Some(before_ns)) = (now.value(), get(&before.cpu).value()) else {
        return Reading::NotCollected;
    };
    let ns = ns.saturating_sub(before_ns);
    match now {
        Reading::Estimated(_) => Reading::Estimated(ns),
        // Time that was not seen before this window does not concern it.
        _ => Reading::exact_if(sample.cpu.unseen == before.cpu.unseen, ns),
    }
}

/// All calls in the histograms of the sample.
fn finished(sample: &Sample) -> u64 {
    sample.kinds.iter().map(KindSample::calls).sum()
}
