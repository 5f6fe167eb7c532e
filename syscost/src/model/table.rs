//! What the rows of any table have, and what their numbers are compared with.

use std::borrow::Cow;

use syscost_common::cell::PartOf;

use super::{Distribution, PartSums, Parts, Trust};
use crate::{reading::Reading, spread::Spread};

/// A row of a table: numbers about a set of calls.
pub trait TableRow {
    /// The name of the row: a syscall, a process, a cgroup.
    fn title(&self) -> Cow<'_, str>;

    /// The sums over its calls.
    fn sum(&self) -> Total;

    /// The distribution of their latencies; `None` where it is not collected.
    fn latency(&self) -> Option<&Distribution>;

    /// The distributions of the parts of their latencies; `None` where they are not collected.
    fn parts(&self) -> Option<&Parts>;
}

/// Sums under a label: a line that stands for several rows, or for a row without calls. Its rows'
/// percentiles and extremes do not add up to anything, so it has no distribution.
pub struct Sum<'a> {
    /// What stands in the column of names.
    pub label: &'a str,
    /// The sums.
    pub total: Total,
}

impl TableRow for Sum<'_> {
    fn title(&self) -> Cow<'_, str> {
        self.label.into()
    }

    fn sum(&self) -> Total {
        self.total
    }

    fn latency(&self) -> Option<&Distribution> {
        None
    }

    fn parts(&self) -> Option<&Parts> {
        None
    }
}

/// Sums over calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Finished calls.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Sum of their latencies, ns. Over several threads it can exceed the window.
    pub total_ns: u64,
    /// Sums of the parts of the latencies.
    pub parts: PartSums,
}

impl Total {
    /// The sums over `rows`.
    pub fn of<'a, R: TableRow + 'a>(rows: impl IntoIterator<Item = &'a R>) -> Self {
        rows.into_iter().map(TableRow::sum).fold(Self::default(), Self::plus)
    }

    /// The sum of both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            errors: self.errors + other.errors,
            total_ns: self.total_ns + other.total_ns,
            parts: self.parts.plus(other.parts),
        }
    }

    /// The difference to `before`; each number is at least 0.
    pub(super) fn less(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            errors: self.errors.saturating_sub(before.errors),
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            parts: self.parts.less(before.parts),
        }
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

/// What the numbers of a row are compared with: all rows of its table, the window, and how far to trust them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TableContext {
    /// The sums over all rows.
    pub total: Total,
    /// The length of the window, ns.
    pub window_ns: u64,
    /// How far the numbers can be trusted.
    pub trust: Trust,
    /// The boundary cost of a call, ns; `None` where the machine was not calibrated.
    pub crossing_ns: Option<Spread>,
}

impl TableContext {
    /// `count` per second of the window; 0 for an empty window.
    pub fn per_sec(&self, count: u64) -> f64 {
        if self.window_ns == 0 { 0.0 } else { count as f64 * 1e9 / self.window_ns as f64 }
    }

    /// `total_ns` in percent of the latencies of all rows; 0 where they took no time.
    pub fn time_pct(&self, total_ns: u64) -> f64 {
        share(total_ns, self.total.total_ns)
    }

    /// A sum over calls: a lower bound where something was lost, an estimate where calls were sampled.
    pub fn reading<T>(&self, value: T) -> Reading<T> {
        self.trust.reading(value)
    }

    /// A mean, a share or a percentile of calls. An estimate after a loss, for the calls that were not seen
    /// may raise or lower it, and where calls were sampled or guessed.
    pub fn figure<T>(&self, value: T) -> Reading<T> {
        if self.trust.all_counted() && !self.trust.guessed {
            Reading::Exact(value)
        } else {
            Reading::Estimated(value)
        }
    }

    /// One part of the latencies in `sum`, ns.
    pub fn part(&self, of: PartOf, sum: Total) -> Reading<u64> {
        self.trust.part(of, sum.parts.calls, sum.calls, sum.parts.get(of))
    }

    /// One part in percent of the latencies of the calls whose parts are known.
    pub fn part_pct(&self, of: PartOf, sum: Total) -> Reading<f64> {
        let PartSums { on_cpu_ns, runq_ns, blocked_ns, .. } = sum.parts;
        self.part_figure(of, sum, share(sum.parts.get(of), on_cpu_ns + runq_ns + blocked_ns))
    }

    /// A mean, a share or a percentile of one part of the latencies that `sum` adds up. An estimate also where
    /// this part is not known for all calls.
    pub fn part_figure<T>(&self, of: PartOf, sum: Total, value: T) -> Reading<T> {
        match self.part(of, sum) {
            Reading::NotCollected => Reading::NotCollected,
            Reading::Exact(_) => Reading::Exact(value),
            Reading::Partial(_) | Reading::Estimated(_) => Reading::Estimated(value),
        }
    }

    /// The boundary cost of a call, where it is more than the spread of its measurements. A smaller one cannot
    /// be told from noise, and screens leave it out.
    pub fn telling_crossing_ns(&self) -> Option<Spread> {
        self.crossing_ns.filter(|crossing| crossing.exceeds_its_spread())
    }

    /// The boundary cost of `calls` calls, ns: their number times what a call takes that does nothing. An
    /// estimate beside the latencies, never subtracted from them.
    pub fn boundary_ns(&self, calls: u64) -> Reading<f64> {
        match self.crossing_ns {
            Some(crossing) => Reading::Estimated(calls as f64 * crossing.median),
            None => Reading::NotCollected,
        }
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 * 100.0 / all as f64 }
}
