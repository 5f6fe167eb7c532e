//! The JSON that `stat --json` prints: an object per line. Its schema is `docs/stat-json.md`. Everything that the
//! model has is in it, in base units.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use syscost_common::cell::PartOf;

use super::{Order, json_line, missing};
use crate::{
    decode::errno,
    group::GroupBy,
    model::{
        self, Distribution, GroupRow, Model, Row, SubjectKind, TableContext, TableRow, Window,
        column::{COLUMNS, Needs, Value},
        ledger::Reason,
    },
    reading::Reading,
    sample::{GroupKey, WhyEmpty},
    spread::Spread,
};

/// The schema's name and version; the version grows when a reader could be misled.
pub const SCHEMA: &str = "syscost.stat/1";

/// Writes `model` as one line of JSON, the rows as `order` has them.
pub fn write(out: impl Write, model: &Model, order: &Order) -> io::Result<()> {
    json_line::write(out, &Report::new(model, order))
}

/// The parts of a latency, by the name that begins their fields.
const PARTS: [(&str, PartOf); 3] =
    [("on_cpu", PartOf::OnCpu), ("runq", PartOf::Runq), ("blocked", PartOf::Blocked)];
const PART_SUMS: [Needs; 3] =
    [Needs::Part(PartOf::OnCpu), Needs::Part(PartOf::Runq), Needs::Part(PartOf::Blocked)];

// The fields are written in the order in which they stand here.

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    pid: Option<u32>,
    comm: Option<&'a str>,
    target: Target<'a>,
    window_ns: u64,
    exact: bool,
    sampled: bool,
    by: &'static str,
    groups: Option<Vec<Group<'a>>>,
    syscalls: Vec<Syscall<'a>>,
    ledger: &'a model::Ledger,
    losses: Vec<Reason>,
    window: &'static str,
    attached_ns: u64,
    threads: Option<u32>,
    target_exited: bool,
    syscalls_omitted: usize,
    groups_omitted: usize,
    groups_behind: Option<i64>,
    read_ns: u64,
    detail: &'static str,
    one_in: u32,
    cpu_ns: Option<u64>,
    cpu_exact: bool,
    parts_exact: bool,
    cpu_share_pct: Option<f64>,
    cpu_share_of: &'a str,
    io_uring: IoUring,
    other_tracers: Option<u32>,
    crossing_ns: Option<Spread>,
    probe: Probe,
    in_flight: Option<Vec<InFlight<'a>>>,
    why_empty: Option<WhyEmptyReport>,
}

/// Why there are no calls.
#[derive(Serialize)]
struct WhyEmptyReport {
    kind: &'static str,
    children: Option<usize>,
    text: String,
}

impl WhyEmptyReport {
    fn new(model: &Model) -> Option<Self> {
        if model.total.calls > 0 {
            return None;
        }
        let (kind, children) = match model.subject.why_empty? {
            WhyEmpty::NoProcess => ("no_process", None),
            WhyEmpty::OnlyChildren(children) => ("only_children", Some(children)),
            WhyEmpty::NoKinds => ("no_kinds", None),
        };
        Some(Self { kind, children, text: missing::calls(&model.subject)? })
    }
}

/// Operations that make no calls.
#[derive(Serialize)]
struct IoUring {
    used: bool,
    workers_cpu_ns: Option<u64>,
}

/// What measuring costs.
#[derive(Serialize)]
struct Probe {
    run_pct: Option<f64>,
    run_ns: Option<f64>,
    budget_pct: Option<f64>,
    hooks_alone: Option<bool>,
    target_tax_ns: Option<Spread>,
    bystander_tax_ns: Option<Spread>,
}

#[derive(Serialize)]
struct Target<'a> {
    kind: SubjectKind,
    name: &'a str,
    detail: &'a str,
    only: Option<&'a str>,
}

#[derive(Serialize)]
struct InFlight<'a> {
    tid: u32,
    pid: u32,
    comm: &'a str,
    name: &'a str,
    nr: u32,
    abi: &'static str,
    age_ns: Option<u64>,
    age_exact: bool,
    waiting: Option<bool>,
    interrupted: bool,
    args: Option<[String; 6]>,
    arguments: Option<String>,
}

#[derive(Serialize)]
struct Syscall<'a> {
    name: &'a str,
    nr: Option<u32>,
    abi: Option<&'static str>,
    #[serde(flatten)]
    sums: Columns<'a>,
    #[serde(flatten)]
    latencies: Columns<'a>,
    histogram: Vec<Bucket>,
    errnos: BTreeMap<String, u64>,
    #[serde(flatten)]
    parts: Parts<'a>,
    #[serde(flatten)]
    calibrated: Columns<'a>,
}

/// The JSON fields of the columns that need one of these measurements; null where it was not collected.
struct Columns<'a> {
    needs: &'a [Needs],
    context: TableContext,
    row: &'a dyn TableRow,
}

/// `on_cpu_ns`, `on_cpu_p50_ns` and so on of each part; null where nothing was collected.
struct Parts<'a> {
    context: TableContext,
    row: &'a Row,
}

#[derive(Serialize)]
struct Group<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    threads: u64,
    #[serde(flatten)]
    sums: Columns<'a>,
    parts_known: u64,
    #[serde(flatten)]
    parts: Columns<'a>,
    #[serde(flatten)]
    calibrated: Columns<'a>,
}

/// Which group it is.
#[derive(Default, Serialize)]
struct Identity<'a> {
    pid: Option<u32>,
    tid: Option<u32>,
    comm: Option<&'a str>,
    cgroup: Option<&'a str>,
    cgroup_id: Option<u64>,
    started_at_ns: Option<u64>,
    other: bool,
}

#[derive(Serialize)]
struct Bucket {
    lo_ns: u64,
    hi_ns: u64,
    count: u64,
}

impl<'a> Report<'a> {
    fn new(model: &'a Model, order: &Order) -> Self {
        // `-n` is about groups where there are any.
        let all = Order { top: None, ..*order };
        let (groups, other_groups) = match &model.groups {
            Some(groups) => {
                let context = model.group_context();
                let (rows, rest) = order.split(&groups.rows, &context);
                let rows = rows.into_iter().map(|row| Group::new(row, &context));
                (Some(rows.collect()), rest.len())
            }
            None => (None, 0),
        };
        let order = if groups.is_some() { &all } else { order };
        let context = model.context();
        let (rows, rest) = order.split(&model.rows, &context);
        let subject = &model.subject;
        Self {
            schema: SCHEMA,
            pid: subject.pid,
            // A subject with a PID has the name of its process.
            comm: subject.pid.map(|_| subject.name.as_str()),
            target: Target {
                kind: subject.kind,
                name: &subject.name,
                detail: &subject.detail,
                only: subject.only.as_deref(),
            },
            window_ns: model.window_ns,
            exact: model.trust.all_counted(),
            sampled: model.trust.sampled,
            by: model.groups.as_ref().map_or(GroupBy::Syscall, |groups| groups.by).id(),
            groups,
            syscalls: rows.into_iter().map(|row| Syscall::new(row, &context)).collect(),
            ledger: &model.ledger,
            losses: model.ledger.reasons(),
            window: match model.window {
                Window::SinceAttach => "since_attach",
                Window::Interval => "interval",
            },
            attached_ns: model.attached_ns,
            threads: subject.threads.value(),
            target_exited: subject.exited,
            syscalls_omitted: rest.len(),
            groups_omitted: other_groups,
            groups_behind: model.groups.as_ref().map(|groups| groups.behind),
            read_ns: model.read_ns,
            detail: model.detail.id(),
            one_in: model.detail.one_in(),
            cpu_ns: model.cpu_ns.value(),
            parts_exact: model.trust.all_parted(),
            cpu_exact: matches!(model.cpu_ns, Reading::Exact(_)),
            cpu_share_pct: model.cpu_share_pct().value(),
            cpu_share_of: subject.only.as_deref().unwrap_or("all calls"),
            io_uring: IoUring {
                used: model.uses_io_uring,
                workers_cpu_ns: model.io_workers_ns.value(),
            },
            other_tracers: model.other_tracers,
            crossing_ns: context.crossing_ns,
            probe: Probe {
                run_pct: model.cost.map(|cost| cost.run_pct),
                run_ns: model.cost.and_then(|cost| cost.run_ns),
                budget_pct: model.cost.and_then(|cost| cost.budget_pct),
                hooks_alone: model
                    .cost
                    .filter(|cost| cost.budget_pct.is_some())
                    .map(model::budget::cannot_be_kept),
                target_tax_ns: model.calibrated.and_then(|known| known.target_tax_ns),
                bystander_tax_ns: model.calibrated.and_then(|known| known.bystander_tax_ns),
            },
            in_flight: model
                .in_flight
                .as_ref()
                .map(|calls| calls.iter().map(InFlight::new).collect()),
            why_empty: WhyEmptyReport::new(model),
        }
    }
}

impl<'a> Syscall<'a> {
    fn new(row: &'a Row, context: &TableContext) -> Self {
        let columns = |needs| Columns { needs, context: *context, row };
        Self {
            name: &row.name,
            nr: row.nr,
            abi: row.abi.map(|abi| abi.name()),
            sums: columns(&[Needs::Nothing]),
            latencies: columns(&[Needs::Histogram]),
            histogram: buckets(&row.latency),
            errnos: row
                .errnos
                .iter()
                .map(|&(errno, count)| (errno::symbol(errno).into_owned(), count))
                .collect(),
            parts: Parts { context: *context, row },
            calibrated: columns(&[Needs::Calibration]),
        }
    }
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.serialize_into(&mut map)?;
        map.end()
    }
}

impl Columns<'_> {
    fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for column in COLUMNS.iter().filter(|column| self.needs.contains(&column.needs)) {
            let Some(field) = column.json else { continue };
            match (column.get)(&self.context, self.row) {
                // Names have fields of their own.
                Value::Text(_) => {}
                Value::Count(n) | Value::Ns(n) => map.serialize_entry(field, &n.value())?,
                Value::PerSec(n) | Value::Pct(n) | Value::NsPerSec(n) | Value::CpuPerSec(n) => {
                    map.serialize_entry(field, &n.value())?;
                }
            }
        }
        Ok(())
    }
}

fn buckets(distribution: &Distribution) -> Vec<Bucket> {
    let bucket = |bucket: model::distribution::Bucket| Bucket {
        lo_ns: bucket.low_ns,
        hi_ns: bucket.high_ns,
        count: bucket.count,
    };
    distribution.buckets().map(bucket).collect()
}

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const QUANTILES: [(&str, f64); 4] =
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];
        let mut map = serializer.serialize_map(None)?;
        let total = self.row.sum();
        map.serialize_entry("parts_known", &total.parts.calls)?;
        for (name, of) in PARTS {
            let sum = self.context.part(of, total).value();
            let parts = self.row.parts.as_ref();
            let part = parts.filter(|_| sum.is_some()).map(|parts| parts.get(of));
            Columns { needs: &[Needs::Part(of)], context: self.context, row: self.row }
                .serialize_into(&mut map)?;
            for (label, quantile) in QUANTILES {
                let ns = part.and_then(|_| self.row.part_quantile_ns(of, quantile));
                map.serialize_entry(&format!("{name}_{label}_ns"), &ns)?;
            }
            map.serialize_entry(&format!("{name}_histogram"), &part.map(buckets))?;
        }
        map.end()
    }
}

impl<'a> Group<'a> {
    fn new(row: &'a GroupRow, context: &TableContext) -> Self {
        let columns = |needs| Columns { needs, context: *context, row };
        Self {
            identity: Identity::new(row),
            threads: row.threads,
            sums: columns(&[Needs::Nothing]),
            parts_known: row.sum.parts.calls,
            parts: columns(&PART_SUMS),
            calibrated: columns(&[Needs::Calibration]),
        }
    }
}

impl<'a> Identity<'a> {
    fn new(row: &'a GroupRow) -> Self {
        let name = row.name.as_deref();
        match &row.key {
            GroupKey::Process { pid, started_at_ns } => Self {
                pid: Some(*pid),
                comm: name,
                started_at_ns: Some(*started_at_ns),
                ..Self::default()
            },
            GroupKey::Thread { tid, started_at_ns } => Self {
                tid: Some(*tid),
                comm: name,
                started_at_ns: Some(*started_at_ns),
                ..Self::default()
            },
            GroupKey::Cgroup { id } => {
                Self { cgroup: name, cgroup_id: Some(*id), ..Self::default() }
            }
            GroupKey::Comm(name) => Self { comm: Some(name), ..Self::default() },
            GroupKey::Other => Self { other: true, ..Self::default() },
        }
    }
}

impl<'a> InFlight<'a> {
    fn new(call: &'a model::InFlight) -> Self {
        Self {
            tid: call.thread.tid,
            pid: call.thread.pid,
            comm: &call.thread.comm,
            name: &call.name,
            nr: call.nr,
            abi: call.abi.name(),
            age_ns: call.age_ns.value(),
            age_exact: matches!(call.age_ns, Reading::Exact(_)),
            waiting: call.waiting,
            interrupted: call.interrupted,
            // As text: many readers have no 64-bit integers.
            args: call.args.map(|args| args.map(|arg| format!("{arg:#x}"))),
            arguments: call.arguments().map(|arguments| arguments.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
