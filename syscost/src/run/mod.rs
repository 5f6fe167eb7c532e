//! The commands: each carries out a plan, and brings source, model, views and the user together.

mod calibrate;
mod check;
mod child;
mod driver;
mod find;
mod jobs;
mod keeper;
mod names;
mod open_files;
mod output_file;
mod privileges;
mod schedule;
mod signals;
mod stat;
mod top;
mod watch;

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::runtime::{Builder, Runtime};

use crate::{
    calibrate as calibration,
    cli::{Common, Plan},
    costs::{Calibrated, Costs, ProgramsCost},
    demo,
    enrich::Helper,
    exit,
    filter::Filter,
    group::GroupBy,
    message,
    request::{Hooks, Request},
    sample::SkippedRuns,
    source::{Live, RunCost, Source, Tune},
    target::Target,
};
use driver::{Session, Upkeep};
use keeper::{COST_TIME, Keeper};
use privileges::{Purpose, SetAside};

/// Carries out `plan`; returns the code to exit with.
///
/// # Errors
/// When tracing fails; one line says what failed and what to do.
pub fn run(plan: Plan) -> Result<u8> {
    if !matches!(plan, Plan::Demo(_)) {
        privileges::close_to_others()?;
        open_files::raise_limit(&plan)?;
    }
    let done = match plan {
        Plan::Top(plan) => runtime()?.block_on(top::run(&plan)),
        Plan::Stat(plan) => {
            // First: it is a copy of this process, which has loaded nothing yet.
            let helper = plan.names.then(Helper::start);
            runtime()?.block_on(stat::run(&plan, helper))
        }
        Plan::Check(plan) => check::run(&plan),
        Plan::Calibrate(plan) => calibrate::run(&plan),
        Plan::Demo(plan) => demo::run(plan.duration).map(|()| exit::OK),
    };
    match done.as_ref().err().and_then(find::exit_code) {
        Some(code) => {
            // The code that a shell uses, so that it cannot be mistaken for a code of the command's.
            if let Err(error) = done {
                message::say(format!("{error:#}"));
            }
            Ok(code)
        }
        None => done,
    }
}

/// A loop on this thread only: nearly all it does is wait.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}

/// What to ask of the probes about `target`.
fn request(target: &Target, filter: &Filter, group_by: GroupBy, common: &Common) -> Request {
    Request {
        scope: target.scope(),
        filter: filter.clone(),
        group_by,
        hooks: common.hooks,
        room: common.room,
        verbose: common.verbose,
    }
}

/// Attaches to `target`, and then gives up all privileges, except those that a budget needs, if there is one.
/// `first_window`: how long after that the first numbers are due; `None` if the user ends the measurement.
fn attach(
    target: Target,
    request: &Request,
    budget_pct: Option<f64>,
    first_window: Option<Duration>,
) -> Result<Session<Live>> {
    let mut source = Live::attach(target, request)?;
    let mut costs = Costs { calibrated: calibrated(), programs: None };
    // Measuring the cost would delay the end of a first window that is about as short.
    if budget_pct.is_some() || first_window.is_none_or(|window| window >= 2 * COST_TIME) {
        costs.programs = measure_cost(&mut source, budget_pct)?;
    }
    let Some(at_most_pct) = budget_pct else {
        privileges::give_up(still_reads(&mut source))?;
        return Ok(Session { source, upkeep: None, costs });
    };
    let purpose = Purpose { attaching: false, budget: true };
    let aside = SetAside::for_purpose(purpose, still_reads(&mut source))?;
    let upkeep: Box<dyn Upkeep<Live>> = Box::new(Keeper::new(at_most_pct, aside));
    Ok(Session { source, upkeep: Some(upkeep), costs })
}

/// Measures what the programs cost, once, while there are privileges for it.
///
/// # Errors
/// When there is a budget and the cost cannot be measured.
fn measure_cost(source: &mut Live, budget_pct: Option<f64>) -> Result<Option<ProgramsCost>> {
    // If the budget cannot be kept, that is an error now rather than when it is exceeded.
    let able = match source.hooks() {
        Hooks::Raw { .. } if budget_pct.is_some() => {
            Err(anyhow!("raw hooks have no detail to go without: needs Linux 5.12 with BTF"))
        }
        _ => source.begin_cost().and_then(|()| {
            std::thread::sleep(COST_TIME);
            source.end_cost()
        }),
    };
    match able {
        Err(error) if budget_pct.is_some() => Err(error.context("--max-overhead cannot be kept")),
        Ok(RunCost { run_pct, run_ns, detail }) => {
            Ok(Some(ProgramsCost { run_pct, run_ns, budget_pct: None, detail }))
        }
        // Without a budget nothing depends on it.
        Err(_) => Ok(None),
    }
}

/// What `syscost calibrate` found, if that was since the machine was started.
fn calibrated() -> Option<Calibrated> {
    let direct = calibration::load()?.direct;
    Some(Calibrated {
        crossing_ns: direct.syscall_ns,
        target_tax_ns: direct.tax.target_ns,
        bystander_tax_ns: direct.tax.bystander_ns,
    })
}

/// A check for after privileges are given up: whether everything that can be read from `source` now can still be
/// read then.
fn still_reads(source: &mut Live) -> impl FnOnce() -> bool {
    // All else is open already, or mapped into memory. Only skipped runs, open calls and groups are asked for from
    // the kernel at each reading, which may need privileges.
    let mut tells = move || {
        let sample = source.sample().ok()?;
        let misses_told = sample.ledger.program_misses != SkippedRuns::Unknown;
        Some((misses_told, sample.open_calls.is_some()))
    };
    let told = tells();
    move || told.is_some() && tells() == told
}
