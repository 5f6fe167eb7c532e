//! `syscost top`: the live screen.

use std::io;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    KEEP_UP, attach,
    child::Child,
    find::{Found, find},
    request,
    signals::Signals,
};
use crate::{
    cli::{ColorChoice, TopPlan, exit},
    group::GroupBy,
    model::Model,
    probe::Hooks,
    sample::Sample,
    source::Source,
    target::command::{Command, Stdio},
    view::{
        format,
        tui::{self, Effect, Event, Input, Term, UiState},
    },
};

pub(super) async fn run(plan: &TopPlan) -> Result<u8> {
    if let Err(error) = Term::check() {
        eprintln!("syscost: {error}");
        return Ok(exit::USAGE);
    }
    let Found { target, command } =
        find(plan.target.as_ref().context("no target")?, Stdio::Captured)?;
    let mut signals = Signals::catch()?;
    let request = request(&target, &plan.filter, GroupBy::Syscall, &plan.common);
    let source = attach(target, &request)?;
    let mut child = Child::release(command)?;
    let mut notes = Vec::new();
    if let Hooks::Raw { tells_abi: false, .. } = source.hooks() {
        notes.push("no kernel BTF: 32-bit calls are shown as 64-bit ones".to_owned());
    }
    let mut term = Term::open()?;
    let mut ui = UiState::new(plan.common.color == ColorChoice::Never);
    let watched = watch(plan, source, notes, &mut signals, &mut child, &mut term, &mut ui).await;
    drop(term);
    // Nobody watches any more: what was started to be watched ends.
    child.signal(Signal::SIGTERM);
    let code = child.wait(&mut signals).await;
    if let Some(command) = child.command() {
        offer_output(command)?;
    }
    watched.map(|()| code)
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

async fn watch(
    plan: &TopPlan,
    mut source: impl Source,
    mut notes: Vec<String>,
    signals: &mut Signals,
    child: &mut Child,
    term: &mut Term,
    ui: &mut UiState,
) -> Result<()> {
    let mut input = Input::new();
    let own_notes = notes.len();
    let mut tick = interval(plan.interval.min(KEEP_UP));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut history = History::begin(source.sample()?, plan);
    let mut exited = false;
    let (width, height) = term.size()?;
    ui.resize(width, height);
    let mut live = history.live(&notes);
    loop {
        term.draw(ui, &live)?;
        tokio::select! {
            biased;
            event = input.next(ui) => match event? {
                // The terminal is gone: nobody is looking any more.
                None => return Ok(()),
                Some(Event::Resize(width, height)) => ui.resize(width, height),
                Some(Event::Action(action)) => match tui::update(ui, action, &live) {
                    None => {}
                    Some(Effect::Quit) => return Ok(()),
                    Some(Effect::Redraw) => term.clear()?,
                    Some(Effect::Suspend) => {
                        term.suspend()?;
                        term.resume()?;
                    }
                },
                Some(Event::Other) => {}
            },
            signal = signals.next() => if !child.takes(signal) {
                return Ok(());
            },
            () = source.exit(), if !exited => {
                // An event, not an error: the last state stays on the screen.
                exited = true;
                history.end(source.finish()?);
                live = history.live(&notes);
            }
            _ = tick.tick(), if !exited => {
                let told = source.diagnostics().pop();
                if let Some(latest) = told {
                    notes.truncate(own_notes);
                    notes.push(latest);
                }
                if history.advance(source.sample()?) {
                    live = history.live(&notes);
                }
            }
        }
    }
}

/// The samples that the two windows are made of.
struct History {
    latest: Sample,
    previous: Option<Sample>,
    interval_ns: u64,
}

impl History {
    fn begin(first: Sample, plan: &TopPlan) -> Self {
        let interval_ns = u64::try_from(plan.interval.as_nanos()).unwrap_or(u64::MAX);
        Self { latest: first, previous: None, interval_ns }
    }

    /// Takes in a sample. `false` when it is only to keep up with the counters: the interval is
    /// not over yet.
    fn advance(&mut self, sample: Sample) -> bool {
        // A tick may come a little early by the sample's own clock.
        let due = self.latest.at_ns + self.interval_ns - self.interval_ns / 16;
        if sample.at_ns < due {
            return false;
        }
        self.previous = Some(std::mem::replace(&mut self.latest, sample));
        true
    }

    /// Takes in the last sample. What came after the one before it is shown as the last interval,
    /// unless that is too short to say anything.
    fn end(&mut self, last: Sample) {
        let enough =
            self.previous.is_none() || last.at_ns >= self.latest.at_ns + self.interval_ns / 2;
        if enough {
            self.previous = Some(std::mem::replace(&mut self.latest, last));
        } else {
            self.latest = last;
        }
    }

    fn live(&self, notes: &[String]) -> tui::Live {
        let since_attach = Model::since_attach(&self.latest);
        let interval = match &self.previous {
            Some(previous) => Model::interval(&self.latest, previous),
            None => since_attach.clone(),
        };
        tui::Live { interval, since_attach, notes: notes.to_vec() }
    }
}
