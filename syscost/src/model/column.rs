//! The columns of the table, each declared once: they drive the screen, `stat`, CSV and sorting.

use std::cmp::Ordering;

use syscost_common::cell::PartOf;

use super::{Basis, Counted, Distribution, Known, Trust};
use crate::reading::Reading;

/// Which column; also what a table can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// What the row stands for: a syscall, or a group of another kind.
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
    /// Sum of latencies, percent of that of all rows.
    TimePct,
    /// Sum of latencies per second of the window.
    TimePerSec,
    /// Sum of time on a CPU.
    OnCpu,
    /// Sum of time on a CPU per second of the window.
    OnCpuPerSec,
    /// Time waiting for a CPU, percent of latency.
    RunqPct,
    /// Time blocked, percent of latency.
    BlockedPct,
    /// Sum of time waiting for a CPU.
    Runq,
    /// Sum of time blocked.
    Blocked,
    /// What crossing into the kernel costs by itself.
    Boundary,
    /// The same per second of the window.
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

/// What a cell of the table holds, with its unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A name.
    Text(String),
    /// A number of things.
    Count(Reading<u64>),
    /// Things per second.
    PerSec(Reading<f64>),
    /// A share, 0 to 100.
    Pct(Reading<f64>),
    /// A stretch of time, ns.
    Ns(Reading<u64>),
    /// Time per second of wall time, ns/s.
    NsPerSec(Reading<f64>),
    /// CPU time per second of wall time, ns/s; people read it in ms/s.
    CpuPerSec(Reading<f64>),
}

/// A column of the table.
pub struct Column {
    /// Which one it is.
    pub key: Key,
    /// Its name in `--sort`.
    pub id: &'static str,
    /// Its name for machines, with the unit: the header in CSV.
    pub field: &'static str,
    /// Its heading on screens.
    pub title: &'static str,
    /// What it means, in a line for help.
    pub help: &'static str,
    /// The value of a row.
    pub get: fn(&Basis, &dyn Counted) -> Value,
    /// Whether the largest comes first when sorted by it.
    pub descending: bool,
}

/// Every column, in the order in which tables show them.
pub static COLUMNS: &[Column] = &[
    Column {
        key: Key::Name,
        id: "name",
        field: "syscall",
        title: "SYSCALL",
        help: "name; with the ABI where it is not the usual one",
        get: |_, row| Value::Text(row.title().into_owned()),
        descending: false,
    },
    Column {
        key: Key::Calls,
        id: "calls",
        field: "calls",
        title: "CALLS",
        help: "finished calls",
        get: |basis, row| Value::Count(basis.reading(row.sum().calls)),
        descending: true,
    },
    Column {
        key: Key::CallsPerSec,
        id: "rate",
        field: "calls_per_sec",
        title: "CALLS/s",
        help: "finished calls per second",
        get: |basis, row| Value::PerSec(basis.reading(basis.per_sec(row.sum().calls))),
        descending: true,
    },
    Column {
        key: Key::Errors,
        id: "errors",
        field: "errors",
        title: "ERRORS",
        help: "calls that returned an error",
        get: |basis, row| Value::Count(basis.reading(row.sum().errors)),
        descending: true,
    },
    Column {
        key: Key::ErrorsPerSec,
        id: "error-rate",
        field: "errors_per_sec",
        title: "ERRORS/s",
        help: "calls that returned an error, per second",
        get: |basis, row| Value::PerSec(basis.reading(basis.per_sec(row.sum().errors))),
        descending: true,
    },
    Column {
        key: Key::ErrorPct,
        id: "error-pct",
        field: "error_pct",
        title: "ERR%",
        help: "calls that returned an error, percent",
        get: |basis, row| Value::Pct(basis.figure(row.sum().error_pct())),
        descending: true,
    },
    Column {
        key: Key::OnCpu,
        id: "cpu",
        field: "on_cpu_ns",
        title: "CPU",
        help: "time on a CPU inside the calls, over all threads: work",
        get: |basis, row| Value::Ns(basis.part(PartOf::OnCpu, row.sum())),
        descending: true,
    },
    Column {
        key: Key::OnCpuPerSec,
        id: "cpu-rate",
        field: "on_cpu_ns_per_sec",
        title: "CPU ms/s",
        help: "time on a CPU inside the calls, ms per second, over all threads: work",
        get: |basis, row| {
            let ns = basis.part(PartOf::OnCpu, row.sum());
            Value::CpuPerSec(ns.map(|ns| basis.per_sec(ns)))
        },
        descending: true,
    },
    Column {
        key: Key::Runq,
        id: "runq",
        field: "runq_ns",
        title: "RUNQ",
        help: "time inside the calls able to run, but waiting for a CPU that was busy with others",
        get: |basis, row| Value::Ns(basis.part(PartOf::Runq, row.sum())),
        descending: true,
    },
    Column {
        key: Key::RunqPct,
        id: "runq-pct",
        field: "runq_pct",
        title: "RUNQ%",
        help: "time waiting for a CPU, percent of the latencies",
        get: |basis, row| Value::Pct(basis.part_pct(PartOf::Runq, row.sum())),
        descending: true,
    },
    Column {
        key: Key::Blocked,
        id: "blocked",
        field: "blocked_ns",
        title: "BLOCKED",
        help: "time inside the calls waiting for anything else: data, a lock, a timer, a disk",
        get: |basis, row| Value::Ns(basis.part(PartOf::Blocked, row.sum())),
        descending: true,
    },
    Column {
        key: Key::BlockedPct,
        id: "blocked-pct",
        field: "blocked_pct",
        title: "BLOCKED%",
        help: "time waiting for anything but a CPU, percent of the latencies",
        get: |basis, row| Value::Pct(basis.part_pct(PartOf::Blocked, row.sum())),
        descending: true,
    },
    Column {
        key: Key::Time,
        id: "time",
        field: "total_ns",
        title: "TIME",
        help: "sum of latencies over all threads: work and waiting alike",
        get: |basis, row| Value::Ns(basis.reading(row.sum().total_ns)),
        descending: true,
    },
    Column {
        key: Key::TimePct,
        id: "time-pct",
        field: "time_pct",
        title: "TIME%",
        help: "sum of latencies, percent of that of all rows",
        get: |basis, row| Value::Pct(basis.figure(basis.time_pct(row.sum().total_ns))),
        descending: true,
    },
    Column {
        key: Key::TimePerSec,
        id: "time-rate",
        field: "total_ns_per_sec",
        title: "TIME/s",
        help: "sum of latencies per second, over all threads: work and waiting alike",
        get: |basis, row| Value::NsPerSec(basis.reading(basis.per_sec(row.sum().total_ns))),
        descending: true,
    },
    Column {
        key: Key::Boundary,
        id: "boundary",
        field: "boundary_ns",
        title: "BOUNDARY",
        help: "calls x what crossing into the kernel and back costs here (syscost calibrate)",
        get: |basis, row| Value::Ns(basis.boundary_ns(row.sum().calls).map(|ns| ns.round() as u64)),
        descending: true,
    },
    Column {
        key: Key::BoundaryPerSec,
        id: "boundary-rate",
        field: "boundary_ns_per_sec",
        title: "BOUND/s",
        help: "calls per second x what crossing into the kernel and back costs here",
        get: |basis, row| {
            let calls = row.sum().calls;
            let ns = basis.boundary_ns(calls);
            Value::NsPerSec(ns.map(|ns| basis.per_sec(ns.round() as u64)))
        },
        descending: true,
    },
    Column {
        key: Key::Mean,
        id: "mean",
        field: "mean_ns",
        title: "MEAN",
        help: "mean latency",
        get: |basis, row| Value::Ns(basis.figure(row.sum().mean_ns())),
        descending: true,
    },
    Column {
        key: Key::Min,
        id: "min",
        field: "min_ns",
        title: "MIN",
        help: "shortest latency",
        get: |basis, row| Value::Ns(latency(row, |latency| basis.figure(latency.min_ns()))),
        descending: true,
    },
    quantile_column(
        Key::P50,
        "p50",
        "p50_ns",
        "P50",
        "half of the calls took at most this",
        |basis, row| quantile(basis, row, 0.5),
    ),
    quantile_column(
        Key::P90,
        "p90",
        "p90_ns",
        "P90",
        "90 % of the calls took at most this",
        |basis, row| quantile(basis, row, 0.9),
    ),
    quantile_column(
        Key::P99,
        "p99",
        "p99_ns",
        "P99",
        "99 % of the calls took at most this",
        |basis, row| quantile(basis, row, 0.99),
    ),
    quantile_column(
        Key::P999,
        "p999",
        "p999_ns",
        "P99.9",
        "99.9 % of the calls took at most this",
        |basis, row| quantile(basis, row, 0.999),
    ),
    Column {
        key: Key::Max,
        id: "max",
        field: "max_ns",
        title: "MAX",
        help: "longest latency",
        // What was not seen may have been longer.
        get: |basis, row| Value::Ns(latency(row, |latency| basis.reading(latency.max_ns()))),
        descending: true,
    },
];

const fn quantile_column(
    key: Key,
    id: &'static str,
    field: &'static str,
    title: &'static str,
    help: &'static str,
    get: fn(&Basis, &dyn Counted) -> Value,
) -> Column {
    Column { key, id, field, title, help, get, descending: true }
}

fn quantile(basis: &Basis, row: &dyn Counted, quantile: f64) -> Value {
    Value::Ns(latency(row, |latency| {
        latency.quantile_ns(quantile).map_or(Reading::NotCollected, |ns| basis.figure(ns))
    }))
}

fn latency(row: &dyn Counted, get: impl FnOnce(&Distribution) -> Reading<u64>) -> Reading<u64> {
    row.latency().map_or(Reading::NotCollected, get)
}

impl Key {
    /// The column's declaration.
    pub fn column(self) -> &'static Column {
        COLUMNS.iter().find(|column| column.key == self).expect("every key has a column")
    }

    /// Whether every table has it, also one whose rows have no histograms.
    pub fn needs_no_histogram(self) -> bool {
        match self {
            Self::Name
            | Self::Calls
            | Self::CallsPerSec
            | Self::Errors
            | Self::ErrorsPerSec
            | Self::ErrorPct
            | Self::Time
            | Self::TimePct
            | Self::TimePerSec
            | Self::OnCpu
            | Self::OnCpuPerSec
            | Self::Runq
            | Self::RunqPct
            | Self::Blocked
            | Self::BlockedPct
            | Self::Boundary
            | Self::BoundaryPerSec
            | Self::Mean => true,
            Self::Min | Self::P50 | Self::P90 | Self::P99 | Self::P999 | Self::Max => false,
        }
    }

    /// What to sort by where this is asked for: time on a CPU is the first question, and where it is
    /// not known the latency is the next best answer.
    pub fn or_next_best(self, trust: Trust) -> Self {
        match self {
            Self::OnCpu if trust.parts == Known::Nothing => Self::Time,
            Self::OnCpuPerSec if trust.parts == Known::Nothing => Self::TimePerSec,
            key => key,
        }
    }

    /// The column that `--sort` names: by the name it has there, in CSV or in JSON.
    pub fn from_id(id: &str) -> Option<Self> {
        // The only one that CSV and JSON call by different names.
        let id = if id == "count" { "calls" } else { id };
        let called = |column: &&Column| column.id == id || column.field == id;
        COLUMNS.iter().find(called).map(|column| column.key)
    }
}

/// `rows` sorted by `key`, or [what comes next](Key::or_next_best), in the column's own direction or
/// `reversed`. Ties are in order of name,
/// so that rows do not jump.
pub fn sorted<'a, R: Counted>(
    rows: &'a [R],
    basis: &Basis,
    key: Key,
    reversed: bool,
) -> Vec<&'a R> {
    let column = key.or_next_best(basis.trust).column();
    let mut rows: Vec<(Value, &R)> =
        rows.iter().map(|row| ((column.get)(basis, row), row)).collect();
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
