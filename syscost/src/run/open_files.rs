//! The limit of open files (RLIMIT_NOFILE).

use std::fs;

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit};

use crate::{
    cli::{Plan, TargetPlan},
    inherited,
};

/// The most that attaching opens, with some room: maps, programs, links.
const NEEDED: u64 = 85;

/// What is open for each process or thread that the user names: its pidfd, a copy of that to wait for its end, its
/// file in `/proc`, that of its process, and its CPU time.
const NEEDED_FOR_EACH: u64 = 5;

/// Raises the limit as far as `plan` needs.
///
/// # Errors
/// When the hard limit is lower than that.
pub(super) fn raise_limit(plan: &Plan) -> Result<()> {
    let needed = open_now() + NEEDED + NEEDED_FOR_EACH * given(plan);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if soft < needed && !inherited::raise_open_files(needed) {
        bail!(
            "only {hard} files may be open at a time: raise the limit to at least {needed} (ulimit -n {needed})"
        );
    }
    Ok(())
}

/// How many files are open already: the program that started this one may have left some open.
fn open_now() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(3, |files| files.count() as u64)
}

/// How many processes or threads the user names.
fn given(plan: &Plan) -> u64 {
    let target = match plan {
        Plan::Top(plan) => plan.target.as_ref(),
        Plan::Stat(plan) => Some(&plan.target),
        _ => None,
    };
    match target {
        Some(TargetPlan::Processes { pids, .. }) => pids.len() as u64,
        Some(TargetPlan::Threads(tids)) => tids.len() as u64,
        _ => 1,
    }
}
