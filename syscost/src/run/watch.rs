//! Shows one source on the live screen, until the user wants something else.

use std::{io, ops::ControlFlow, time::Duration};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{
    child::Child,
    driver::{self, At, End, Program, Session, drive},
    jobs::{Job, Jobs},
    schedule::Pace,
    signals::Signals,
};
use crate::{
    model::{History, history::Limits},
    request::Hooks,
    source::{self, Live, Source},
    view::tui::{self, Effect, Event, Input, Term, UiState},
};

/// The screen shows nothing before this has passed: rates over less time say nothing.
const FIRST: Duration = Duration::from_millis(200);

/// What the user wants next.
pub(super) enum Next {
    /// To quit.
    Quit,
    /// To end because of this signal.
    Signal(Signal),
    /// To watch this process.
    Attach(u32),
    /// To return to the list of processes.
    Leave,
}

/// What else there is while the screen is on the terminal.
pub(super) struct Around<'a> {
    pub(super) term: &'a mut Term,
    pub(super) signals: &'a mut Signals,
    pub(super) jobs: &'a mut Jobs,
    pub(super) child: &'a mut Child,
}

/// What a user should know about how `source` measures.
pub(super) fn notes(source: &Live) -> Vec<String> {
    match source.hooks() {
        Hooks::Raw { tells_abi: false, .. } => {
            vec!["no kernel BTF: 32-bit calls are shown as 64-bit ones".to_owned()]
        }
        Hooks::Raw { forced: false, .. } => {
            vec!["raw hooks, which tell less: see `syscost check`".to_owned()]
        }
        Hooks::Btf { because: Some(_) } => {
            vec!["calls can be lost here: see `syscost check`".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// Shows the session anew every `every`.
///
/// # Errors
/// When the terminal or the kernel fails.
pub(super) async fn watch(
    session: Session<impl Source>,
    every: Duration,
    notes: Vec<String>,
    ui: &mut UiState,
    Around { term, signals, jobs, child }: Around<'_>,
) -> Result<Next> {
    if let Some((width, height)) = term.size() {
        ui.resize(width, height);
    }
    let own_notes = notes.len();
    let input = Input::listen().context("cannot read the keys")?;
    let mut screen =
        Screen { term, input, jobs, ui, notes, own_notes, live: None, is_behind: false, errors: 0 };
    let pace = Pace { every: Some(every), lasting: None, first: Some(every.min(FIRST)) };
    let around = driver::Around { pace, signals, child };
    Ok(match drive(session, &mut screen, around).await? {
        End::Program(next) => next,
        End::Signal(signal) => Next::Signal(signal),
        End::Exited | End::Time => Next::Quit,
    })
}

/// The live screen of one source.
struct Screen<'a> {
    term: &'a mut Term,
    input: Input,
    jobs: &'a mut Jobs,
    ui: &'a mut UiState,
    notes: Vec<String>,
    /// The first so many notes are about how the source measures, and stay.
    own_notes: usize,
    /// What is shown; `None` before the first sample to be shown.
    live: Option<tui::Live>,
    /// Whether the terminal has not taken the latest frame yet.
    is_behind: bool,
    /// How many times in a row the terminal could not be read.
    errors: u32,
}

/// What the screen waits for.
enum Happened {
    /// Input came from the terminal.
    Input(io::Result<Option<Event>>),
    /// The program is stopped or continued.
    Job(Job),
    /// The terminal has taken the latest frame.
    Ready,
    /// The terminal is gone.
    Gone,
}

/// After this many errors in a row the terminal is taken for gone.
const ERRORS: u32 = 100;

impl Screen<'_> {
    fn live_of(&self, history: &History, at: At) -> tui::Live {
        let interval = match at {
            // Together with the interval before it, which is on the screen.
            At::End => {
                let newest = history.newest();
                history.span(newest.saturating_sub(2), newest).unwrap_or_else(|| history.last())
            }
            At::First | At::Interval => history.last(),
        };
        tui::Live { interval, since_attach: history.since_start(), notes: self.notes.clone() }
    }

    fn draw(&mut self) {
        if let Some(live) = &self.live {
            self.is_behind = !self.term.draw(self.ui, live);
        }
    }

    fn suspend(&mut self) {
        self.term.leave();
        self.jobs.stop();
        self.term.resume();
    }

    fn act(
        &mut self,
        action: tui::Action,
        history: &History,
        child: &mut Child,
    ) -> Result<ControlFlow<Next>> {
        let early;
        let live = match &self.live {
            Some(live) => live,
            None => {
                early = self.live_of(history, At::First);
                &early
            }
        };
        match tui::update(self.ui, action, live) {
            None => {}
            Some(Effect::Quit) => return Ok(ControlFlow::Break(Next::Quit)),
            Some(Effect::Interrupt) if child.interrupt() => {}
            Some(Effect::Interrupt) => return Ok(ControlFlow::Break(Next::Quit)),
            Some(Effect::Attach(pid)) => return Ok(ControlFlow::Break(Next::Attach(pid))),
            Some(Effect::Leave) => return Ok(ControlFlow::Break(Next::Leave)),
            Some(Effect::Redraw) => self.term.clear(),
            Some(Effect::Suspend) => self.suspend(),
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Program for Screen<'_> {
    type Event = Happened;
    type Next = Next;

    const STAYS: bool = true;

    const HISTORY: Limits = Limits { intervals: 600, bytes: 16 << 20 };

    async fn event(&mut self) -> Happened {
        tokio::select! {
            biased;
            () = self.term.gone() => Happened::Gone,
            job = self.jobs.next() => Happened::Job(job),
            input = self.input.next(self.ui) => Happened::Input(input),
            () = self.term.ready(), if self.is_behind => Happened::Ready,
        }
    }

    fn on_event(
        &mut self,
        event: Happened,
        history: &History,
        child: &mut Child,
    ) -> Result<ControlFlow<Next>> {
        // As if its signal had come.
        let gone = ControlFlow::Break(Next::Signal(Signal::SIGHUP));
        if !matches!(event, Happened::Input(Err(_))) {
            self.errors = 0;
        }
        match event {
            Happened::Gone | Happened::Input(Ok(None)) => return Ok(gone),
            Happened::Input(Err(_)) => {
                // A terminal that fails once may work again.
                self.errors += 1;
                return Ok(if self.errors > ERRORS { gone } else { ControlFlow::Continue(()) });
            }
            Happened::Job(Job::Stop) => self.suspend(),
            Happened::Job(Job::Continue) => self.term.resume(),
            Happened::Ready => {}
            Happened::Input(Ok(Some(Event::Resize(width, height)))) => {
                self.ui.resize(width, height);
            }
            Happened::Input(Ok(Some(Event::Action(action)))) => {
                if let ControlFlow::Break(next) = self.act(action, history, child)? {
                    return Ok(ControlFlow::Break(next));
                }
            }
            Happened::Input(Ok(Some(Event::Other))) => return Ok(ControlFlow::Continue(())),
        }
        self.draw();
        Ok(ControlFlow::Continue(()))
    }

    fn on_sample(&mut self, history: &History, at: At) -> Result<()> {
        if at == At::End {
            // The last interval may be very short.
            self.ui.show_totals();
        }
        self.live = Some(self.live_of(history, at));
        self.draw();
        Ok(())
    }

    fn on_events(&mut self, events: Vec<source::Event>) {
        if let Some(source::Event::Diagnostic(latest)) = events.into_iter().next_back() {
            self.notes.truncate(self.own_notes);
            self.notes.push(latest);
        }
    }
}
