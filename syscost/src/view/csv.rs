//! The CSV that `stat --csv` prints: a line per row, for spreadsheets and data frames. Each line is complete in
//! itself, so that lines can be appended, sorted and joined. Histograms are in JSON only.

use std::io::{self, Write};

use super::Order;
use crate::{
    decode::printable::printable,
    group::GroupBy,
    model::{
        GroupRow, Model, Row, TableContext, TableRow,
        column::{COLUMNS, Column, Key, Value},
    },
    reading::Reading,
    sample::GroupKey,
};

/// Writes `model` as lines of CSV, the rows as `order` has them; the header line before them where
/// `header` asks for it, which is once per file.
pub fn write(mut out: impl Write, model: &Model, order: &Order, header: bool) -> io::Result<()> {
    // Rendered in memory: the writer of the csv crate hides why the sink has failed.
    let mut csv = csv::Writer::from_writer(Vec::new());
    if header {
        csv.write_record(fields(model))?;
    }
    match &model.groups {
        None => {
            let context = model.context();
            for row in order.split(&model.rows, &context).0 {
                csv.write_record(record(model, &context, syscall(row), row))?;
            }
        }
        Some(groups) => {
            let context = model.group_context();
            for row in order.split(&groups.rows, &context).0 {
                csv.write_record(record(model, &context, group(groups.by, row), row))?;
            }
        }
    }
    let bytes = csv.into_inner().map_err(|error| error.into_error())?;
    out.write_all(&bytes)
}

/// The names of the fields: the window, the row, every column, exactness.
fn fields(model: &Model) -> Vec<&'static str> {
    let by = by(model);
    let columns = measures(by).map(|column| column.field);
    ["at_ns", "window_ns"]
        .into_iter()
        .chain(identity(by).iter().copied())
        .chain(columns)
        .chain(["exact", "parts_exact", "losses"])
        .collect()
}

fn record(
    model: &Model,
    context: &TableContext,
    identity: Vec<String>,
    row: &dyn TableRow,
) -> Vec<String> {
    let when = [model.attached_ns.to_string(), model.window_ns.to_string()];
    let measures = measures(by(model)).map(|column| text((column.get)(context, row)));
    when.into_iter()
        .chain(identity)
        .chain(measures)
        .chain(
            [context.trust.all_counted(), context.trust.all_parted()]
                .map(|exact| exact.to_string()),
        )
        .chain([losses(model)])
        .collect()
}

/// The names of what makes numbers inexact, with blanks in between.
fn losses(model: &Model) -> String {
    let kinds: Vec<_> = model.ledger.reasons().into_iter().map(|reason| reason.kind).collect();
    kinds.join(" ")
}

fn by(model: &Model) -> GroupBy {
    model.groups.as_ref().map_or(GroupBy::Syscall, |groups| groups.by)
}

/// The fields that say what a line is about.
fn identity(by: GroupBy) -> &'static [&'static str] {
    match by {
        GroupBy::Syscall => &["syscall", "abi", "nr"],
        GroupBy::Process => &["threads", "pid", "comm"],
        GroupBy::Thread => &["threads", "tid", "comm"],
        GroupBy::Cgroup => &["threads", "cgroup_id", "cgroup"],
        GroupBy::Comm => &["threads", "comm"],
    }
}

fn syscall(row: &Row) -> Vec<String> {
    vec![
        name(&row.name),
        row.abi.map_or_else(String::new, |abi| abi.to_string()),
        row.nr.map_or_else(String::new, |nr| nr.to_string()),
    ]
}

fn group(by: GroupBy, row: &GroupRow) -> Vec<String> {
    let title = row.name.as_deref().map(name).unwrap_or_default();
    let mut cells = vec![row.threads.to_string()];
    match &row.key {
        GroupKey::Process { pid: id, .. } | GroupKey::Thread { tid: id, .. } => {
            cells.extend([id.to_string(), title]);
        }
        GroupKey::Cgroup { id } => cells.extend([id.to_string(), title]),
        GroupKey::Comm(comm) => cells.push(name(comm)),
        // In the last field, which is a name in all of them.
        GroupKey::Other => {
            cells.resize(identity(by).len() - 1, String::new());
            cells.push("(other)".to_owned());
        }
    }
    cells
}

/// A name as a cell: without control characters, and no formula. Spreadsheets take a cell that begins with one of
/// these characters for a formula, even in quotes. They do not show an apostrophe before it.
fn name(text: &str) -> String {
    let text = printable(text);
    if text.starts_with(['=', '+', '-', '@', '\'']) {
        format!("'{text}")
    } else {
        text.into_owned()
    }
}

/// The columns with numbers. The name stands with the other fields that identify a row.
fn measures(by: GroupBy) -> impl Iterator<Item = &'static Column> {
    COLUMNS
        .iter()
        .filter(|column| column.key != Key::Name)
        .filter(move |column| by == GroupBy::Syscall || column.needs_no_histogram())
}

/// Plain numbers in base units; whether they are exact is a column of its own.
fn text(value: Value) -> String {
    fn known<T>(reading: Reading<T>, text: impl FnOnce(T) -> String) -> String {
        reading.value().map_or_else(String::new, text)
    }
    match value {
        Value::Text(text) => name(&text),
        Value::Count(n) | Value::Ns(n) => known(n, |n| n.to_string()),
        Value::PerSec(rate) => known(rate, |rate| format!("{rate:.3}")),
        Value::NsPerSec(rate) | Value::CpuPerSec(rate) => known(rate, |rate| format!("{rate:.0}")),
        Value::Pct(pct) => known(pct, |pct| format!("{pct:.3}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sample::Sample, view::fixture};

    fn lines(model: &Model, header: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, model, &Order::default(), header).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn since_attach(sample: &Sample) -> String {
        lines(&fixture::since_attach(sample), true)
    }

    #[test]
    fn exact_csv() {
        insta::assert_snapshot!(since_attach(&fixture::nginx()));
    }

    #[test]
    fn inexact_csv() {
        insta::assert_snapshot!(since_attach(&fixture::lossy_nginx()));
    }

    #[test]
    fn intervals_are_appended_without_a_header() {
        let model = fixture::interval(&fixture::nginx_a_second_later(), &fixture::nginx());
        insta::assert_snapshot!(lines(&model, false));
    }

    #[test]
    fn an_idle_process_has_a_header_at_most() {
        let model = fixture::since_attach(&fixture::sample(Vec::new()));
        assert_eq!(lines(&model, true).lines().count(), 1);
        assert_eq!(lines(&model, false), "");
    }

    #[test]
    fn every_line_has_every_field() {
        let model = fixture::since_attach(&fixture::lossy_nginx());
        assert_complete(&model, 8);
    }

    #[test]
    fn groups_are_lines_of_their_own_kind() {
        for by in [GroupBy::Process, GroupBy::Thread, GroupBy::Cgroup, GroupBy::Comm] {
            let model = fixture::since_attach(&fixture::grouped(by));
            assert_complete(&model, 3);
            insta::assert_snapshot!(format!("by_{}", by.id()), lines(&model, true));
        }
    }

    #[test]
    fn parts_that_were_not_collected_are_empty_and_never_0() {
        for by in [GroupBy::Syscall, GroupBy::Process] {
            let sample = fixture::without_parts(fixture::grouped(by));
            let text = since_attach(&sample);
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let parts = [
                "on_cpu_ns",
                "on_cpu_ns_per_sec",
                "runq_ns",
                "runq_pct",
                "blocked_ns",
                "blocked_pct",
            ];
            let headers = reader.headers().unwrap().clone();
            let places = parts.map(|part| headers.iter().position(|field| field == part).unwrap());
            for record in reader.records() {
                let record = record.unwrap();
                assert!(places.iter().all(|place| record[*place].is_empty()), "{record:?}");
            }
        }
    }

    fn assert_complete(model: &Model, records: usize) {
        let text = lines(model, true);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), fields(model));
        assert_eq!(reader.records().filter(|record| record.is_ok()).count(), records);
    }

    #[test]
    fn every_field_is_documented() {
        let docs = include_str!("../../../docs/stat-json.md");
        for by in GroupBy::ALL {
            let model = fixture::since_attach(&fixture::grouped(by));
            for field in fields(&model) {
                assert!(docs.contains(&format!("`{field}`")), "docs/stat-json.md lacks `{field}`");
            }
        }
    }
}
