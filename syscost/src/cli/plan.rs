//! What the user wants, validated: whoever holds a [`Plan`] need not check it again. Whether the
//! process exists and may be traced is not known here.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use super::{
    args::{Args, CheckArgs, CommandArgs, CommonArgs, DemoArgs, StatArgs, TopArgs, sort_keys},
    duration,
};
use crate::model::column::Key;
pub use crate::probe::HookChoice;

/// The shortest interval and duration. Below it, reading the maps would be most of the work.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest, so that no sum of times can overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Watch a process live.
    Top(TopPlan),
    /// Measure a process and print.
    Stat(StatPlan),
    /// Say whether this machine can trace.
    Check(CheckPlan),
    /// Run a small program to try syscost on.
    Demo(DemoPlan),
}

/// What goes for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Which kernel hooks to use.
    pub hooks: HookChoice,
    /// Whether to print the kernel's diagnostics to stderr.
    pub verbose: bool,
    /// Whether colours are welcome.
    pub color: ColorChoice,
}

/// `syscost top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopPlan {
    /// The process, as the user's PID namespace numbers it; in 1..=`i32::MAX`.
    pub pid: u32,
    /// How often to look.
    pub interval: Duration,
    /// What goes for every command.
    pub common: Common,
}

/// `syscost stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatPlan {
    /// The process, as the user's PID namespace numbers it; in 1..=`i32::MAX`.
    pub pid: u32,
    /// How long to measure; `None` until the user or the process ends it.
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
    /// For people.
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
    pub(super) fn new(args: Args, no_color: Option<&OsStr>) -> Result<Self, String> {
        let common = Common::new(args.common, no_color)?;
        let Some(command) = args.command else {
            return Ok(Self::Top(TopPlan::new(args.top, "syscost", common)?));
        };
        // Before the command they would mean `top`'s, and be lost.
        for (option, given) in [("-p", args.top.pid), ("-i", args.top.interval)] {
            if let Some(value) = given {
                return Err(format!(
                    "{option} {value} stands before the command: put it after, as in `syscost \
                     stat -p 1234`"
                ));
            }
        }
        Ok(match command {
            CommandArgs::Top(top) => Self::Top(TopPlan::new(top, "syscost top", common)?),
            CommandArgs::Stat(stat) => Self::Stat(StatPlan::new(stat, common)?),
            CommandArgs::Check(CheckArgs { json }) => Self::Check(CheckPlan { json, common }),
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
            Self::Demo(plan) => plan.common,
        }
    }
}

impl Common {
    fn new(args: CommonArgs, no_color: Option<&OsStr>) -> Result<Self, String> {
        let hooks = match args.hooks.as_str() {
            "auto" => HookChoice::Auto,
            "btf" => HookChoice::Btf,
            "raw" => HookChoice::Raw,
            other => return Err(format!("--hooks {other}: no such hooks; use auto, btf or raw")),
        };
        // https://no-color.org: an empty value does not count.
        let unwelcome = args.no_color || no_color.is_some_and(|value| !value.is_empty());
        let color = if unwelcome { ColorChoice::Never } else { ColorChoice::Auto };
        Ok(Self { hooks, verbose: args.verbose, color })
    }
}

impl TopPlan {
    fn new(args: TopArgs, command: &str, common: Common) -> Result<Self, String> {
        let pid = pid(args.pid.as_deref(), command)?;
        let interval = time("-i", args.interval.as_deref())?.unwrap_or(DEFAULT_INTERVAL);
        Ok(Self { pid, interval, common })
    }
}

impl StatPlan {
    fn new(args: StatArgs, common: Common) -> Result<Self, String> {
        let pid = pid(args.pid.as_deref(), "syscost stat")?;
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
        Ok(Self {
            pid,
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
            output: args.output.filter(|path| path.as_os_str() != "-"),
            common,
        })
    }
}

fn pid(text: Option<&str>, command: &str) -> Result<u32, String> {
    let Some(text) = text else {
        return Err(format!("no target: give a PID with -p (for example `{command} -p 1234`)"));
    };
    let number = positive(text).filter(|pid| *pid <= i32::MAX as u64);
    number.map(|pid| pid as u32).ok_or_else(|| {
        format!("-p {text}: not a PID; it is a number from 1 to {} (see `ps -e`)", i32::MAX)
    })
}

fn top(text: Option<&str>) -> Result<Option<usize>, String> {
    let Some(text) = text else { return Ok(None) };
    let number = positive(text).and_then(|top| usize::try_from(top).ok());
    number.map(Some).ok_or_else(|| {
        format!("-n {text}: not a number of rows; it is at least 1 (leave it out for all)")
    })
}

/// Digits that make a number above 0. Signs are not digits.
fn positive(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number > 0)
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
