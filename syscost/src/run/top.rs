//! `syscost top`: the live screen.

use std::io;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{
    attach, calibrated,
    child::Child,
    find::{Found, find},
    keeper::Keeper,
    measure_cost,
    privileges::{For, LaidAside},
    request, settle,
    signals::Signals,
    watch::{Around, Next, notes, watch},
};
use crate::{
    cli::{ColorChoice, TargetPlan, TopPlan, exit},
    group::GroupBy,
    source::Live,
    target::{
        Target,
        command::{Command, Stdio},
    },
    view::{
        format,
        tui::{Term, UiState},
    },
};

pub(super) async fn run(plan: &TopPlan) -> Result<u8> {
    if let Err(error) = Term::check() {
        eprintln!("syscost: {error}");
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
    let (source, keeper) = attach(target, &request, plan.budget_pct())?;
    let mut child = Child::release(command)?;
    let mut term = Term::open()?;
    let mut ui = UiState::new(no_color(plan));
    let around = Around { term: &mut term, signals: &mut signals, child: &mut child };
    let notes = notes(&source);
    let watched = watch(source, keeper, plan.interval, notes, &mut ui, around).await;
    drop(term);
    // Nobody watches any more: what was started to be watched ends.
    child.signal(Signal::SIGTERM);
    let code = child.wait(&mut signals).await;
    if let Some(command) = child.command() {
        offer_output(command)?;
    }
    watched.map(|_| code)
}

/// The list of the host's processes, and the screens of those that are chosen from it.
async fn browse(plan: &TopPlan) -> Result<u8> {
    let mut signals = Signals::catch()?;
    let mut child = Child::none();
    let mut attaching = Attaching { aside: None };
    let (mut source, mut keeper) = attaching.list(plan).context(
        "cannot list the processes by their system calls (without a list: name a process with -p)",
    )?;
    let mut term = Term::open()?;
    let mut list = UiState::processes(no_color(plan));
    loop {
        let notes = notes(&source);
        let around = Around { term: &mut term, signals: &mut signals, child: &mut child };
        // The list's programs go before the process's come: nobody pays for both.
        let Next::Attach(pid) =
            watch(source, keeper, plan.interval, notes, &mut list, around).await?
        else {
            return Ok(exit::OK);
        };
        match attaching.process(plan, pid) {
            Err(error) => list.fail(format!("{error:#}")),
            Ok((source, keeper)) => {
                let mut ui = UiState::chosen(no_color(plan));
                let notes = self::notes(&source);
                let around = Around { term: &mut term, signals: &mut signals, child: &mut child };
                let next = watch(source, keeper, plan.interval, notes, &mut ui, around).await?;
                if !matches!(next, Next::Leave) {
                    return Ok(exit::OK);
                }
            }
        }
        (source, keeper) = attaching.list(plan)?;
    }
}

fn no_color(plan: &TopPlan) -> bool {
    plan.common.color == ColorChoice::Never
}

/// Attaches more than once.
struct Attaching {
    /// What that takes, once there was an occasion to lay it aside.
    aside: Option<LaidAside>,
}

impl Attaching {
    fn list(&mut self, plan: &TopPlan) -> Result<(Live, Option<Keeper>)> {
        self.attach(plan, GroupBy::Process, || Ok(Target::Host))
    }

    fn process(&mut self, plan: &TopPlan, pid: u32) -> Result<(Live, Option<Keeper>)> {
        let named = TargetPlan::Processes { pids: vec![pid], follow: false };
        self.attach(plan, GroupBy::Syscall, || Ok(find(&named, Stdio::Inherit)?.target))
    }

    fn attach(
        &mut self,
        plan: &TopPlan,
        by: GroupBy,
        find: impl FnOnce() -> Result<Target>,
    ) -> Result<(Live, Option<Keeper>)> {
        if let Some(aside) = &self.aside {
            aside.take_up()?;
        }
        let attached = find().and_then(|target| {
            let request = request(&target, &plan.filter, by, &plan.common);
            let mut source = Live::attach(target, &request, calibrated())?;
            measure_cost(&mut source, plan.budget_pct())?;
            Ok(source)
        });
        let purpose = For { attaching: true, budget: plan.budget_pct().is_some() };
        let (attached, aside) = match attached {
            Ok(mut source) => {
                let aside = LaidAside::lay(purpose, settle(&mut source))?;
                (Ok(source), aside)
            }
            Err(error) => (Err(error), LaidAside::lay(purpose, || true)?),
        };
        let keeper = |at_most_pct| Keeper::new(at_most_pct, aside.clone());
        let keeper = plan.budget_pct().map(keeper);
        self.aside = Some(aside);
        Ok((attached?, keeper))
    }
}

/// What the command has written while the screen was the terminal's.
fn offer_output(command: &mut Command) -> Result<()> {
    let Some(mut output) = command.output()? else { return Ok(()) };
    let bytes = output.metadata()?.len();
    if bytes == 0 {
        return Ok(());
    }
    eprint!("syscost: the command wrote {} bytes; show them? [Y/n] ", format::full(bytes));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if !answer.trim_start().starts_with(['n', 'N']) {
        io::copy(&mut output, &mut io::stdout().lock()).context("cannot show the output")?;
    }
    Ok(())
}
