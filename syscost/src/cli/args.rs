//! The arguments as clap reads them: text and switches. Knows their syntax and their help, not
//! what they mean; that is [`super::plan`].

use std::{ffi::OsString, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand};
use syscost_common::{group::MAX_GROUPS, scope::MAX_TARGETS};

use crate::{
    decode::printable,
    filter::CLASSES,
    group::GroupBy,
    model::column::{COLUMNS, Column, Key},
};

const EXIT_CODES: &str = "\
EXIT CODES
  0  ok; also when the process exits or you quit
  1  tracing failed, or the output could not be written
  2  the arguments make no sense";

/// For what runs a command.
const COMMAND_EXIT_CODES: &str = "\
EXIT CODES
  0      ok; also when the processes exit or you quit
  1      tracing failed, or the output could not be written
         and the command has not failed itself
  2      the arguments make no sense
  126    the command cannot be executed
  127    the command was not found
  128+N  the command was killed by signal N
  Otherwise, once a command has run, its own status.";

const ROOT_EXAMPLES: &str = "\
EXAMPLES
  syscost                             choose from the processes that make calls
  syscost -p 1234                     watch process 1234 live
  syscost -- ls -l                    run a command and watch it
  syscost -a -e %network --failed     the network calls that fail, of all processes
  syscost stat -p 1234 -d 5           measure it for 5 seconds, then print a table
  syscost stat -p 1234 -d 5 --json    the same for programs, with every histogram
  syscost check                       can this machine trace, and if not, why?
  syscost calibrate                   what does a system call cost here?
  syscost demo                        run a small program to try it on";

const TOP_EXAMPLES: &str = "\
EXAMPLES
  syscost top                         choose from the processes that make calls
  syscost top -p 1234                 watch process 1234, looking once a second
  syscost top -p 1234 -i 250ms        four times a second
  syscost top -p 1234 -f              with the children it has and will have
  syscost top -p $(pgrep -d, nginx)   all processes named nginx, as they are now
  syscost top --comm nginx            all processes named nginx, also those to come
  syscost top -p 1234 -e '!futex'     everything but futex
  syscost top -a --max-overhead 2%    with less detail rather than more than 2 % of a CPU
  syscost top -- make -j4             run a command and watch it, with its children

The command has no input, as the keyboard is the screen's, and its output is shown at the end.
`syscost stat -- CMD` leaves both as they are. Characters beyond ASCII are drawn where the locale
is UTF-8 (LC_ALL, LC_CTYPE, LANG) and the terminal is not the kernel's console.";

const STAT_EXAMPLES: &str = "\
EXAMPLES
  syscost stat -p 1234                until Ctrl-C or the process exits, then a table
  syscost stat -- make -j4            run a command and measure it, with its children
  syscost stat -a -d 5 --by process   all processes of the machine, a row for each
  syscost stat --container web -d 5   all processes of a container
  syscost stat -p 1234 -e %file,read  only calls with a file name, and read
  syscost stat -p 1234 --errno ENOENT only calls that found no file
  syscost stat -p 1234 -d 10 -n 5     10 seconds, the 5 syscalls with the most CPU time
  syscost stat -p 1234 -d 1m -i 5s    a table every 5 seconds for a minute
  syscost stat -p 1234 --sort p99     the slowest tail first
  syscost stat -p 1234 --sort blocked what it waits for the longest first
  syscost stat -p 1234 -d 5 --json | jq -r '.syscalls[] | [.name, .p99_ns] | @tsv'
  syscost stat -p 1234 -d 1h -i 10s --csv -o nginx.csv";

const CHECK_EXAMPLES: &str = "\
EXAMPLES
  syscost check                       what works here, what does not, and what to do
  syscost check --json                the same for programs";

const CALIBRATE_EXAMPLES: &str = "\
EXAMPLES
  syscost calibrate                   every figure, and what it means; best on an idle machine
  syscost calibrate --json | jq .direct.syscall_ns.median";

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
    override_usage = "syscost [TARGET] [FILTER] [-i INTERVAL] [-- CMD [ARG]...]\n       syscost COMMAND [OPTIONS]",
    after_help = [ROOT_EXAMPLES, COMMAND_EXIT_CODES].join("\n\n"),
    max_term_width = 100
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<CommandArgs>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
    #[command(flatten)]
    pub(super) top: TopArgs,
}

/// What every command takes.
#[derive(ClapArgs)]
pub(super) struct CommonArgs {
    /// Which kernel hooks to use: auto, btf, perf or raw
    #[arg(long, global = true, hide = true, value_name = "HOOKS", default_value = "auto")]
    pub(super) hooks: String,
    /// How many targets there is room for in the kernel
    #[arg(long, global = true, hide = true, value_name = "N", default_value_t = MAX_TARGETS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TARGETS)))]
    pub(super) max_targets: u32,
    /// How many groups of dead threads there is room for in the kernel
    #[arg(long, global = true, hide = true, value_name = "N", default_value_t = MAX_GROUPS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_GROUPS)))]
    pub(super) max_groups: u32,
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
    /// Watch a target live; the same as `syscost` without a command
    #[command(
        override_usage = "syscost top [TARGET] [FILTER] [-i INTERVAL] [-- CMD [ARG]...]",
        after_help = [TOP_EXAMPLES, COMMAND_EXIT_CODES].join("\n\n")
    )]
    Top(TopArgs),
    /// Measure a target and print a table, JSON or CSV
    #[command(
        override_usage = "syscost stat [TARGET] [FILTER] [OPTIONS] [-- CMD [ARG]...]",
        after_help = [STAT_EXAMPLES, COMMAND_EXIT_CODES].join("\n\n")
    )]
    Stat(StatArgs),
    /// Say whether this machine can trace, and if not, why
    #[command(
        override_usage = "syscost check [--json]",
        after_help = [CHECK_EXAMPLES, EXIT_CODES].join("\n\n")
    )]
    Check(CheckArgs),
    /// Measure what crossing into the kernel costs on this machine; takes some seconds
    #[command(
        override_usage = "syscost calibrate [--json]",
        after_help = [CALIBRATE_EXAMPLES, EXIT_CODES].join("\n\n")
    )]
    Calibrate(CalibrateArgs),
    /// Run a small program that reads, writes, sleeps and fails, to try syscost on
    #[command(
        override_usage = "syscost demo [--seconds N]",
        after_help = [DEMO_EXAMPLES, EXIT_CODES].join("\n\n")
    )]
    Demo(DemoArgs),
}

// Values may begin with a hyphen, so that `-p -5` is told what is wrong with -5 rather than that
// there is no option 5.

// A heading holds for all that is declared after it, so that the two groups that have one come last
// where they are taken in.

/// The target: what to measure.
#[derive(ClapArgs)]
#[command(next_help_heading = "Target")]
pub(super) struct TargetArgs {
    /// The processes with these PIDs
    #[arg(short, long, value_name = "PID,...", allow_hyphen_values = true)]
    pub(super) pid: Vec<String>,
    /// With -p: also the children they have and will have
    #[arg(short, long)]
    pub(super) follow: bool,
    /// The threads with these TIDs, without the rest of their processes
    #[arg(short, long, value_name = "TID,...", allow_hyphen_values = true)]
    pub(super) tid: Vec<String>,
    /// The processes of exactly this name (`ps -eo comm` shows them): nginx
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(super) comm: Option<String>,
    /// The processes in this cgroup and those below it: /sys/fs/cgroup/system.slice
    #[arg(long, value_name = "PATH")]
    pub(super) cgroup: Option<PathBuf>,
    /// The processes of this container or Kubernetes pod
    #[arg(long, value_name = "ID|NAME")]
    pub(super) container: Option<String>,
    /// The processes of this user
    #[arg(long, value_name = "UID|NAME", allow_hyphen_values = true)]
    pub(super) uid: Option<String>,
    /// All processes of the machine
    #[arg(short, long)]
    pub(super) all: bool,
    /// Run this command and measure it with its children; what follows -- is all its own
    #[arg(last = true, value_name = "-- CMD")]
    pub(super) command: Vec<OsString>,
}

/// The filter: which calls to record.
#[derive(ClapArgs)]
#[command(next_help_heading = "Filter")]
pub(super) struct FilterArgs {
    #[arg(short = 'e', value_name = "EXPR", help = expression_help())]
    pub(super) expression: Option<String>,
    /// Only calls that fail
    #[arg(long)]
    pub(super) failed: bool,
    /// Only calls that fail with one of these errnos: ENOENT,EAGAIN or 2,11
    #[arg(long, value_name = "ERRNO,...", allow_negative_numbers = true)]
    pub(super) errno: Option<String>,
}

/// `top`, with and without its name.
#[derive(ClapArgs)]
pub(super) struct TopArgs {
    /// How often to look, at least 10ms: 1, 500ms, 1.5s [default: 1s]
    #[arg(short, long, value_name = "INTERVAL", allow_hyphen_values = true)]
    pub(super) interval: Option<String>,
    #[command(flatten)]
    pub(super) budget: BudgetArgs,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
}

/// What measuring may cost.
#[derive(ClapArgs)]
pub(super) struct BudgetArgs {
    /// Keep the run time of the kernel programs below this share of one CPU, with less detail where it
    /// takes that, as far as that helps: 2%
    #[arg(long, value_name = "PCT", allow_hyphen_values = true)]
    pub(super) max_overhead: Option<String>,
}

/// `stat`.
#[derive(ClapArgs)]
pub(super) struct StatArgs {
    /// How long to measure: 5, 500ms, 1.5s, 2m [default: until Ctrl-C or the target exits]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(super) duration: Option<String>,
    /// Print what happened in each interval, at least 10ms [default: once, at the end]
    #[arg(short, long, value_name = "INTERVAL", allow_hyphen_values = true)]
    pub(super) interval: Option<String>,
    /// Print JSON: an object per line, described in docs/stat-json.md
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Print CSV: a line per row
    #[arg(long)]
    pub(super) csv: bool,
    #[arg(long, value_name = "GROUP", default_value = GroupBy::default().id(), help = by_help())]
    pub(super) by: String,
    #[arg(long, value_name = "KEY", default_value = Key::OnCpu.column().id, help = sort_help())]
    pub(super) sort: String,
    /// Sort the other way round
    #[arg(short, long)]
    pub(super) reverse: bool,
    /// Only the first TOP rows
    #[arg(short = 'n', long, value_name = "TOP", allow_hyphen_values = true)]
    pub(super) top: Option<String>,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Say what file descriptors of calls in flight refer to, by a process that keeps CAP_SYS_PTRACE
    #[arg(long)]
    pub(super) names: bool,
    #[command(flatten)]
    pub(super) budget: BudgetArgs,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
}

/// `calibrate`.
#[derive(ClapArgs)]
pub(super) struct CalibrateArgs {
    /// Print JSON: one object, described in docs/calibration.md
    #[arg(long)]
    pub(super) json: bool,
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

impl TargetArgs {
    /// The targets given, each as typed.
    pub(super) fn targets(&self) -> Vec<String> {
        let list = |option: &str, ids: &[String]| {
            (!ids.is_empty()).then(|| format!("{option} {}", ids.join(",")))
        };
        [
            list("-p", &self.pid),
            list("-t", &self.tid),
            typed("--comm", &self.comm),
            self.cgroup.as_ref().map(|path| format!("--cgroup {}", printable::path(path))),
            typed("--container", &self.container),
            typed("--uid", &self.uid),
            self.all.then(|| "-a".to_owned()),
            self.command.first().map(|command| format!("-- {}", printable::path(command.as_ref()))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl TopArgs {
    /// The first option given, as typed.
    pub(super) fn first_given(&self) -> Option<String> {
        let Self { target, filter, interval, budget } = self;
        let switch = |option: &str, given: bool| given.then(|| option.to_owned());
        let first = target.targets().into_iter().next();
        first
            .or_else(|| switch("-f", target.follow))
            .or_else(|| typed("-e", &filter.expression))
            .or_else(|| switch("--failed", filter.failed))
            .or_else(|| typed("--errno", &filter.errno))
            .or_else(|| typed("-i", interval))
            .or_else(|| typed("--max-overhead", &budget.max_overhead))
    }
}

fn typed(option: &str, value: &Option<String>) -> Option<String> {
    value.as_ref().map(|value| format!("{option} {value}"))
}

fn expression_help() -> String {
    let classes: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
    format!(
        "Only these calls, in strace's words: read,write or '!futex' or /^recv or a class: {}",
        classes.join(", ")
    )
}

fn by_help() -> String {
    format!("What a row stands for: {}", groups())
}

/// What `--by` accepts.
pub(super) fn groups() -> String {
    GroupBy::ALL.map(GroupBy::id).join(", ")
}

fn sort_help() -> String {
    format!("What to sort by; cpu is time where CPU time is not known: {}", sort_keys())
}

/// What `--sort` accepts.
pub(super) fn sort_keys() -> String {
    ids(|_| true)
}

/// What `--sort` accepts with `--by`.
pub(super) fn sort_keys_of_groups() -> String {
    ids(Column::needs_no_histogram)
}

fn ids(wanted: fn(&Column) -> bool) -> String {
    let columns = COLUMNS.iter().filter(|column| wanted(column));
    columns.map(|column| column.id).collect::<Vec<_>>().join(", ")
}
