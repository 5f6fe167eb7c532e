//! What samples mean: rows, rates, percentiles, and how far to trust them.
//!
//! Pure: a model is made from one sample, or from two of the same run. Knows no clock, no map, no
//! file and no screen.

pub mod column;
pub mod in_flight;
pub mod latency;
pub mod ledger;
pub mod preflight;
pub mod row;

use crate::sample::{KindSample, Sample, Subject};
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
    /// The calls open when the window ended, oldest first; `None` where they cannot be listed.
    pub in_flight: Option<Vec<InFlight>>,
    /// The account of every event, always since attach: a loss does not heal.
    pub ledger: Ledger,
}

/// Sums over all rows of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Finished calls.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Sum of their latencies, ns. Over several threads it can exceed the window.
    pub total_ns: u64,
}

impl Total {
    /// The sums over `rows`.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        rows.into_iter().fold(Self::default(), |sum, row| Self {
            calls: sum.calls + row.calls,
            errors: sum.errors + row.errors,
            total_ns: sum.total_ns + row.total_ns,
        })
    }
}

impl Model {
    /// The model of everything since the probes were attached.
    pub fn since_attach(sample: &Sample) -> Self {
        let attached_ns = sample.at_ns.saturating_sub(sample.attached_at_ns);
        let rows = sample.kinds.iter().filter_map(|kind| Row::new(kind, None)).collect();
        Self::assemble(sample, Window::SinceAttach, attached_ns, rows)
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
        Self::assemble(sample, Window::Interval, window_ns, rows)
    }

    fn assemble(sample: &Sample, window: Window, window_ns: u64, rows: Vec<Row>) -> Self {
        let finished = sample.kinds.iter().map(KindSample::calls).sum();
        let total = Total::of(&rows);
        Self {
            subject: sample.subject.clone(),
            window,
            window_ns,
            attached_ns: sample.at_ns.saturating_sub(sample.attached_at_ns),
            rows,
            total,
            in_flight: InFlight::of(sample),
            ledger: Ledger::new(&sample.ledger, finished),
        }
    }

    /// `count` per second of this window; 0 for an empty window.
    pub fn per_sec(&self, count: u64) -> f64 {
        if self.window_ns == 0 { 0.0 } else { count as f64 * 1e9 / self.window_ns as f64 }
    }

    /// `total_ns` in percent of the latencies of all rows; 0 where they took no time.
    pub fn time_pct(&self, total_ns: u64) -> f64 {
        if self.total.total_ns == 0 {
            0.0
        } else {
            total_ns as f64 * 100.0 / self.total.total_ns as f64
        }
    }

    /// The row of a syscall by its identity, which outlives sorting and windows.
    pub fn row(&self, key: crate::sample::KindKey) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }
}
