//! What to measure, as the user named it. Whether it exists is not known here.

use std::{ffi::OsString, path::PathBuf};

use super::{
    args::TargetArgs,
    number::{natural, positive},
};

/// The length of the longest name a thread can have, in bytes (`TASK_COMM_LEN` less the
/// terminator, include/linux/sched.h).
const COMM_BYTES: usize = 15;

/// The highest UID; the one after it means none (`(uid_t) -1`).
const HIGHEST_UID: u64 = u32::MAX as u64 - 1;

/// What to measure, as the user named it. Whether it exists is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPlan {
    /// Processes.
    Processes {
        /// At least one, each once, as the user's PID namespace numbers them; in 1..=`i32::MAX`.
        pids: Vec<u32>,
        /// Whether their children are measured too.
        follow: bool,
    },
    /// Threads by TID: at least one, each once, numbered like PIDs.
    Threads(Vec<u32>),
    /// A command to run: the program and its arguments, so never empty. Its children are always
    /// measured.
    Command(Vec<OsString>),
    /// All processes whose first thread has this name of 1 to 15 bytes.
    Comm(String),
    /// All processes in a cgroup: a directory or a path inside the hierarchy; not empty.
    Cgroup(PathBuf),
    /// All processes of a container: its ID, the beginning of it, or its name; not empty.
    Container(String),
    /// All processes of a user: a UID or a name; not empty.
    User(String),
    /// All processes of the machine.
    Host,
}

impl TargetPlan {
    /// The one target of `args`; `None` where none is given.
    pub(super) fn new(args: TargetArgs) -> Result<Option<Self>, String> {
        if let [first, second, ..] = args.targets().as_slice() {
            return Err(format!("{first} and {second}: one target at a time; leave one out"));
        }
        let target = if !args.pid.is_empty() {
            Some(Self::Processes {
                pids: ids("-p", "PID", "ps -e", &args.pid)?,
                follow: args.follow,
            })
        } else if !args.tid.is_empty() {
            Some(Self::Threads(ids("-t", "TID", "ps -eL", &args.tid)?))
        } else if let Some(name) = args.comm {
            Some(Self::Comm(comm(name)?))
        } else if let Some(path) = args.cgroup {
            Some(Self::Cgroup(path))
        } else if let Some(container) = args.container {
            if container.is_empty() {
                return Err("--container: no container given; name it or give its ID".into());
            }
            Some(Self::Container(container))
        } else if let Some(user) = args.uid {
            Some(Self::User(self::user(user)?))
        } else if args.all {
            Some(Self::Host)
        } else if !args.command.is_empty() {
            Some(Self::Command(args.command))
        } else {
            None
        };
        if args.follow {
            follow(target.as_ref())?;
        }
        Ok(target)
    }
}

/// Whether -f makes sense with `target`. A command is followed anyway, so that asking for it does
/// no harm.
fn follow(target: Option<&TargetPlan>) -> Result<(), String> {
    let advice = match target {
        Some(TargetPlan::Processes { .. } | TargetPlan::Command(_)) => return Ok(()),
        Some(TargetPlan::Cgroup(_)) => "a cgroup contains all children anyway; leave -f out",
        Some(TargetPlan::Container(_)) => "a container contains all children anyway; leave -f out",
        Some(TargetPlan::Host) => "-a has all processes anyway; leave -f out",
        Some(TargetPlan::Threads(_) | TargetPlan::Comm(_) | TargetPlan::User(_)) | None => {
            "it adds the children of the processes given with -p, as in `syscost -p 1234 -f`"
        }
    };
    Err(format!("-f needs -p: {advice}"))
}

/// The numbers in `lists`, which commas or, as from `pidof`, spaces separate: each once, in their
/// order. `kind` says what they are, `see` shows those there are.
fn ids(option: &str, kind: &str, see: &str, lists: &[String]) -> Result<Vec<u32>, String> {
    let mut ids = Vec::new();
    for list in lists {
        let separator = |c: char| c == ',' || c.is_ascii_whitespace();
        for text in list.split(separator).filter(|text| !text.is_empty()) {
            let id = positive(text).and_then(|id| i32::try_from(id).ok()).ok_or_else(|| {
                let advice = if kind == "PID" && is_name(text) {
                    format!("a process is named with --comm {text}")
                } else {
                    format!("it is a number from 1 to {} (see `{see}`)", i32::MAX)
                };
                format!("{option} {text}: not a {kind}; {advice}")
            })?;
            let id = id.unsigned_abs();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    if ids.is_empty() {
        return Err(format!("{option}: no {kind} given; see `{see}` for those there are"));
    }
    Ok(ids)
}

/// Whether `text` looks like the name of a process.
fn is_name(text: &str) -> bool {
    text.len() <= COMM_BYTES && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn comm(name: String) -> Result<String, String> {
    if name.is_empty() {
        return Err("--comm: no name given; see `ps -eo comm` for those there are".to_owned());
    }
    if name.len() <= COMM_BYTES {
        return Ok(name);
    }
    let advice = match name.get(..COMM_BYTES) {
        Some(cut) => format!("use --comm '{cut}'"),
        // What the kernel keeps is not text then, and no argument can match it.
        None => {
            "the cut goes through a character of this one, so name the processes with -p".into()
        }
    };
    Err(format!("--comm {name}: too long; the kernel cuts names to {COMM_BYTES} bytes: {advice}"))
}

fn user(user: String) -> Result<String, String> {
    if user.is_empty() {
        return Err("--uid: no user given; name one or give a UID".to_owned());
    }
    let numeric = user.bytes().all(|byte| byte.is_ascii_digit());
    let possible = if numeric {
        natural(&user).is_some_and(|uid| uid <= HIGHEST_UID)
    } else {
        !user.starts_with(['-', '+'])
    };
    if !possible {
        return Err(format!(
            "--uid {user}: not a user; it is a name or a number from 0 to {HIGHEST_UID}"
        ));
    }
    Ok(user)
}
