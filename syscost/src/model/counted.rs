//! What rows of any table count, and what their numbers are set against.

use std::borrow::Cow;

use super::Latency;
use crate::reading::Reading;

/// A row of any table: calls that are added up.
pub trait Counted {
    /// What they have in common.
    fn title(&self) -> Cow<'_, str>;

    /// Finished calls, failed ones among them, and the sum of their latencies.
    fn sum(&self) -> Total;

    /// How their latencies are distributed; `None` where that is not collected.
    fn latency(&self) -> Option<&Latency>;
}

/// Sums over calls.
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
    pub fn of<'a, R: Counted + 'a>(rows: impl IntoIterator<Item = &'a R>) -> Self {
        rows.into_iter().map(Counted::sum).fold(Self::default(), |sum, row| Self {
            calls: sum.calls + row.calls,
            errors: sum.errors + row.errors,
            total_ns: sum.total_ns + row.total_ns,
        })
    }

    /// Mean latency, ns; 0 without a call.
    pub fn mean_ns(self) -> u64 {
        self.total_ns.checked_div(self.calls).unwrap_or(0)
    }

    /// Failed calls, percent of all; 0 without a call.
    pub fn error_pct(self) -> f64 {
        share(self.errors, self.calls)
    }
}

/// What the numbers of a row are set against: all rows of its table, and the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    /// All rows taken together.
    pub total: Total,
    /// The length of the window, ns.
    pub window_ns: u64,
    /// Whether nothing was lost.
    pub exact: bool,
}

impl Basis {
    /// `count` per second of the window; 0 for an empty window.
    pub fn per_sec(&self, count: u64) -> f64 {
        if self.window_ns == 0 { 0.0 } else { count as f64 * 1e9 / self.window_ns as f64 }
    }

    /// `total_ns` in percent of the latencies of all rows; 0 where they took no time.
    pub fn time_pct(&self, total_ns: u64) -> f64 {
        share(total_ns, self.total.total_ns)
    }

    /// A number that is a lower bound where something was lost.
    pub fn reading<T>(&self, value: T) -> Reading<T> {
        Reading::exact_if(self.exact, value)
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 * 100.0 / all as f64 }
}
