//! `syscost calibrate`: measures this machine, prints what it found, and keeps it.

use std::io::{IsTerminal, Write, stderr, stdout};

use anyhow::Result;

use crate::{
    calibrate,
    cli::{CalibratePlan, exit},
    view::calibration,
};

pub(super) fn run(plan: &CalibratePlan) -> Result<u8> {
    let shows = stderr().is_terminal();
    let measured = calibrate::calibrate(plan.common.hooks, |share| {
        if shows {
            eprint!("\rcalibrating: {:3.0} %", share * 100.0);
        }
    });
    if shows {
        // Over what stands there.
        eprint!("\r{:20}\r", "");
    }
    let measured = measured?;
    if let Err(error) = calibrate::store(&measured) {
        eprintln!("syscost: the result is not kept: {error:#}");
    }
    let text = if plan.json { calibration::json(&measured) } else { calibration::text(&measured) };
    // A reader that went away has no use for the rest.
    let _ = stdout().lock().write_all(text.as_bytes());
    Ok(exit::OK)
}
