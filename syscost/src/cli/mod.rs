//! From arguments to a validated [`Plan`]. Starts nothing, loads nothing, looks at no process.
//!
//! Raw arguments (`args`) are only text; `plan` gives them meaning, or says in one line what is
//! wrong with them.

mod args;
mod duration;
mod environment;
mod hint;
mod number;
mod plan;
mod target;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};
use hint::stop;

use crate::{decode::printable::printable, exit, message};
pub use environment::Environment;
pub use plan::{
    CalibratePlan, CheckPlan, ColorChoice, Common, DemoPlan, Format, Plan, StatPlan, TopPlan,
};
pub use target::TargetPlan;

/// Why the arguments yield no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or the version was asked for: text for stdout, and all is well.
    Answer(String),
    /// The arguments make no sense: what is wrong and what to do, in one line without a newline.
    Usage(String),
}

/// Makes a plan of `args`, the first of which is the program's name.
///
/// `environment` is what the environment variables say about the terminal.
pub fn parse<I>(args: I, environment: Environment) -> Result<Plan, Stop>
where
    I: IntoIterator<Item = OsString>,
{
    let args: Vec<OsString> = args.into_iter().collect();
    let matches =
        args::Args::command().try_get_matches_from(&args).map_err(|error| stop(&error, &args))?;
    let raw = args::Args::from_arg_matches(&matches).map_err(|error| stop(&error, &args))?;
    Plan::new(raw, environment).map_err(|message| usage(&message))
}

/// Makes a plan of `args` and the environment; where there is none, prints why and returns the
/// code to exit with.
pub fn run_parse<I>(args: I) -> Result<Plan, ExitCode>
where
    I: IntoIterator<Item = OsString>,
{
    let environment = Environment::read(|name| std::env::var_os(name));
    parse(args, environment).map_err(|stop| match stop {
        Stop::Answer(text) => match message::print(&text) {
            Ok(()) => ExitCode::from(exit::OK),
            Err(error) => {
                message::say(format!("{error:#}"));
                ExitCode::from(exit::TRACING_FAILED)
            }
        },
        Stop::Usage(line) => {
            message::say(line);
            ExitCode::from(exit::USAGE)
        }
    })
}

/// A usage error. It may echo what the user typed.
fn usage(message: &str) -> Stop {
    Stop::Usage(printable(message).into_owned())
}

#[cfg(test)]
mod tests;
