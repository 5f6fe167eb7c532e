//! `syscost calibrate`: measures this machine, prints what it found, and keeps it.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{
    calibrate,
    cli::CalibratePlan,
    exit, message,
    model::calibration::Calibration,
    view::{ascii, calibration},
};

pub(super) fn run(plan: &CalibratePlan) -> Result<u8> {
    let shows = message::stderr_is_terminal();
    let measured = calibrate::calibrate(plan.common.hooks, |share| {
        if shows {
            message::raw(&format!("\rcalibrating: {:3.0} %", share * 100.0));
        }
    });
    if shows {
        // Clears the line.
        message::raw(&format!("\r{:20}\r", ""));
    }
    let measured = measured?;
    let kept_in = if measured.is_steady() { store(&measured) } else { None };
    let kept_in = kept_in.as_deref();
    let text = match plan.json {
        true => calibration::json(&measured, kept_in),
        false => calibration::text(&measured, kept_in),
    };
    let text = if plan.common.ascii && !plan.json { ascii::text(&text) } else { text };
    message::print(&text)?;
    if !measured.is_steady() {
        let earlier = match calibrate::load() {
            Some(_) => "; the earlier calibration stays in use",
            None => "",
        };
        bail!("{}{earlier}", calibration::too_noisy(&measured));
    }
    Ok(exit::OK)
}

/// Keeps it. Returns where; says why if it cannot.
fn store(measured: &Calibration) -> Option<PathBuf> {
    calibrate::store(measured)
        .inspect_err(|error| message::say(format_args!("the result is not kept: {error:#}")))
        .ok()
}
