//! The CSV that `stat --csv` prints: a line per syscall, for spreadsheets and data frames. Every
//! line stands alone, so that intervals can be appended, sorted and joined. Carries no histogram;
//! that is JSON's.

use std::io::{self, Write};

use super::Order;
use crate::{
    model::{
        Model, Row,
        column::{COLUMNS, Column, Key, Value},
    },
    reading::Reading,
};

/// Writes `model` as lines of CSV, the rows as `order` has them; the header line before them where
/// `header` asks for it, which is once per file.
pub fn write(mut out: impl Write, model: &Model, order: &Order, header: bool) -> io::Result<()> {
    // Rendered in memory: the writer of the csv crate hides why the sink has failed.
    let mut csv = csv::Writer::from_writer(Vec::new());
    if header {
        csv.write_record(fields())?;
    }
    for row in order.split(model).0 {
        csv.write_record(record(model, row))?;
    }
    let bytes = csv.into_inner().map_err(|error| error.into_error())?;
    out.write_all(&bytes)
}

/// When, then what, then every column, then how far to trust it.
fn fields() -> Vec<&'static str> {
    let columns = measures().map(|column| column.field);
    ["at_ns", "window_ns", Key::Syscall.column().field, "abi", "nr"]
        .into_iter()
        .chain(columns)
        .chain(["exact"])
        .collect()
}

fn record(model: &Model, row: &Row) -> Vec<String> {
    let identity = [
        model.attached_ns.to_string(),
        model.window_ns.to_string(),
        row.name.to_string(),
        row.abi.map_or_else(String::new, |abi| abi.to_string()),
        row.nr.map_or_else(String::new, |nr| nr.to_string()),
    ];
    let measures = measures().map(|column| text((column.get)(model, row)));
    identity.into_iter().chain(measures).chain([model.ledger.exact().to_string()]).collect()
}

/// The columns that are measured. The name is not; it stands with its ABI and number.
fn measures() -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(|column| column.key != Key::Syscall)
}

/// Plain numbers in base units; whether they are exact is a column of its own.
fn text(value: Value) -> String {
    fn known<T>(reading: Reading<T>, text: impl FnOnce(T) -> String) -> String {
        reading.value().map_or_else(String::new, text)
    }
    match value {
        Value::Text(text) => text.into_owned(),
        Value::Count(n) | Value::Ns(n) => known(n, |n| n.to_string()),
        Value::PerSec(rate) => known(rate, |rate| format!("{rate:.3}")),
        Value::NsPerSec(rate) => known(rate, |rate| format!("{rate:.0}")),
        Value::Pct(pct) => format!("{pct:.3}"),
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
        lines(&Model::since_attach(sample), true)
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
        let model = Model::interval(&fixture::nginx_a_second_later(), &fixture::nginx());
        insta::assert_snapshot!(lines(&model, false));
    }

    #[test]
    fn an_idle_process_has_a_header_at_most() {
        let model = Model::since_attach(&fixture::sample(Vec::new()));
        assert_eq!(lines(&model, true).lines().count(), 1);
        assert_eq!(lines(&model, false), "");
    }

    #[test]
    fn every_line_has_every_field() {
        let text = since_attach(&fixture::lossy_nginx());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), fields());
        assert_eq!(reader.records().filter(|record| record.is_ok()).count(), 8);
    }

    #[test]
    fn every_field_is_documented() {
        let docs = include_str!("../../../docs/stat-json.md");
        for field in fields() {
            assert!(docs.contains(&format!("`{field}`")), "docs/stat-json.md lacks `{field}`");
        }
    }
}
