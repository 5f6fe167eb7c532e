//! `syscost check`: prints the preflight report.

use anyhow::Result;

use crate::{
    cli::CheckPlan,
    exit, message,
    probe::preflight,
    view::{ascii, report},
};

pub(super) fn run(plan: &CheckPlan) -> Result<u8> {
    let report = preflight::check(plan.common.hooks);
    let text = if plan.json { report::json(&report) } else { report::text(&report) };
    let text = if plan.common.ascii && !plan.json { ascii::text(&text) } else { text };
    message::print(&text)?;
    Ok(if report.works() { exit::OK } else { exit::TRACING_FAILED })
}
