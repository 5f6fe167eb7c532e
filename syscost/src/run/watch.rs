//! Watches one source on the live screen, until the user wants something else.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::{KEEP_UP, child::Child, keeper::Keeper, signals::Signals};
use crate::{
    model::Model,
    probe::Hooks,
    sample::Sample,
    source::{Live, Source},
    view::tui::{self, Effect, Event, Input, Term, UiState},
};

/// What the user wants next.
pub(super) enum Next {
    /// Nothing more.
    Quit,
    /// To watch this process.
    Attach(u32),
    /// To return to the list of processes.
    Leave,
}

/// Who else is there while the screen is the terminal's.
pub(super) struct Around<'a> {
    pub(super) term: &'a mut Term,
    pub(super) signals: &'a mut Signals,
    pub(super) child: &'a mut Child,
}

/// What a person should know of how `source` measures.
pub(super) fn notes(source: &Live) -> Vec<String> {
    match source.hooks() {
        Hooks::Raw { tells_abi: false, .. } => {
            vec!["no kernel BTF: 32-bit calls are shown as 64-bit ones".to_owned()]
        }
        Hooks::Btf { because: Some(_) } => {
            vec!["calls can be lost here: see `syscost check`".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// Shows `source` anew every `every`, within the budget that `keeper` keeps.
///
/// # Errors
/// When the terminal or the kernel fails.
pub(super) async fn watch(
    mut source: impl Source,
    mut keeper: Option<Keeper>,
    every: Duration,
    mut notes: Vec<String>,
    ui: &mut UiState,
    Around { term, signals, child }: Around<'_>,
) -> Result<Next> {
    let mut input = Input::new();
    let own_notes = notes.len();
    let mut tick = interval(every.min(KEEP_UP));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut history = History::begin(source.sample()?, every);
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
                None => return Ok(Next::Quit),
                Some(Event::Resize(width, height)) => ui.resize(width, height),
                Some(Event::Action(action)) => match tui::update(ui, action, &live) {
                    None => {}
                    Some(Effect::Quit) => return Ok(Next::Quit),
                    Some(Effect::Interrupt) if child.interrupt() => {}
                    Some(Effect::Interrupt) => return Ok(Next::Quit),
                    Some(Effect::Attach(pid)) => return Ok(Next::Attach(pid)),
                    Some(Effect::Leave) => return Ok(Next::Leave),
                    Some(Effect::Redraw) => term.clear()?,
                    Some(Effect::Suspend) => {
                        term.suspend()?;
                        term.resume()?;
                    }
                },
                Some(Event::Other) => {}
            },
            signal = signals.next() => if !child.takes(signal) {
                return Ok(Next::Quit);
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
                if let Some(keeper) = &mut keeper {
                    keeper.keep(&mut source).await?;
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
    fn begin(first: Sample, interval: Duration) -> Self {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
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
