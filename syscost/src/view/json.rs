//! The JSON that `stat --json` prints: an object per line, for programs to read. Its schema is
//! `docs/stat-json.md`. Leaves nothing out for brevity and puts no unit but the base one.

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
        self, Basis, Counted, Distribution, GroupRow, Model, Row, Total, Window, ledger::Loss,
    },
    reading::Reading,
    sample::{GroupKey, SubjectKind, WhyEmpty},
    spread::Spread,
};

/// The schema's name and version; the version grows when a reader could be misled.
pub const SCHEMA: &str = "syscost.stat/1";

/// Writes `model` as one line of JSON, the rows as `order` has them.
pub fn write(out: impl Write, model: &Model, order: &Order) -> io::Result<()> {
    json_line::write(out, &Report::new(model, order))
}

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
    losses: Vec<LossReport>,
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
    why_empty: Option<Reason>,
}

/// Why there are no calls.
#[derive(Serialize)]
struct Reason {
    kind: &'static str,
    children: Option<usize>,
    text: String,
}

impl Reason {
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
    count: u64,
    errors: u64,
    total_ns: u64,
    min_ns: u64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: u64,
    histogram: Vec<Bucket>,
    errnos: BTreeMap<String, u64>,
    #[serde(flatten)]
    parts: Parts<'a>,
    boundary_ns: Option<u64>,
}

/// `on_cpu_ns`, `on_cpu_p50_ns` and so on of each part; null where nothing was collected.
struct Parts<'a> {
    basis: Basis,
    row: &'a Row,
}

#[derive(Default, Serialize)]
struct Group<'a> {
    pid: Option<u32>,
    tid: Option<u32>,
    comm: Option<&'a str>,
    cgroup: Option<&'a str>,
    cgroup_id: Option<u64>,
    started_at_ns: Option<u64>,
    other: bool,
    threads: u64,
    count: u64,
    errors: u64,
    total_ns: u64,
    parts_known: u64,
    on_cpu_ns: Option<u64>,
    runq_ns: Option<u64>,
    blocked_ns: Option<u64>,
    boundary_ns: Option<u64>,
}

#[derive(Serialize)]
struct Bucket {
    lo_ns: u64,
    hi_ns: u64,
    count: u64,
}

#[derive(Serialize)]
struct LossReport {
    kind: &'static str,
    count: Option<u64>,
    text: String,
}

impl<'a> Report<'a> {
    fn new(model: &'a Model, order: &Order) -> Self {
        // As many rows as were asked for, of what was asked for.
        let all = Order { top: None, ..*order };
        let (groups, other_groups) = match &model.groups {
            Some(groups) => {
                let basis = model.group_basis();
                let (rows, rest) = order.split(&groups.rows, &basis);
                let rows = rows.into_iter().map(|row| Group::new(row, &basis));
                (Some(rows.collect()), rest.len())
            }
            None => (None, 0),
        };
        let order = if groups.is_some() { &all } else { order };
        let basis = model.basis();
        let (rows, rest) = order.split(&model.rows, &basis);
        let subject = &model.subject;
        Self {
            schema: SCHEMA,
            pid: subject.pid,
            // What has a PID is called as its process is.
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
            syscalls: rows.into_iter().map(|row| Syscall::new(row, &basis)).collect(),
            ledger: &model.ledger,
            losses: model.ledger.losses().into_iter().map(LossReport::new).collect(),
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
            crossing_ns: basis.crossing_ns,
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
            why_empty: Reason::new(model),
        }
    }
}

impl<'a> Syscall<'a> {
    fn new(row: &'a Row, basis: &Basis) -> Self {
        let latency = &row.latency;
        Self {
            name: &row.name,
            nr: row.nr,
            abi: row.abi.map(|abi| abi.name()),
            count: row.calls,
            errors: row.errors,
            total_ns: row.total_ns,
            min_ns: latency.min_ns(),
            p50_ns: latency.quantile_ns(0.5),
            p90_ns: latency.quantile_ns(0.9),
            p99_ns: latency.quantile_ns(0.99),
            p999_ns: latency.quantile_ns(0.999),
            max_ns: latency.max_ns(),
            histogram: buckets(latency),
            errnos: row
                .errnos
                .iter()
                .map(|&(errno, count)| (errno::symbol(errno).into_owned(), count))
                .collect(),
            parts: Parts { basis: *basis, row },
            boundary_ns: boundary_ns(basis, row.calls),
        }
    }
}

fn boundary_ns(basis: &Basis, calls: u64) -> Option<u64> {
    Some(basis.boundary_ns(calls).value()?.round() as u64)
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
        const PARTS: [(&str, PartOf); 3] =
            [("on_cpu", PartOf::OnCpu), ("runq", PartOf::Runq), ("blocked", PartOf::Blocked)];
        const QUANTILES: [(&str, f64); 4] =
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];
        let mut map = serializer.serialize_map(None)?;
        let total = self.row.sum();
        map.serialize_entry("parts_known", &total.parts.calls)?;
        for (name, of) in PARTS {
            let sum = self.basis.part(of, total).value();
            let parts = self.row.parts.as_ref();
            let part = parts.filter(|_| sum.is_some()).map(|parts| parts.get(of));
            map.serialize_entry(&format!("{name}_ns"), &sum)?;
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
    fn new(row: &'a GroupRow, basis: &Basis) -> Self {
        let Total { calls: count, errors, total_ns, parts } = row.sum;
        let name = row.name.as_deref();
        let part = |of| basis.part(of, row.sum).value();
        let sums = Self {
            threads: row.threads,
            count,
            errors,
            total_ns,
            parts_known: parts.calls,
            on_cpu_ns: part(PartOf::OnCpu),
            runq_ns: part(PartOf::Runq),
            blocked_ns: part(PartOf::Blocked),
            boundary_ns: boundary_ns(basis, count),
            ..Self::default()
        };
        match &row.key {
            GroupKey::Process { pid, started_at_ns } => {
                Self { pid: Some(*pid), comm: name, started_at_ns: Some(*started_at_ns), ..sums }
            }
            GroupKey::Thread { tid, started_at_ns } => {
                Self { tid: Some(*tid), comm: name, started_at_ns: Some(*started_at_ns), ..sums }
            }
            GroupKey::Cgroup { id } => Self { cgroup: name, cgroup_id: Some(*id), ..sums },
            GroupKey::Comm(name) => Self { comm: Some(name), ..sums },
            GroupKey::Other => Self { other: true, ..sums },
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
            // As text: many a reader has no integers of 64 bits.
            args: call.args.map(|args| args.map(|arg| format!("{arg:#x}"))),
            arguments: call.arguments().map(|arguments| arguments.join(", ")),
        }
    }
}

impl LossReport {
    fn new(loss: Loss) -> Self {
        let (kind, count) = match loss {
            Loss::ProgramMisses(n) => ("program_misses", n),
            Loss::ProgramMissesUnknown => ("program_misses", 0),
            Loss::ExitsMissed(n) => ("exits_missed", n),
            Loss::Discarded(n) => ("discarded", n),
            Loss::OpenCallsFull(n) => ("open_calls_full", n),
            Loss::SlotsFull(n) => ("slots_full", n),
            Loss::Wrapped(n) => ("wrapped", n),
            Loss::RestartsGuessed(n) => ("restarts_guessed", n),
            Loss::Recording(n) => ("recording", n),
            Loss::TargetsFull(n) => ("targets_full", n),
        };
        let count = (loss != Loss::ProgramMissesUnknown).then_some(count);
        Self { kind, count, text: loss.describe() }
    }
}

#[cfg(test)]
mod tests;
