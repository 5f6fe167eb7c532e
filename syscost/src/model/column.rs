//! Columns of the tables of syscalls and of groups. Each is declared once, in `declared`: the entry
//! drives the live screen, the table of `stat`, CSV, JSON, `--sort`, help and the docs.

mod declared;

use std::cmp::Ordering;

use syscost_common::cell::PartOf;

use super::{Availability, Sum, TableContext, TableRow, Total, Trust, Window};
use crate::reading::Reading;
pub use declared::COLUMNS;

/// Identifies a column; also what a table can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// What the row stands for: a syscall or a group.
    Name,
    /// Finished calls.
    Calls,
    /// Finished calls per second.
    CallsPerSec,
    /// Failed calls.
    Errors,
    /// Failed calls per second.
    ErrorsPerSec,
    /// Failed calls, percent of all.
    ErrorPct,
    /// Sum of latencies.
    Time,
    /// Sum of latencies, percent of the sum over all rows.
    TimePct,
    /// Sum of latencies per second of the window.
    TimePerSec,
    /// Sum of time on a CPU.
    OnCpu,
    /// Sum of time on a CPU per second of the window.
    OnCpuPerSec,
    /// Time in the run queue, percent of latency.
    RunqPct,
    /// Time blocked, percent of latency.
    BlockedPct,
    /// Sum of time in the run queue.
    Runq,
    /// Sum of time blocked.
    Blocked,
    /// Boundary cost of the calls.
    Boundary,
    /// Boundary cost of the calls per second of the window.
    BoundaryPerSec,
    /// Mean latency.
    Mean,
    /// Shortest latency.
    Min,
    /// Median latency.
    P50,
    /// 90th percentile of latency.
    P90,
    /// 99th percentile of latency.
    P99,
    /// 99.9th percentile of latency.
    P999,
    /// Longest latency.
    Max,
}

/// A value of a table, with its unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A name.
    Text(String),
    /// A number of calls.
    Count(Reading<u64>),
    /// Calls per second.
    PerSec(Reading<f64>),
    /// A share, 0 to 100.
    Pct(Reading<f64>),
    /// A time, ns.
    Ns(Reading<u64>),
    /// Time per second of wall time, ns/s.
    NsPerSec(Reading<f64>),
    /// CPU time per second of wall time, ns/s; shown in ms/s.
    CpuPerSec(Reading<f64>),
}

/// How the numbers of a column are made. Decides their mark after a loss, the width that the mark
/// needs, and what a row without calls shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// No number, but the name of the row.
    Name,
    /// A sum over calls, or such a sum per second: a lower bound after a loss; 0 without a call.
    Sum,
    /// A mean, a share, a percentile or a minimum: an estimate after a loss; none without a call.
    Figure,
    /// The largest value: a lower bound after a loss; none without a call.
    Maximum,
}

/// What the values of a column are made from. Where it was not collected, they are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Sums that every row has.
    Nothing,
    /// A histogram of latencies: rows of groups and lines of totals have none.
    Histogram,
    /// One part of the latencies.
    Part(PartOf),
    /// The boundary cost of this machine, from `syscost calibrate`.
    Calibration,
}

/// When a table shows a column. Numbers are ranks within one table, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Always.
    Always,
    /// Unless the table is too narrow: rank 1 is left out first.
    Droppable(u8),
    /// Only where the table is wide: rank 1 is added first.
    Extra(u8),
    /// Only while rows are sorted by it.
    Sorted,
}

/// A column that shows the same thing as a sum, or per second: tables that show one window at a time
/// show one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The window that this column is for.
    pub window: Window,
    /// The column for the other window.
    pub other: Key,
}

/// The declaration of a column.
pub struct Column {
    /// Which column it is.
    pub key: Key,
    /// Its name in `--sort`.
    pub id: &'static str,
    /// Its name in CSV, with the unit.
    pub field: &'static str,
    /// Its name in the objects of JSON; `None` where JSON has other fields from which it follows.
    pub json: Option<&'static str>,
    /// Its heading.
    pub title: &'static str,
    /// What it means, in one line for the help screen.
    pub help: &'static str,
    /// How its numbers are made.
    pub measure: Measure,
    /// What its values are made from.
    pub needs: Needs,
    /// Whether the largest comes first when rows are sorted by it.
    pub descending: bool,
    /// The column to sort by where no value of this one is known.
    pub instead: Option<Key>,
    /// The same thing for the other window.
    pub pair: Option<Pair>,
    /// When the table of `stat` shows it.
    pub stat: Priority,
    /// When the live table of syscalls shows it. Of a [`Pair`], one column has the priority of both.
    pub syscalls: Priority,
    /// When the live table of processes shows it; likewise.
    pub processes: Priority,
    /// The value of a row.
    pub get: fn(&TableContext, &dyn TableRow) -> Value,
}

impl Column {
    /// Whether every table has it, including those of groups, which have no histograms.
    pub fn needs_no_histogram(&self) -> bool {
        self.needs != Needs::Histogram
    }

    /// The value of a row without a finished call in the window: sums are 0, and there are no other
    /// numbers.
    pub fn of_idle_row(&self, context: &TableContext) -> Value {
        match self.measure {
            Measure::Sum => (self.get)(context, &Sum { label: "", total: Total::default() }),
            Measure::Name | Measure::Figure | Measure::Maximum => Value::Ns(Reading::NotCollected),
        }
    }
}

impl Key {
    /// The declaration of this column.
    pub fn column(self) -> &'static Column {
        COLUMNS.iter().find(|column| column.key == self).expect("every key is declared")
    }

    /// The column to sort by where rows are to be sorted by this one: itself, or another one where
    /// none of its values is known.
    pub fn or_next_best(self, trust: Trust) -> Self {
        self.column().instead.filter(|_| trust.parts == Availability::None).unwrap_or(self)
    }

    /// The column that shows the same in `window`: as a rate in an interval, as a sum since attaching.
    pub fn in_window(self, window: Window) -> Self {
        self.column().pair.filter(|pair| pair.window != window).map_or(self, |pair| pair.other)
    }

    /// The column that `--sort` names, by its name there, in CSV or in JSON.
    pub fn from_id(id: &str) -> Option<Self> {
        let called =
            |column: &&Column| column.id == id || column.field == id || column.json == Some(id);
        // Its own names come first: JSON calls the name of a row `name`, as `--sort` does.
        COLUMNS.iter().find(called).map(|column| column.key)
    }
}

/// `rows` sorted by `key`, or by [another column](Key::or_next_best) where its values are not known; in
/// the column's own direction, or `reversed`. Equal rows are in order of name, so that they do not jump.
pub fn sorted<'a, R: TableRow>(
    rows: &'a [R],
    context: &TableContext,
    key: Key,
    reversed: bool,
) -> Vec<&'a R> {
    let column = key.or_next_best(context.trust).column();
    let mut rows: Vec<(Value, &R)> =
        rows.iter().map(|row| ((column.get)(context, row), row)).collect();
    rows.sort_by(|(a, row_a), (b, row_b)| {
        let order = compare(a, b);
        let order = if column.descending != reversed { order.reverse() } else { order };
        order.then_with(|| row_a.title().cmp(&row_b.title()))
    });
    rows.into_iter().map(|(_, row)| row).collect()
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => magnitude(a).total_cmp(&magnitude(b)),
    }
}

/// A number to sort by. What was not collected is less than anything.
fn magnitude(value: &Value) -> f64 {
    match value {
        Value::Text(_) => f64::NEG_INFINITY,
        Value::Count(n) | Value::Ns(n) => n.value().map_or(f64::NEG_INFINITY, |n| n as f64),
        Value::PerSec(n) | Value::NsPerSec(n) | Value::CpuPerSec(n) | Value::Pct(n) => {
            n.value().unwrap_or(f64::NEG_INFINITY)
        }
    }
}
