//! The one run loop. It reads the source whenever that is due, waits for signals and for the target's exit, keeps the
//! history, and tells a program what has happened. It prints and draws nothing.
//!
//! `syscost stat`, the live screen and the list of processes are programs over it, see [`Program`]. What else there
//! may be fits in at the same places: a recorder is a program that writes the sample at the end of each interval, an
//! exporter one whose events are requests, and a replay is a [`Source`] without [`Upkeep`].

use std::{ops::ControlFlow, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep_until};

use super::{
    child::Child,
    schedule::{Moment, Pace, Schedule},
    signals::Signals,
};
use crate::{
    costs::{Costs, ProgramsCost},
    model::{History, history::Limits},
    sample::Sample,
    source::{Event, Last, Source},
};

/// What is done with the measurements: they are printed, or shown on a screen.
pub(super) trait Program {
    /// What the program waits for besides time, signals and the target: a key, for example.
    type Event;
    /// What the program wants when it ends the loop itself.
    type Next;

    /// Whether the loop goes on after the target has exited.
    const STAYS: bool;

    /// How much of the past the program uses.
    const HISTORY: Limits;

    /// The next event. Nothing is lost if the wait for it is given up.
    fn event(&mut self) -> impl Future<Output = Self::Event>;

    /// Handles an event. `Break` ends the loop.
    fn on_event(
        &mut self,
        event: Self::Event,
        history: &History,
        child: &mut Child,
    ) -> Result<ControlFlow<Self::Next>>;

    /// Whether the program can take the interval that is over now. If not, there is no tick, and the interval goes on
    /// until the end of the next one.
    fn has_room(&mut self) -> bool {
        true
    }

    /// Handles a new sample, which is in `history`.
    fn on_sample(&mut self, history: &History, at: At) -> Result<()>;

    /// Handles what else has happened at the source.
    fn on_events(&mut self, events: Vec<Event>);
}

/// What a new sample is the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Of a time so short that no interval is over yet; see [`Pace::first`].
    First,
    /// Of an interval.
    Interval,
    /// Of the measurement: no sample comes after it.
    End,
}

/// Work on a source between its readings.
pub(super) trait Upkeep<S> {
    /// When there is something to do next.
    fn next(&self) -> Instant;

    /// How long it takes at most once it has begun.
    fn takes(&self) -> Duration;

    /// Does what is due. Returns what the programs in the kernel cost, if that was measured now.
    ///
    /// # Errors
    /// When the source cannot be kept as it has to be.
    fn keep(&mut self, source: &mut S) -> Result<Option<ProgramsCost>>;
}

/// A source, and what was made together with it.
pub(super) struct Session<S> {
    pub(super) source: S,
    pub(super) upkeep: Option<Box<dyn Upkeep<S>>>,
    /// What measuring costs, as far as it is known at the beginning.
    pub(super) costs: Costs,
}

/// Why the loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End<N> {
    /// The target has exited.
    Exited,
    /// The time is over.
    Time,
    /// This signal came, and was not for the command.
    Signal(Signal),
    /// The program wants it.
    Program(N),
}

/// What the loop needs besides the session and the program.
pub(super) struct Around<'a> {
    pub(super) pace: Pace,
    pub(super) signals: &'a mut Signals,
    pub(super) child: &'a mut Child,
}

/// Measures until the target exits, the time is over, or a signal or the program ends it. A program that does not
/// stay gets the last sample in any case, also before an error is returned.
///
/// # Errors
/// When the source fails, or the program.
pub(super) async fn drive<S: Source, P: Program>(
    mut session: Session<S>,
    program: &mut P,
    around: Around<'_>,
) -> Result<End<P::Next>> {
    let Around { pace, signals, child } = around;
    let began = Instant::now();
    let first = session.source.sample()?;
    // The time counts from attaching on.
    let passed = Duration::from_nanos(first.attached_ns());
    let mut schedule = Schedule::new(pace, began.checked_sub(passed).unwrap_or(began), began);
    let history = History::new(first.clone(), session.costs, P::HISTORY);
    let mut driver = Driver { session, history, latest: Some(first) };
    match driver.run(&mut schedule, program, signals, child).await {
        // The screen goes away, so a last sample would not be seen.
        Ok(end) if P::STAYS => Ok(end),
        Ok(end) => driver.end(program).map(|()| end),
        Err(error) => {
            // What was measured until now is not lost. If that fails as well, the first error is the one to report.
            if !P::STAYS {
                let _ = driver.end(program);
            }
            Err(error)
        }
    }
}

struct Driver<S> {
    session: Session<S>,
    history: History,
    /// The latest sample, until the last one is taken. It may be newer than the latest tick.
    latest: Option<Sample>,
}

impl<S: Source> Driver<S> {
    fn sample(&mut self) -> Result<Sample> {
        let sample = self.session.source.sample()?;
        self.latest = Some(sample.clone());
        Ok(sample)
    }

    async fn run<P: Program>(
        &mut self,
        schedule: &mut Schedule,
        program: &mut P,
        signals: &mut Signals,
        child: &mut Child,
    ) -> Result<End<P::Next>> {
        let mut measuring = true;
        loop {
            let next = self.next(schedule);
            tokio::select! {
                biased;
                signal = signals.next() => {
                    let is_taken = child.takes(signal);
                    // Otherwise a screen would stay after its command has ended.
                    let ends_screen = P::STAYS && signal != Signal::SIGINT;
                    if !is_taken || ends_screen {
                        return Ok(End::Signal(signal));
                    }
                }
                () = self.session.source.exit(), if measuring => {
                    if !P::STAYS {
                        return Ok(End::Exited);
                    }
                    measuring = false;
                    self.end(program)?;
                }
                () = sleep_until(next), if measuring => {
                    if self.on_time(schedule, program)? {
                        return Ok(End::Time);
                    }
                }
                // Last, so that any number of events cannot hold up the others.
                event = program.event() => {
                    let done = program.on_event(event, &self.history, child)?;
                    if let ControlFlow::Break(next) = done {
                        return Ok(End::Program(next));
                    }
                }
            }
        }
    }

    fn next(&self, schedule: &Schedule) -> Instant {
        let Some(upkeep) = &self.session.upkeep else { return schedule.next() };
        // One that is late begins now.
        let begins = upkeep.next().max(Instant::now());
        let has_time = schedule.has_time_for(begins, upkeep.takes());
        if has_time { upkeep.next().min(schedule.next()) } else { schedule.next() }
    }

    /// Does what is due. `true`: the time is over.
    fn on_time<P: Program>(&mut self, schedule: &mut Schedule, program: &mut P) -> Result<bool> {
        // The sample first: upkeep must not delay it.
        let moment = schedule.at(Instant::now());
        if moment == Moment::End {
            return Ok(true);
        }
        if moment != Moment::Nothing {
            let sample = self.sample()?;
            program.on_events(self.session.source.events());
            match moment {
                Moment::First => {
                    self.history = History::new(sample, self.history.costs(), P::HISTORY);
                    program.on_sample(&self.history, At::First)?;
                }
                Moment::Interval if program.has_room() => {
                    self.history.advance(sample);
                    program.on_sample(&self.history, At::Interval)?;
                }
                _ => {}
            }
        }
        let Session { source, upkeep, costs } = &mut self.session;
        if let Some(upkeep) = upkeep
            && schedule.has_time_for(Instant::now(), upkeep.takes())
            && let Some(cost) = upkeep.keep(source)?
        {
            costs.programs = Some(cost);
            self.history.set_costs(*costs);
        }
        Ok(false)
    }

    /// Hands the last sample to the program: if the source has none, the latest one.
    fn end<P: Program>(&mut self, program: &mut P) -> Result<()> {
        let Last { sample, error } = match (self.session.source.finish(), self.latest.take()) {
            (Ok(last), _) => last,
            (Err(error), Some(sample)) => Last { sample, error: Some(error) },
            (Err(error), None) => return Err(error),
        };
        program.on_events(self.session.source.events());
        self.history.advance(sample);
        program.on_sample(&self.history, At::End)?;
        error.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
