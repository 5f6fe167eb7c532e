//! From arguments to a validated [`Plan`]. Starts nothing, loads nothing, looks at no process.
//!
//! Raw arguments (`args`) are only text; `plan` gives them meaning, or says in one line what is
//! wrong with them.

mod args;
mod duration;
mod plan;

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    process::ExitCode,
};

use clap::{
    CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::decode::printable::printable;
pub use plan::{
    CheckPlan, ColorChoice, Common, DemoPlan, Format, HookChoice, Plan, StatPlan, TopPlan,
};

/// The exit codes of the program, as its help documents them.
pub mod exit {
    /// All went well; also when the target has exited or the user has quit.
    pub const OK: u8 = 0;
    /// Tracing failed.
    pub const TRACING_FAILED: u8 = 1;
    /// The arguments make no sense.
    pub const USAGE: u8 = 2;
}

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
/// `no_color` is the value of the environment variable `NO_COLOR`, if it is set.
pub fn parse<I>(args: I, no_color: Option<&OsStr>) -> Result<Plan, Stop>
where
    I: IntoIterator<Item = OsString>,
{
    let args: Vec<OsString> = args.into_iter().collect();
    let matches =
        args::Args::command().try_get_matches_from(&args).map_err(|error| stop(&error, &args))?;
    let raw = args::Args::from_arg_matches(&matches).map_err(|error| stop(&error, &args))?;
    Plan::new(raw, no_color).map_err(|message| usage(&message))
}

/// Makes a plan of `args` and the environment; where there is none, prints why and returns the
/// code to exit with.
pub fn run_parse<I>(args: I) -> Result<Plan, ExitCode>
where
    I: IntoIterator<Item = OsString>,
{
    let no_color = std::env::var_os("NO_COLOR");
    // A reader that went away has no use for the text, nor for an error about it.
    parse(args, no_color.as_deref()).map_err(|stop| match stop {
        Stop::Answer(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::from(exit::OK)
        }
        Stop::Usage(line) => {
            let _ = writeln!(std::io::stderr(), "syscost: {line}");
            ExitCode::from(exit::USAGE)
        }
    })
}

/// Shortens clap's answer: help and version as they are, errors to one line.
fn stop(error: &clap::Error, args: &[OsString]) -> Stop {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Answer(text);
    }
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    usage(&format!("{line}; {}", hint(error, args)))
}

/// What to do about an error of clap's.
fn hint(error: &clap::Error, args: &[OsString]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    if let Some(pid) = context(ContextKind::InvalidSubcommand)
        && pid.bytes().all(|byte| byte.is_ascii_digit())
    {
        return format!("did you mean `syscost -p {pid}`?");
    }
    if let Some(meant) =
        context(ContextKind::SuggestedSubcommand).or(context(ContextKind::SuggestedArg))
    {
        return format!("did you mean `{meant}`?");
    }
    let command = args
        .iter()
        .skip(1)
        .filter_map(|arg| arg.to_str())
        .find(|arg| args::Args::command().find_subcommand(arg).is_some())
        .map_or_else(|| "syscost".to_owned(), |command| format!("syscost {command}"));
    format!("see `{command} --help`")
}

/// A usage error. It may echo what the user typed.
fn usage(message: &str) -> Stop {
    Stop::Usage(printable(message).into_owned())
}

#[cfg(test)]
mod tests;
