//! What samples mean: rows, rates, percentiles, and how far to trust them.
//!
//! Pure: a model is made from one sample, or from two of the same run. Knows no clock, no map, no
//! file and no screen.

pub mod budget;
pub mod calibration;
pub mod column;
pub mod counted;
pub mod distribution;
pub mod group;
pub mod in_flight;
pub mod ledger;
pub mod parts;
pub mod preflight;
pub mod row;
pub mod trust;

use syscost_common::cell::PartOf;

use crate::{
    reading::Reading,
    sample::{Calibrated, CostSample, Detail, KindSample, Sample, Subject},
};
pub use counted::{Basis, Counted, Total};
pub use distribution::Distribution;
pub use group::{GroupRow, Groups};
pub use in_flight::InFlight;
pub use ledger::Ledger;
pub use parts::{PartSums, Parts};
pub use row::Row;
pub use trust::{Known, Trust};

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
    /// One row for each syscall with a finished call in the window, by ABI and number.
    pub rows: Vec<Row>,
    /// All rows taken together.
    pub total: Total,
    /// The calls by who made them; `None` where that was not asked for.
    pub groups: Option<Groups>,
    /// The calls open when the window ended, oldest first; `None` where they cannot be listed.
    pub in_flight: Option<Vec<InFlight>>,
    /// The account of every event, always since attach: a loss does not heal.
    pub ledger: Ledger,
    /// How far the numbers of this window can be trusted.
    pub trust: Trust,
    /// How much detail was being collected when the window ended.
    pub detail: Detail,
    /// CPU time of what is measured in this window, ns, as the kernel accounts for it.
    pub cpu_ns: Reading<u64>,
    /// What a crossing costs on this machine; `None` where nobody has calibrated.
    pub calibrated: Option<Calibrated>,
    /// What the programs cost when that was last measured; `None` where it never was.
    pub cost: Option<CostSample>,
}

impl Model {
    /// The model of everything since the probes were attached.
    pub fn since_attach(sample: &Sample) -> Self {
        let attached_ns = sample.at_ns.saturating_sub(sample.attached_at_ns);
        let rows = sample.kinds.iter().filter_map(|kind| Row::new(kind, None)).collect();
        let groups = sample.groups.as_ref().map(|groups| Groups::new(groups, None));
        Self::assemble(sample, None, attached_ns, rows, groups)
    }

    /// The model of what happened between two samples of the same run.
    pub fn interval(sample: &Sample, previous: &Sample) -> Self {
        let window_ns = sample.at_ns.saturating_sub(previous.at_ns);
        let rows = sample
            .kinds
            .iter()
            .filter_map(|kind| {
                let before = previous.kinds.iter().find(|before| before.key == kind.key);
                Row::new(kind, before)
            })
            .collect();
        let groups =
            sample.groups.as_ref().map(|groups| Groups::new(groups, previous.groups.as_ref()));
        Self::assemble(sample, Some(previous), window_ns, rows, groups)
    }

    fn assemble(
        sample: &Sample,
        before: Option<&Sample>,
        window_ns: u64,
        rows: Vec<Row>,
        groups: Option<Groups>,
    ) -> Self {
        let finished = sample.kinds.iter().map(KindSample::calls).sum();
        let total = Total::of(&rows);
        let ledger = Ledger::new(&sample.ledger, finished);
        let cpu_before = before.and_then(|before| before.cpu_ns.value()).unwrap_or(0);
        Self {
            subject: sample.subject.clone(),
            window: if before.is_some() { Window::Interval } else { Window::SinceAttach },
            window_ns,
            attached_ns: sample.at_ns.saturating_sub(sample.attached_at_ns),
            rows,
            total,
            groups,
            in_flight: InFlight::of(sample),
            trust: Trust::new(sample, before, window_ns, &ledger),
            ledger,
            detail: sample.detail.level,
            cpu_ns: sample.cpu_ns.map(|ns| ns.saturating_sub(cpu_before)),
            calibrated: sample.calibrated,
            cost: sample.cost,
        }
    }

    /// What the numbers of syscalls are set against.
    pub fn basis(&self) -> Basis {
        self.basis_of(self.total)
    }

    /// What the numbers of groups are set against: they are read a moment before the syscalls.
    pub fn group_basis(&self) -> Basis {
        self.basis_of(self.groups.as_ref().map_or(Total::default(), |groups| groups.total))
    }

    fn basis_of(&self, total: Total) -> Basis {
        Basis {
            total,
            window_ns: self.window_ns,
            trust: self.trust,
            crossing_ns: self.calibrated.map(|calibrated| calibrated.crossing_ns),
        }
    }

    /// Time on a CPU inside calls, percent of all CPU time of what is measured.
    pub fn cpu_share_pct(&self) -> Reading<f64> {
        let on_cpu = self.basis().part(PartOf::OnCpu, self.total);
        match self.cpu_ns.value() {
            // A call that ends in this window may have begun long before it.
            Some(cpu @ 1..) => on_cpu.map(|ns| (ns as f64 * 100.0 / cpu as f64).min(100.0)),
            _ => Reading::NotCollected,
        }
    }

    /// The row of a syscall by its identity, which outlives sorting and windows.
    pub fn row(&self, key: crate::sample::KindKey) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }
}
