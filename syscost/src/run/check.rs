//! `syscost check`: prints the preflight report.

use std::{fs::File, os::fd::AsRawFd, time::Duration};

use anyhow::{Context, Result, bail};

use super::runtime;
use crate::{
    cli::CheckPlan,
    enrich::{Answer, Backing, Helper, Name, Names, NotStarted, Object, Process, Question, Turn},
    exit, message,
    preflight::Finding,
    probe::preflight,
    view::{ascii, report},
};

pub(super) fn run(plan: &CheckPlan) -> Result<u8> {
    // First: it is a copy of this process, which has loaded nothing yet.
    let helper = Helper::start();
    let mut report = preflight::check(plan.common.hooks);
    report.findings.push(names(helper));
    let text = if plan.json { report::json(&report) } else { report::text(&report) };
    let text = if plan.common.ascii && !plan.json { ascii::text(&text) } else { text };
    message::print(&text)?;
    Ok(if report.works() { exit::OK } else { exit::TRACING_FAILED })
}

/// How long to wait for both answers. They take a millisecond.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the helper can tell what descriptors and addresses are: those of this process, which is closed to all
/// that have no CAP_SYS_PTRACE.
fn names(helper: Result<Helper, NotStarted>) -> Finding {
    let subject = "names";
    let cannot = "cannot be told what descriptors and addresses of other processes are";
    let helper = match helper {
        Ok(helper) => helper,
        Err(why) => return Finding::limited(subject, format!("{cannot}: {why}")),
    };
    match runtime().and_then(|runtime| runtime.block_on(trial(helper))) {
        Ok(()) => Finding::good(
            subject,
            "a helper that keeps CAP_SYS_PTRACE only tells what descriptors and addresses of other \
             processes are"
                .to_owned(),
        ),
        Err(error) => Finding::limited(subject, format!("{cannot}: {error:#}")),
    }
}

/// Asks for the file of this program, by a descriptor and by an address in its code.
async fn trial(helper: Helper) -> Result<()> {
    let program = File::open("/proc/self/exe").context("cannot open /proc/self/exe")?;
    let of = Process::now(std::process::id()).context("cannot read /proc/self/stat")?;
    let mut names = Names::new(Ok(helper)).context("cannot wait for the helper")?;
    let descriptor = Question::Descriptor { of, fd: program.as_raw_fd() as u32 };
    let address = Question::Address { of, address: run as fn(_) -> _ as usize as u64 };
    // What is no file is asked again, until the time is over.
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    loop {
        let file = match look(&mut names, descriptor)? {
            Some(Answer::Object(object)) => matches!(object, Object::File { .. }),
            _ => false,
        };
        let mapped = match look(&mut names, address)? {
            Some(Answer::Mapping(mapping)) => matches!(mapping.backing, Backing::File { .. }),
            _ => false,
        };
        if file && mapped {
            return Ok(());
        }
        tokio::select! {
            turn = names.turn() => if let Turn::Ended(what) = turn { bail!("{what}") },
            () = &mut patience => bail!("the helper does not know this program's file"),
        }
    }
}

/// The answer; `None` as long as there is none.
fn look(names: &mut Names, question: Question) -> Result<Option<Answer>> {
    match names.look(question) {
        Name::Pending => Ok(None),
        Name::Known(answer) => Ok(Some(answer.clone())),
        Name::Unknown(reason) => Err(reason.into()),
    }
}
