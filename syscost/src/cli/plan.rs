//! The validated arguments. A [`Plan`] needs no further check, except whether the target exists and may be traced.

use std::{path::PathBuf, time::Duration};

use super::{
    args::{
        Args, BudgetArgs, CalibrateArgs, CheckArgs, CommandArgs, CommonArgs, DemoArgs, FilterArgs,
        StatArgs, TopArgs, groups, sort_keys, sort_keys_of_groups,
    },
    duration,
    environment::Environment,
    number::positive,
    target::TargetPlan,
};
use crate::{filter::Filter, model::column::Key, request::Room};
use crate::{group::GroupBy, request::HookChoice};

/// The shortest interval and duration. Below it, reading the maps would be most of the work.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest, so that no sum of times can overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Watch a target live.
    Top(TopPlan),
    /// Measure a target and print.
    Stat(StatPlan),
    /// Say whether this machine can trace.
    Check(CheckPlan),
    /// Measure what crossings cost on this machine.
    Calibrate(CalibratePlan),
    /// Run a small program to try syscost on.
    Demo(DemoPlan),
}

/// What goes for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Which kernel hooks to use.
    pub hooks: HookChoice,
    /// How much room the kernel's maps get.
    pub room: Room,
    /// Whether to print the kernel's diagnostics to stderr.
    pub verbose: bool,
    /// Whether colours are welcome.
    pub color: ColorChoice,
    /// Whether to show ASCII characters alone.
    pub ascii: bool,
    /// Whether the terminal can only print lines.
    pub dumb: bool,
}

/// What the kernel programs' run time may be at most, thousandths of a percent of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxOverhead(u32);

impl MaxOverhead {
    /// In percent of one CPU.
    pub fn pct(self) -> f64 {
        f64::from(self.0) / 1e3
    }
}

impl TopPlan {
    /// What measuring may cost, percent of one CPU.
    pub fn budget_pct(&self) -> Option<f64> {
        self.budget.map(MaxOverhead::pct)
    }
}

impl StatPlan {
    /// What measuring may cost, percent of one CPU.
    pub fn budget_pct(&self) -> Option<f64> {
        self.budget.map(MaxOverhead::pct)
    }
}

/// `syscost top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopPlan {
    /// What to watch; `None` for the live list of processes to choose from.
    pub target: Option<TargetPlan>,
    /// Which calls to record.
    pub filter: Filter,
    /// How often to look.
    pub interval: Duration,
    /// What measuring may cost.
    pub budget: Option<MaxOverhead>,
    /// What goes for every command.
    pub common: Common,
}

/// `syscost stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatPlan {
    /// What to measure.
    pub target: TargetPlan,
    /// Which calls to record.
    pub filter: Filter,
    /// What a row stands for.
    pub by: GroupBy,
    /// How long to measure; `None` until the user or the target ends it.
    pub duration: Option<Duration>,
    /// Print each interval, never longer than the duration; `None` for everything at the end.
    pub interval: Option<Duration>,
    /// How to print.
    pub format: Format,
    /// What the rows are sorted by.
    pub sort: Key,
    /// Whether the column's own direction is turned round.
    pub reverse: bool,
    /// How many rows to print at most; never 0.
    pub top: Option<usize>,
    /// The file to write; `None` for stdout.
    pub output: Option<PathBuf>,
    /// Whether to look up what file descriptors refer to. Only with a target that the process which does
    /// that is no part of.
    pub names: bool,
    /// What measuring may cost.
    pub budget: Option<MaxOverhead>,
    /// What goes for every command.
    pub common: Common,
}

/// `syscost check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPlan {
    /// Whether programs will read the answer.
    pub json: bool,
    /// What goes for every command.
    pub common: Common,
}

/// `syscost calibrate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalibratePlan {
    /// Whether programs will read the answer.
    pub json: bool,
    /// What goes for every command.
    pub common: Common,
}

/// `syscost demo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoPlan {
    /// How long to run; `None` until it is killed.
    pub duration: Option<Duration>,
    /// What goes for every command.
    pub common: Common,
}

/// How `stat` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table.
    Table,
    /// An object per line.
    Json,
    /// A line per syscall.
    Csv,
}

/// Whether colours are welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Never.
    Never,
}

impl Plan {
    /// Gives arguments their meaning, or says in one line what is wrong with them.
    pub(super) fn new(args: Args, environment: Environment) -> Result<Self, String> {
        let common = Common::new(args.common, environment)?;
        let Some(command) = args.command else {
            return Ok(Self::Top(TopPlan::new(args.top, common)?));
        };
        // Before the command they would mean `top`'s, and be lost.
        if let Some(option) = args.top.first_given() {
            return Err(format!(
                "{option} stands before the command: put it after, as in `syscost stat -p 1234`"
            ));
        }
        Ok(match command {
            CommandArgs::Top(top) => Self::Top(TopPlan::new(top, common)?),
            CommandArgs::Stat(stat) => Self::Stat(StatPlan::new(stat, common)?),
            CommandArgs::Check(CheckArgs { json }) => Self::Check(CheckPlan { json, common }),
            CommandArgs::Calibrate(CalibrateArgs { json }) => {
                Self::Calibrate(CalibratePlan { json, common })
            }
            CommandArgs::Demo(DemoArgs { seconds }) => {
                Self::Demo(DemoPlan { duration: time("--seconds", seconds.as_deref())?, common })
            }
        })
    }

    /// What goes for every command.
    pub fn common(&self) -> Common {
        match self {
            Self::Top(plan) => plan.common,
            Self::Stat(plan) => plan.common,
            Self::Check(plan) => plan.common,
            Self::Calibrate(plan) => plan.common,
            Self::Demo(plan) => plan.common,
        }
    }
}

impl Common {
    fn new(args: CommonArgs, environment: Environment) -> Result<Self, String> {
        let hooks = match args.hooks.as_str() {
            "auto" => HookChoice::Auto,
            "btf" => HookChoice::Btf,
            "perf" => HookChoice::Perf,
            "raw" => HookChoice::Raw,
            other => {
                return Err(format!("--hooks {other}: no such hooks; use auto, btf, perf or raw"));
            }
        };
        let Environment { no_color, ascii, dumb } = environment;
        let unwelcome = args.no_color || no_color || dumb;
        let color = if unwelcome { ColorChoice::Never } else { ColorChoice::Auto };
        let room = Room { targets: args.max_targets, groups: args.max_groups };
        Ok(Self { hooks, room, verbose: args.verbose, color, ascii, dumb })
    }
}

impl TopPlan {
    fn new(args: TopArgs, common: Common) -> Result<Self, String> {
        let target = TargetPlan::new(args.target)?;
        let filter = filter(args.filter)?;
        let interval = time("-i", args.interval.as_deref())?.unwrap_or(DEFAULT_INTERVAL);
        let budget = budget(&args.budget)?;
        Ok(Self { target, filter, interval, budget, common })
    }
}

impl StatPlan {
    fn new(args: StatArgs, common: Common) -> Result<Self, String> {
        let target = TargetPlan::new(args.target)?.ok_or(
            "no target: give a process with -p, all with -a, or a command after -- (for example \
             `syscost stat -p 1234`)",
        )?;
        if args.names {
            can_be_named(&target)?;
        }
        let filter = filter(args.filter)?;
        let by = GroupBy::from_id(&args.by).ok_or_else(|| {
            format!("--by {}: no such grouping; use one of {}", args.by, groups())
        })?;
        let duration = time("-d", args.duration.as_deref())?;
        let interval = time("-i", args.interval.as_deref())?;
        if let (Some(d), Some(i)) = (duration, interval)
            && i > d
        {
            return Err(format!(
                "-i {} is longer than -d {}: give a shorter interval or none",
                args.interval.unwrap_or_default(),
                args.duration.unwrap_or_default()
            ));
        }
        let sort = Key::from_id(&args.sort).ok_or_else(|| {
            format!("--sort {}: no such column; use one of {}", args.sort, sort_keys())
        })?;
        if by != GroupBy::Syscall && !sort.column().needs_no_histogram() {
            return Err(format!(
                "--sort {}: --by {} has no histograms; use one of {}",
                args.sort,
                args.by,
                sort_keys_of_groups()
            ));
        }
        Ok(Self {
            target,
            filter,
            by,
            duration,
            interval,
            format: match (args.json, args.csv) {
                (true, _) => Format::Json,
                (_, true) => Format::Csv,
                _ => Format::Table,
            },
            sort,
            reverse: args.reverse,
            top: top(args.top.as_deref())?,
            budget: budget(&args.budget)?,
            output: args.output.filter(|path| path.as_os_str() != "-"),
            names: args.names,
            common,
        })
    }
}

/// Whether the calls of the process that looks up names are not among those that are measured.
fn can_be_named(target: &TargetPlan) -> Result<(), String> {
    let option = match target {
        TargetPlan::Processes { .. }
        | TargetPlan::Threads(_)
        | TargetPlan::Command(_)
        | TargetPlan::Comm(_) => return Ok(()),
        TargetPlan::Cgroup(_) => "--cgroup",
        TargetPlan::Container(_) => "--container",
        TargetPlan::User(_) => "--uid",
        TargetPlan::Host => "-a",
    };
    Err(format!(
        "--names with {option}: the calls that look names up would be measured as well; use -p, -t, --comm or a command"
    ))
}

fn filter(args: FilterArgs) -> Result<Filter, String> {
    let mut filter = Filter::everything();
    if let Some(expression) = args.expression {
        filter = filter.with_calls(&expression).map_err(|error| format!("-e {error}"))?;
    }
    if args.failed {
        filter = filter.failed();
    }
    if let Some(list) = args.errno {
        filter = filter.with_errnos(&list).map_err(|error| format!("--errno {error}"))?;
    }
    Ok(filter)
}

fn budget(args: &BudgetArgs) -> Result<Option<MaxOverhead>, String> {
    let Some(text) = &args.max_overhead else { return Ok(None) };
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let most = 100_000.0;
    let milli = number.parse().map(|pct: f64| (pct * 1e3).round()).unwrap_or(f64::NAN);
    if !(1.0..=most).contains(&milli) {
        return Err(format!(
            "--max-overhead {text}: not a share of one CPU; it is above 0 and at most 100, such as \
             2% or 0.5%"
        ));
    }
    Ok(Some(MaxOverhead(milli as u32)))
}

fn top(text: Option<&str>) -> Result<Option<usize>, String> {
    let Some(text) = text else { return Ok(None) };
    let number = positive(text).and_then(|top| usize::try_from(top).ok());
    number.map(Some).ok_or_else(|| {
        format!("-n {text}: not a number of rows; it is at least 1 (leave it out for all)")
    })
}

fn time(option: &str, text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    match duration::parse(text) {
        None => Err(format!(
            "{option} {text}: not a duration; it is seconds or has a unit, such as 5, 1.5s, 500ms, 2m"
        )),
        Some(time) if time < SHORTEST => Err(format!("{option} {text}: too short; at least 10ms")),
        Some(time) if time > LONGEST => Err(format!("{option} {text}: too long; at most 8760h")),
        Some(time) => Ok(Some(time)),
    }
}
