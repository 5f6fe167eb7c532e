//! The declarations of all columns.

use syscost_common::cell::PartOf;

use super::{
    Column, Key, Measure, Needs, Pair,
    Priority::{Always, Droppable, Extra, Sorted},
    Value,
};
use crate::{
    model::{Distribution, TableContext, TableRow, Window},
    reading::Reading,
};

/// A sum since attaching, which no table shows. Declarations say what they have beyond it.
const SUM: Column = Column {
    key: Key::Name,
    id: "",
    field: "",
    json: None,
    title: "",
    help: "",
    measure: Measure::Sum,
    needs: Needs::Nothing,
    descending: true,
    instead: None,
    pair: None,
    stat: Sorted,
    syscalls: Sorted,
    processes: Sorted,
    get: |_, _| Value::Count(Reading::NotCollected),
};

/// A percentile of latency.
const PERCENTILE: Column = Column { measure: Measure::Figure, needs: Needs::Histogram, ..SUM };

/// Every column, in the order in which tables show them.
pub static COLUMNS: &[Column] = &[
    Column {
        key: Key::Name,
        id: "name",
        field: "syscall",
        json: Some("name"),
        title: "SYSCALL",
        help: "name; with the ABI where it is not the usual one",
        measure: Measure::Name,
        descending: false,
        stat: Always,
        syscalls: Always,
        processes: Always,
        get: |_, row| Value::Text(row.title().into_owned()),
        ..SUM
    },
    Column {
        key: Key::Calls,
        id: "calls",
        field: "calls",
        json: Some("count"),
        title: "CALLS",
        help: "finished calls",
        pair: Some(Pair { window: Window::SinceAttach, other: Key::CallsPerSec }),
        stat: Always,
        get: |context, row| Value::Count(context.reading(row.sum().calls)),
        ..SUM
    },
    Column {
        key: Key::CallsPerSec,
        id: "rate",
        field: "calls_per_sec",
        title: "CALLS/s",
        help: "finished calls per second",
        pair: Some(Pair { window: Window::Interval, other: Key::Calls }),
        syscalls: Droppable(5),
        processes: Droppable(4),
        get: |context, row| Value::PerSec(context.reading(context.per_sec(row.sum().calls))),
        ..SUM
    },
    Column {
        key: Key::Errors,
        id: "errors",
        field: "errors",
        json: Some("errors"),
        title: "ERRORS",
        help: "calls that returned an error",
        pair: Some(Pair { window: Window::SinceAttach, other: Key::ErrorsPerSec }),
        stat: Droppable(7),
        get: |context, row| Value::Count(context.reading(row.sum().errors)),
        ..SUM
    },
    Column {
        key: Key::ErrorsPerSec,
        id: "error-rate",
        field: "errors_per_sec",
        title: "ERRORS/s",
        help: "calls that returned an error, per second",
        pair: Some(Pair { window: Window::Interval, other: Key::Errors }),
        syscalls: Extra(9),
        processes: Droppable(2),
        get: |context, row| Value::PerSec(context.reading(context.per_sec(row.sum().errors))),
        ..SUM
    },
    Column {
        key: Key::ErrorPct,
        id: "error-pct",
        field: "error_pct",
        title: "ERR%",
        help: "calls that returned an error, percent",
        measure: Measure::Figure,
        syscalls: Droppable(2),
        processes: Extra(4),
        get: |context, row| Value::Pct(context.figure(row.sum().error_pct())),
        ..SUM
    },
    Column {
        key: Key::OnCpu,
        id: "cpu",
        field: "on_cpu_ns",
        json: Some("on_cpu_ns"),
        title: "CPU",
        help: "time on a CPU inside the calls, over all threads: work",
        needs: Needs::Part(PartOf::OnCpu),
        instead: Some(Key::Time),
        pair: Some(Pair { window: Window::SinceAttach, other: Key::OnCpuPerSec }),
        stat: Always,
        get: |context, row| Value::Ns(context.part(PartOf::OnCpu, row.sum())),
        ..SUM
    },
    Column {
        key: Key::OnCpuPerSec,
        id: "cpu-rate",
        field: "on_cpu_ns_per_sec",
        title: "CPU ms/s",
        help: "time on a CPU inside the calls, ms per second, over all threads: work",
        needs: Needs::Part(PartOf::OnCpu),
        instead: Some(Key::TimePerSec),
        pair: Some(Pair { window: Window::Interval, other: Key::OnCpu }),
        syscalls: Droppable(7),
        processes: Droppable(6),
        get: |context, row| {
            let ns = context.part(PartOf::OnCpu, row.sum());
            Value::CpuPerSec(ns.map(|ns| context.per_sec(ns)))
        },
        ..SUM
    },
    Column {
        key: Key::Runq,
        id: "runq",
        field: "runq_ns",
        json: Some("runq_ns"),
        title: "RUNQ",
        help: "time inside the calls able to run, but waiting for a CPU that was busy with others",
        needs: Needs::Part(PartOf::Runq),
        get: |context, row| Value::Ns(context.part(PartOf::Runq, row.sum())),
        ..SUM
    },
    Column {
        key: Key::RunqPct,
        id: "runq-pct",
        field: "runq_pct",
        title: "RUNQ%",
        help: "time waiting for a CPU, percent of the latencies",
        measure: Measure::Figure,
        needs: Needs::Part(PartOf::Runq),
        stat: Droppable(3),
        syscalls: Extra(2),
        processes: Extra(1),
        get: |context, row| Value::Pct(context.part_pct(PartOf::Runq, row.sum())),
        ..SUM
    },
    Column {
        key: Key::Blocked,
        id: "blocked",
        field: "blocked_ns",
        json: Some("blocked_ns"),
        title: "BLOCKED",
        help: "time inside the calls waiting for anything else: data, a lock, a timer, a disk",
        needs: Needs::Part(PartOf::Blocked),
        get: |context, row| Value::Ns(context.part(PartOf::Blocked, row.sum())),
        ..SUM
    },
    Column {
        key: Key::BlockedPct,
        id: "blocked-pct",
        field: "blocked_pct",
        title: "BLOCKED%",
        help: "time waiting for anything but a CPU, percent of the latencies",
        measure: Measure::Figure,
        needs: Needs::Part(PartOf::Blocked),
        stat: Always,
        syscalls: Droppable(6),
        processes: Droppable(5),
        get: |context, row| Value::Pct(context.part_pct(PartOf::Blocked, row.sum())),
        ..SUM
    },
    Column {
        key: Key::Time,
        id: "time",
        field: "total_ns",
        json: Some("total_ns"),
        title: "TIME",
        help: "sum of latencies over all threads: work and waiting alike",
        pair: Some(Pair { window: Window::SinceAttach, other: Key::TimePerSec }),
        stat: Always,
        get: |context, row| Value::Ns(context.reading(row.sum().total_ns)),
        ..SUM
    },
    Column {
        key: Key::TimePct,
        id: "time-pct",
        field: "time_pct",
        title: "TIME%",
        help: "sum of latencies, percent of that of all rows",
        measure: Measure::Figure,
        syscalls: Extra(7),
        processes: Extra(2),
        get: |context, row| Value::Pct(context.figure(context.time_pct(row.sum().total_ns))),
        ..SUM
    },
    Column {
        key: Key::TimePerSec,
        id: "time-rate",
        field: "total_ns_per_sec",
        title: "TIME/s",
        help: "sum of latencies per second, over all threads: work and waiting alike",
        pair: Some(Pair { window: Window::Interval, other: Key::Time }),
        syscalls: Extra(1),
        processes: Droppable(3),
        get: |context, row| Value::NsPerSec(context.reading(context.per_sec(row.sum().total_ns))),
        ..SUM
    },
    Column {
        key: Key::Boundary,
        id: "boundary",
        field: "boundary_ns",
        json: Some("boundary_ns"),
        title: "BOUNDARY",
        help: "calls x what crossing into the kernel and back costs here (syscost calibrate)",
        needs: Needs::Calibration,
        pair: Some(Pair { window: Window::SinceAttach, other: Key::BoundaryPerSec }),
        stat: Droppable(4),
        get: |context, row| {
            Value::Ns(context.boundary_ns(row.sum().calls).map(|ns| ns.round() as u64))
        },
        ..SUM
    },
    Column {
        key: Key::BoundaryPerSec,
        id: "boundary-rate",
        field: "boundary_ns_per_sec",
        title: "BOUND/s",
        help: "calls per second x what crossing into the kernel and back costs here",
        needs: Needs::Calibration,
        pair: Some(Pair { window: Window::Interval, other: Key::Boundary }),
        syscalls: Extra(4),
        processes: Extra(3),
        get: |context, row| {
            let ns = context.boundary_ns(row.sum().calls);
            Value::NsPerSec(ns.map(|ns| context.per_sec(ns.round() as u64)))
        },
        ..SUM
    },
    Column {
        key: Key::Mean,
        id: "mean",
        field: "mean_ns",
        title: "MEAN",
        help: "mean latency",
        measure: Measure::Figure,
        stat: Droppable(5),
        syscalls: Extra(5),
        processes: Droppable(1),
        get: |context, row| Value::Ns(context.figure(row.sum().mean_ns())),
        ..SUM
    },
    Column {
        key: Key::Min,
        id: "min",
        field: "min_ns",
        json: Some("min_ns"),
        title: "MIN",
        help: "shortest latency",
        measure: Measure::Figure,
        needs: Needs::Histogram,
        syscalls: Extra(8),
        get: |context, row| Value::Ns(latency(row, |latency| context.figure(latency.min_ns()))),
        ..SUM
    },
    Column {
        key: Key::P50,
        id: "p50",
        field: "p50_ns",
        json: Some("p50_ns"),
        title: "P50",
        help: "half of the calls took at most this",
        stat: Droppable(6),
        syscalls: Droppable(3),
        get: |context, row| quantile(context, row, 0.5),
        ..PERCENTILE
    },
    Column {
        key: Key::P90,
        id: "p90",
        field: "p90_ns",
        json: Some("p90_ns"),
        title: "P90",
        help: "90 % of the calls took at most this",
        stat: Droppable(1),
        syscalls: Extra(3),
        get: |context, row| quantile(context, row, 0.9),
        ..PERCENTILE
    },
    Column {
        key: Key::P99,
        id: "p99",
        field: "p99_ns",
        json: Some("p99_ns"),
        title: "P99",
        help: "99 % of the calls took at most this",
        stat: Always,
        syscalls: Droppable(4),
        get: |context, row| quantile(context, row, 0.99),
        ..PERCENTILE
    },
    Column {
        key: Key::P999,
        id: "p999",
        field: "p999_ns",
        json: Some("p999_ns"),
        title: "P99.9",
        help: "99.9 % of the calls took at most this",
        stat: Droppable(2),
        syscalls: Extra(6),
        get: |context, row| quantile(context, row, 0.999),
        ..PERCENTILE
    },
    Column {
        key: Key::Max,
        id: "max",
        field: "max_ns",
        json: Some("max_ns"),
        title: "MAX",
        help: "longest latency",
        measure: Measure::Maximum,
        needs: Needs::Histogram,
        stat: Always,
        syscalls: Droppable(1),
        // A call that was not seen may have been longer.
        get: |context, row| Value::Ns(latency(row, |latency| context.reading(latency.max_ns()))),
        ..SUM
    },
];

fn quantile(context: &TableContext, row: &dyn TableRow, quantile: f64) -> Value {
    Value::Ns(latency(row, |latency| {
        latency.quantile_ns(quantile).map_or(Reading::NotCollected, |ns| context.figure(ns))
    }))
}

fn latency(row: &dyn TableRow, get: impl FnOnce(&Distribution) -> Reading<u64>) -> Reading<u64> {
    row.latency().map_or(Reading::NotCollected, get)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::Priority, *};

    #[test]
    fn every_column_is_declared_whole_and_only_once() {
        let mut seen = HashSet::new();
        for column in COLUMNS {
            for name in [column.id, column.field, column.title, column.help] {
                assert!(!name.is_empty(), "{:?}", column.key);
            }
            assert!(seen.insert(column.id) && seen.insert(column.title), "{}", column.id);
            assert_eq!(COLUMNS.iter().filter(|other| other.key == column.key).count(), 1);
            assert_eq!(column.key, Key::from_id(column.id).unwrap());
        }
    }

    #[test]
    fn ranks_of_a_table_are_1_2_3() {
        let tables: [fn(&Column) -> Priority; 3] =
            [|column| column.stat, |column| column.syscalls, |column| column.processes];
        for (table, priority) in tables.into_iter().enumerate() {
            let (mut dropped, mut added) = (Vec::new(), Vec::new());
            for column in COLUMNS {
                match priority(column) {
                    Droppable(rank) => dropped.push(rank),
                    Extra(rank) => added.push(rank),
                    Always | Sorted => {}
                }
            }
            for mut ranks in [dropped, added] {
                ranks.sort_unstable();
                assert!(ranks.iter().copied().eq(1..=ranks.len() as u8), "{table}: {ranks:?}");
            }
        }
    }

    #[test]
    fn a_pair_is_declared_on_both_sides_and_has_one_priority() {
        for column in COLUMNS {
            let Some(Pair { window, other }) = column.pair else { continue };
            let other = other.column();
            let back = other.pair.expect("the other side has it too");
            assert_eq!(back.other, column.key);
            assert_ne!(back.window, window);
            assert_eq!((column.measure, column.needs), (other.measure, other.needs));
            for table in [|column: &Column| column.syscalls, |column: &Column| column.processes] {
                assert!([table(column), table(other)].contains(&Sorted), "{}", column.id);
            }
        }
    }

    #[test]
    fn the_docs_have_the_names_of_every_column() {
        let docs = include_str!("../../../../docs/stat-json.md");
        let head = "| heading | `--sort` | CSV | JSON |\n|---|---|---|---|\n";
        let rows = COLUMNS.iter().map(|column| {
            let Column { title, id, field, json, .. } = column;
            let json = json.map_or("–".to_owned(), |json| format!("`{json}`"));
            format!("| {title} | `{id}` | `{field}` | {json} |\n")
        });
        let table = head.to_owned() + &rows.collect::<String>();
        assert!(docs.contains(&format!("\n{table}\n")), "docs/stat-json.md needs this:\n{table}");
    }
}
