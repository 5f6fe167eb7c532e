//! The preflight report, as text and as JSON.

use serde_json::json;

use super::json_line;
use crate::{
    decode::printable::printable,
    preflight::{Report, Verdict},
};

/// A line for each finding, and a verdict.
pub fn text(report: &Report) -> String {
    let width = report.findings.iter().map(|finding| finding.subject.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = report
        .findings
        .iter()
        .map(|finding| {
            let mark = match finding.verdict {
                Verdict::Good => "ok  ",
                Verdict::Limited => "note",
                Verdict::Bad => "FAIL",
            };
            format!("{mark}  {:width$}  {}", finding.subject, printable(&finding.detail))
        })
        .collect();
    lines.push(if report.works() {
        "tracing works here".to_owned()
    } else {
        "tracing does not work here: see the lines marked FAIL".to_owned()
    });
    lines.join("\n") + "\n"
}

/// One JSON object, in a line.
pub fn json(report: &Report) -> String {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let verdict = match finding.verdict {
                Verdict::Good => "good",
                Verdict::Limited => "limited",
                Verdict::Bad => "bad",
            };
            json!({ "subject": finding.subject, "verdict": verdict, "detail": finding.detail })
        })
        .collect();
    let report =
        json!({ "schema": "syscost.check/1", "works": report.works(), "findings": findings });
    json_line::text(&report)
}
