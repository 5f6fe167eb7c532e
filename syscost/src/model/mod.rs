//! What samples mean: rows, rates, percentiles, and how far to trust them.
//!
//! Pure: a model is made from one sample, or from two of the same run. Knows no clock, no map, no
//! file and no screen.

pub mod calibration;
pub mod column;
pub mod counted;
pub mod group;
pub mod in_flight;
pub mod latency;
pub mod ledger;
pub mod preflight;
pub mod row;

use crate::sample::{KindSample, Sample, Subject};
pub use counted::{Basis, Counted, Total};
pub use group::{GroupRow, Groups};
pub use in_flight::InFlight;
pub use latency::Latency;
pub use ledger::Ledger;
pub use row::Row;

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
}

impl Model {
    /// The model of everything since the probes were attached.
    pub fn since_attach(sample: &Sample) -> Self {
        let attached_ns = sample.at_ns.saturating_sub(sample.attached_at_ns);
        let rows = sample.kinds.iter().filter_map(|kind| Row::new(kind, None)).collect();
        let groups = sample.groups.as_ref().map(|groups| Groups::new(groups, None));
        Self::assemble(sample, Window::SinceAttach, attached_ns, rows, groups)
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
        Self::assemble(sample, Window::Interval, window_ns, rows, groups)
    }

    fn assemble(
        sample: &Sample,
        window: Window,
        window_ns: u64,
        rows: Vec<Row>,
        groups: Option<Groups>,
    ) -> Self {
        let finished = sample.kinds.iter().map(KindSample::calls).sum();
        let total = Total::of(&rows);
        Self {
            subject: sample.subject.clone(),
            window,
            window_ns,
            attached_ns: sample.at_ns.saturating_sub(sample.attached_at_ns),
            rows,
            total,
            groups,
            in_flight: InFlight::of(sample),
            ledger: Ledger::new(&sample.ledger, finished),
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
        Basis { total, window_ns: self.window_ns, exact: self.ledger.exact() }
    }

    /// The row of a syscall by its identity, which outlives sorting and windows.
    pub fn row(&self, key: crate::sample::KindKey) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }
}
