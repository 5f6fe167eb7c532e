//! Finds the target that the user named.

use anyhow::Result;

use crate::{
    cli::TargetPlan,
    decode::printable::external,
    message,
    target::{
        Process, Target,
        cgroup::Cgroup,
        command::{Command, SpawnError, Stdio},
        container::Container,
        thread::Thread,
        user::User,
    },
};

/// A target. If it is a command, that waits to be released.
pub(super) struct Found {
    pub(super) target: Target,
    pub(super) command: Option<Command>,
}

/// Finds the target. A command is started, and waits; `stdio` says where it reads and writes.
///
/// # Errors
/// When there is no such target; a [`SpawnError`] when a command cannot be run.
pub(super) fn find(plan: &TargetPlan, stdio: Stdio) -> Result<Found> {
    if let TargetPlan::Command(argv) = plan {
        let command = Command::spawn(argv, stdio)?;
        let process = Process::resolve(command.pid())?;
        let words: Vec<_> = argv.iter().map(|word| external(word.as_encoded_bytes())).collect();
        let target = Target::Command { process, line: words.join(" ") };
        return Ok(Found { target, command: Some(command) });
    }
    let target = match plan {
        TargetPlan::Processes { pids, follow } => Target::processes_of(pids, *follow)?,
        TargetPlan::Threads(tids) => {
            Target::Threads(tids.iter().map(|tid| Thread::resolve(*tid)).collect::<Result<_>>()?)
        }
        TargetPlan::Comm(name) => Target::Comm(name.clone()),
        TargetPlan::Cgroup(path) => Target::Cgroup(Cgroup::resolve(path)?),
        TargetPlan::Container(name) => Target::Container(Container::resolve(name)?),
        TargetPlan::User(name) => Target::User(User::resolve(name)?),
        TargetPlan::Host => Target::Host,
        TargetPlan::Command(_) => unreachable!("a command is found above"),
    };
    if let Target::Processes { given, .. } = &target {
        for process in given {
            if let Some(tid) = process.asked_for_thread {
                message::say(format_args!(
                    "{tid} is a thread of process {} ({}); measuring the process (-t \
                     {tid} measures the thread)",
                    process.pid, process.comm
                ));
            }
        }
    }
    Ok(Found { target, command: None })
}

/// The code to exit with if `error` is that a command cannot be run: the code that a shell uses.
pub(super) fn exit_code(error: &anyhow::Error) -> Option<u8> {
    error.downcast_ref::<SpawnError>().map(SpawnError::exit_code)
}
