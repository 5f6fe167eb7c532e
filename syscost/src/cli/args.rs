//! The arguments as clap reads them: text and switches. Knows their syntax and their help, not
//! what they mean; that is [`super::plan`].

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::model::column::{COLUMNS, Key};

const EXIT_CODES: &str = "\
EXIT CODES
  0  ok; also when the process exits or you quit
  1  tracing failed
  2  the arguments make no sense";

const ROOT_EXAMPLES: &str = "\
EXAMPLES
  syscost -p 1234                     watch process 1234 live
  syscost stat -p 1234 -d 5           measure it for 5 seconds, then print a table
  syscost stat -p 1234 -d 5 --json    the same for programs, with every histogram
  syscost check                       can this machine trace, and if not, why?
  syscost demo                        run a small program to try it on";

const TOP_EXAMPLES: &str = "\
EXAMPLES
  syscost top -p 1234                 watch process 1234, looking once a second
  syscost top -p 1234 -i 250ms        four times a second
  syscost top -p $(pgrep -o nginx)    the oldest process named nginx";

const STAT_EXAMPLES: &str = "\
EXAMPLES
  syscost stat -p 1234                until Ctrl-C or the process exits, then a table
  syscost stat -p 1234 -d 10 -n 5     10 seconds, the 5 syscalls with the most time
  syscost stat -p 1234 -d 1m -i 5s    a table every 5 seconds for a minute
  syscost stat -p 1234 --sort p99     the slowest tail first
  syscost stat -p 1234 -d 5 --json | jq -r '.syscalls[] | [.name, .p99_ns] | @tsv'
  syscost stat -p 1234 -d 1h -i 10s --csv -o nginx.csv";

const CHECK_EXAMPLES: &str = "\
EXAMPLES
  syscost check                       what works here, what does not, and what to do
  syscost check --json                the same for programs";

const DEMO_EXAMPLES: &str = "\
EXAMPLES
  syscost demo                        prints its PID and runs until it is killed
  syscost demo --seconds 30           for half a minute";

/// What the user typed.
#[derive(Parser)]
#[command(
    name = "syscost",
    version,
    about = "Live per-syscall latency histograms of a running process, measured in the kernel",
    override_usage = "syscost -p PID [-i INTERVAL]\n       syscost COMMAND [OPTIONS]",
    after_help = [ROOT_EXAMPLES, EXIT_CODES].join("\n\n"),
    max_term_width = 100
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<CommandArgs>,
    #[command(flatten)]
    pub(super) top: TopArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

/// What every command takes.
#[derive(ClapArgs)]
pub(super) struct CommonArgs {
    /// Which kernel hooks to use: auto, btf or raw
    #[arg(long, global = true, hide = true, value_name = "HOOKS", default_value = "auto")]
    pub(super) hooks: String,
    /// Print the kernel's diagnostics to stderr
    #[arg(short, long, global = true, display_order = 900)]
    pub(super) verbose: bool,
    /// No colours; so does a non-empty NO_COLOR in the environment
    #[arg(long, global = true, display_order = 901)]
    pub(super) no_color: bool,
}

/// The commands.
#[derive(Subcommand)]
pub(super) enum CommandArgs {
    /// Watch a process live; the same as `syscost -p PID`
    #[command(
        override_usage = "syscost top -p PID [-i INTERVAL]",
        after_help = [TOP_EXAMPLES, EXIT_CODES].join("\n\n")
    )]
    Top(TopArgs),
    /// Measure a process and print a table, JSON or CSV
    #[command(
        override_usage = "syscost stat -p PID [-d DURATION] [-i INTERVAL] [OPTIONS]",
        after_help = [STAT_EXAMPLES, EXIT_CODES].join("\n\n")
    )]
    Stat(StatArgs),
    /// Say whether this machine can trace, and if not, why
    #[command(
        override_usage = "syscost check [--json]",
        after_help = [CHECK_EXAMPLES, EXIT_CODES].join("\n\n")
    )]
    Check(CheckArgs),
    /// Run a small program that reads, writes, sleeps and fails, to try syscost on
    #[command(
        override_usage = "syscost demo [--seconds N]",
        after_help = [DEMO_EXAMPLES, EXIT_CODES].join("\n\n")
    )]
    Demo(DemoArgs),
}

// Values may begin with a hyphen, so that `-p -5` is told what is wrong with -5 rather than that
// there is no option 5.

/// `top`, with and without its name.
#[derive(ClapArgs)]
pub(super) struct TopArgs {
    /// The process to watch
    #[arg(short, long, value_name = "PID", allow_hyphen_values = true)]
    pub(super) pid: Option<String>,
    /// How often to look, at least 10ms: 1, 500ms, 1.5s [default: 1s]
    #[arg(short, long, value_name = "INTERVAL", allow_hyphen_values = true)]
    pub(super) interval: Option<String>,
}

/// `stat`.
#[derive(ClapArgs)]
pub(super) struct StatArgs {
    /// The process to measure
    #[arg(short, long, value_name = "PID", allow_hyphen_values = true)]
    pub(super) pid: Option<String>,
    /// How long to measure: 5, 500ms, 1.5s, 2m [default: until Ctrl-C or the process exits]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) duration: Option<String>,
    /// Print what happened in each interval, at least 10ms [default: once, at the end]
    #[arg(short, long, value_name = "INTERVAL", allow_hyphen_values = true)]
    pub(super) interval: Option<String>,
    /// Print JSON: an object per line, described in docs/stat-json.md
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Print CSV: a line per syscall
    #[arg(long)]
    pub(super) csv: bool,
    #[arg(long, value_name = "KEY", default_value = Key::Time.column().id, help = sort_help())]
    pub(super) sort: String,
    /// Sort the other way round
    #[arg(short, long)]
    pub(super) reverse: bool,
    /// Only the first TOP syscalls
    #[arg(short = 'n', long, value_name = "TOP", allow_hyphen_values = true)]
    pub(super) top: Option<String>,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

/// `check`.
#[derive(ClapArgs)]
pub(super) struct CheckArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `demo`.
#[derive(ClapArgs)]
pub(super) struct DemoArgs {
    /// How long to run: 30, 1m [default: until it is killed]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) seconds: Option<String>,
}

fn sort_help() -> String {
    format!("What to sort by: {}", sort_keys())
}

/// What `--sort` accepts.
pub(super) fn sort_keys() -> String {
    COLUMNS.iter().map(|column| column.id).collect::<Vec<_>>().join(", ")
}
