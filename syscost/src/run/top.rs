//! `syscost top`: the live screen.

use std::{io, thread};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::{
    attach, calibrated,
    child::Child,
    driver::{Session, Upkeep},
    find::{Found, find},
    jobs::Jobs,
    keeper::Keeper,
    measure_cost,
    privileges::{Purpose, SetAside},
    request,
    signals::Signals,
    still_reads,
    watch::{Around, Next, notes, watch},
};
use crate::{
    cli::{ColorChoice, TargetPlan, TopPlan},
    costs::Costs,
    exit,
    group::GroupBy,
    inherited, message,
    source::Live,
    target::{
        Target,
        capture::Output,
        command::{Command, Stdio},
    },
    view::{
        format,
        tui::{Term, UiState},
    },
    writer::Writer,
};

pub(super) async fn run(plan: &TopPlan) -> Result<u8> {
    if let Err(error) = Term::check() {
        message::say(error);
        return Ok(exit::USAGE);
    }
    if plan.common.dumb {
        message::say(
            "the live screen needs a terminal that can move its cursor, and TERM=dumb says \
             that this one cannot: use `syscost stat -i 1` with the same target",
        );
        return Ok(exit::USAGE);
    }
    match &plan.target {
        Some(target) => show(plan, target).await,
        None => browse(plan).await,
    }
}

/// The screen of a target that the user has named.
async fn show(plan: &TopPlan, target: &TargetPlan) -> Result<u8> {
    let Found { target, command } = find(target, Stdio::Captured)?;
    let mut signals = Signals::catch()?;
    let request = request(&target, &plan.filter, GroupBy::Syscall, &plan.common);
    let mut session = attach(target, &request, plan.budget_pct(), None)?;
    message::in_background();
    let mut child = Child::release(command, &mut session.source)?;
    let mut jobs = Jobs::catch()?;
    let mut term = Term::open()?;
    let mut ui = UiState::new(no_color(plan)).in_ascii(plan.common.ascii);
    let notes = notes(&session.source);
    let watched = {
        let (term, signals, jobs) = (&mut term, &mut signals, &mut jobs);
        let around = Around { term, signals, jobs, child: &mut child };
        watch(session, plan.interval, notes, &mut ui, around).await
    };
    drop(term);
    drop(jobs);
    // The command was started to be watched, so it ends with the screen.
    child.signal(Signal::SIGTERM);
    let code = child.wait(&mut signals, true).await;
    let next = watched?;
    if let (Next::Quit, Some(command)) = (&next, child.command()) {
        offer_output(command, &mut signals).await?;
    }
    Ok(if child.is_there() { code } else { exit_code(&next) })
}

/// The code to exit with if there is no command.
fn exit_code(next: &Next) -> u8 {
    match next {
        // These signals do not ask for an end in good order.
        Next::Signal(signal) if !matches!(signal, Signal::SIGINT | Signal::SIGTERM) => {
            exit::KILLED + *signal as u8
        }
        _ => exit::OK,
    }
}

/// The list of the host's processes, and the screen of each process that is chosen from it.
async fn browse(plan: &TopPlan) -> Result<u8> {
    let mut signals = Signals::catch()?;
    let mut child = Child::none();
    let mut attaching = Attaching { aside: None };
    let mut session = attaching.list(plan).context(
        "cannot list the processes by their system calls (without a list: name a process with -p)",
    )?;
    message::in_background();
    let mut jobs = Jobs::catch()?;
    let mut term = Term::open()?;
    let mut list = UiState::processes(no_color(plan)).in_ascii(plan.common.ascii);
    loop {
        let notes = notes(&session.source);
        let (term, signals, jobs) = (&mut term, &mut signals, &mut jobs);
        let around = Around { term, signals, jobs, child: &mut child };
        // The list's programs are detached before those for the process are attached: calls pay for one of them only.
        let next = watch(session, plan.interval, notes, &mut list, around).await?;
        let Next::Attach(pid) = next else { return Ok(exit_code(&next)) };
        match attaching.process(plan, pid) {
            Err(error) => list.fail(format!("{error:#}")),
            Ok(session) => {
                let mut ui = UiState::chosen(no_color(plan)).in_ascii(plan.common.ascii);
                let notes = self::notes(&session.source);
                let around = Around { term, signals, jobs, child: &mut child };
                let next = watch(session, plan.interval, notes, &mut ui, around).await?;
                if !matches!(next, Next::Leave) {
                    return Ok(exit_code(&next));
                }
            }
        }
        session = attaching.list(plan)?;
    }
}

fn no_color(plan: &TopPlan) -> bool {
    plan.common.color == ColorChoice::Never
}

/// Attaches again and again.
struct Attaching {
    /// The capabilities that attaching needs; `None` before the first time.
    aside: Option<SetAside>,
}

impl Attaching {
    fn list(&mut self, plan: &TopPlan) -> Result<Session<Live>> {
        self.attach(plan, GroupBy::Process, || Ok(Target::Host))
    }

    fn process(&mut self, plan: &TopPlan, pid: u32) -> Result<Session<Live>> {
        let named = TargetPlan::Processes { pids: vec![pid], follow: false };
        self.attach(plan, GroupBy::Syscall, || Ok(find(&named, Stdio::Inherit)?.target))
    }

    fn attach(
        &mut self,
        plan: &TopPlan,
        by: GroupBy,
        find: impl FnOnce() -> Result<Target>,
    ) -> Result<Session<Live>> {
        if let Some(aside) = &self.aside {
            aside.raise()?;
        }
        let attached = find().and_then(|target| {
            let request = request(&target, &plan.filter, by, &plan.common);
            let mut source = Live::attach(target, &request)?;
            let programs = measure_cost(&mut source, plan.budget_pct())?;
            Ok((source, Costs { calibrated: calibrated(), programs }))
        });
        let purpose = Purpose { attaching: true, budget: plan.budget_pct().is_some() };
        let (attached, aside) = match attached {
            Ok((mut source, costs)) => {
                let aside = SetAside::for_purpose(purpose, still_reads(&mut source))?;
                (Ok((source, costs)), aside)
            }
            Err(error) => (Err(error), SetAside::for_purpose(purpose, || true)?),
        };
        let keeper = |at_most_pct| Keeper::new(at_most_pct, aside.clone());
        let keeper = plan.budget_pct().map(keeper);
        self.aside = Some(aside);
        let (source, costs) = attached?;
        let upkeep = keeper.map(|keeper| Box::new(keeper) as Box<dyn Upkeep<Live>>);
        Ok(Session { source, upkeep, costs })
    }
}

/// Offers to show what the command has written while the screen was on the terminal. A signal ends that.
async fn offer_output(command: &Command, signals: &mut Signals) -> Result<()> {
    let Some(Output { tail, written }) = command.output() else { return Ok(()) };
    if written == 0 {
        return Ok(());
    }
    let (all, kept) = (format::full(written), format::full(tail.len() as u64));
    let which = if written > tail.len() as u64 {
        format!("the last {kept} of them")
    } else {
        "them".to_owned()
    };
    message::raw(&format!("syscost: the command wrote {all} bytes; show {which}? [Y/n] "));
    let answer = tokio::select! {
        answer = line_of_stdin() => answer,
        _ = signals.next() => None,
    };
    let Some(answer) = answer else { return Ok(()) };
    if answer.trim_start().starts_with(['n', 'N']) {
        return Ok(());
    }
    let writer = message::stdout_file().and_then(Writer::start);
    let writer = writer.context("cannot show the output")?;
    writer.push(tail);
    tokio::select! {
        () = writer.idle() => {}
        _ = signals.next() => {}
    }
    Ok(())
}

/// A line from the terminal; `None` where it cannot be read.
async fn line_of_stdin() -> Option<String> {
    let (answer, answered) = oneshot::channel();
    // A read from a terminal cannot be cancelled, so the thread ends with the process.
    let read = move || {
        inherited::drop_capabilities();
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        let _ = answer.send(read.ok().map(|_| line));
    };
    thread::Builder::new().spawn(read).ok()?;
    answered.await.ok().flatten()
}
