//! `syscost check`: prints the preflight report.

use std::io::{Write, stdout};

use anyhow::Result;

use crate::{
    cli::{CheckPlan, exit},
    probe::preflight,
    view::report,
};

pub(super) fn run(plan: &CheckPlan) -> Result<u8> {
    let report = preflight::check(plan.common.hooks);
    let mut out = stdout().lock();
    let text = if plan.json { report::json(&report) } else { report::text(&report) };
    // A reader that went away has no use for the rest; the exit code still tells.
    let _ = out.write_all(text.as_bytes());
    Ok(if report.works() { exit::OK } else { exit::TRACING_FAILED })
}
