//! The one loop: reads the source when it is time to, watches signals and the target's exit, and
//! tells a program what has happened. Prints and draws nothing.

use std::{ops::ControlFlow, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep_until};

use super::{
    child::Child,
    keeper::{Keeper, Upkeep},
    schedule::{Moment, Pace, Schedule},
    signals::Signals,
};
use crate::{
    costs::Costs,
    sample::Sample,
    source::{Event, Last, Source},
};

/// What is done with the samples: printed, or shown on a screen.
pub(super) trait Program {
    /// What the program waits for besides time, signals and the target: a key, for example.
    type Event;
    /// What the program wants when it ends the loop itself.
    type Next;

    /// Whether the loop goes on when the target has exited.
    const STAYS: bool;

    /// The next event. Nothing is lost when the wait for it is given up.
    fn event(&mut self) -> impl Future<Output = Self::Event>;

    /// Handles an event.
    fn on_event(
        &mut self,
        event: Self::Event,
        child: &mut Child,
    ) -> Result<ControlFlow<Self::Next>>;

    /// What measuring costs, as far as it is known; told before the first sample, and whenever it changes.
    fn on_costs(&mut self, costs: Costs);

    /// The first sample, taken right after attaching.
    fn on_begin(&mut self, first: &Sample);

    /// A sample before the first interval is over; see [`Pace::first`].
    fn on_first(&mut self, sample: Sample) -> Result<()>;

    /// The sample at the end of an interval.
    fn on_interval(&mut self, sample: Sample) -> Result<()>;

    /// The last sample: nothing is measured any more.
    fn on_end(&mut self, last: Sample) -> Result<()>;

    /// What else has happened at the source.
    fn on_events(&mut self, events: Vec<Event>);
}

/// Why the loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End<N> {
    /// The target has exited.
    Exited,
    /// The time is over.
    Time,
    /// This signal, which the command did not get.
    Signal(Signal),
    /// The program wants it.
    Program(N),
}

/// A source, and what was made together with it.
pub(super) struct Session<S> {
    pub(super) source: S,
    /// Work on the source between its readings.
    pub(super) upkeep: Option<Box<dyn Upkeep<S>>>,
    /// What measuring costs, as far as it is known at the beginning.
    pub(super) costs: Costs,
}

/// What the loop needs besides the session and the program.
pub(super) struct Around<'a> {
    pub(super) pace: Pace,
    pub(super) signals: &'a mut Signals,
    pub(super) child: &'a mut Child,
}

/// Measures until the target exits, the time is over, or a signal or the program ends it. A program
/// that does not stay gets the last sample in any case, also before an error is returned.
///
/// # Errors
/// When the kernel fails, or the program.
pub(super) async fn drive<S: Source, P: Program>(
    session: Session<S>,
    program: &mut P,
    around: Around<'_>,
) -> Result<End<P::Next>> {
    let Around { pace, signals, child } = around;
    let began = Instant::now();
    let mut driver = Driver { session, latest: None };
    program.on_costs(driver.session.costs);
    let first = driver.sample()?;
    // The time counts from attaching on.
    let passed = Duration::from_nanos(first.attached_ns());
    let mut schedule = Schedule::new(pace, began.checked_sub(passed).unwrap_or(began), began);
    program.on_begin(&first);
    match driver.run(&mut schedule, program, signals, child).await {
        // The screen goes away, and nobody would see any more.
        Ok(end) if P::STAYS => Ok(end),
        Ok(end) => driver.end(program).map(|()| end),
        Err(error) => {
            // What was measured until now is not lost. Should that fail as well, the first error is
            // the one to tell.
            if !P::STAYS {
                let _ = driver.end(program);
            }
            Err(error)
        }
    }
}

struct Driver<S> {
    session: Session<S>,
    /// The latest sample, until the last one is taken.
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
                    // A screen would stay when its command has ended.
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
                // Last, so that however many there are, they do not keep the others from coming.
                event = program.event() => {
                    if let ControlFlow::Break(next) = program.on_event(event, child)? {
                        return Ok(End::Program(next));
                    }
                }
            }
        }
    }

    fn next(&self, schedule: &Schedule) -> Instant {
        let keeping = self.session.upkeep.as_ref().map(|upkeep| upkeep.next());
        // One that is late begins now.
        let begins = |at: &Instant| (*at).max(Instant::now());
        let keeping = keeping.filter(|at| schedule.has_time_for(begins(at), Keeper::TAKES));
        keeping.map_or(schedule.next(), |at| at.min(schedule.next()))
    }

    /// Does what is due. `true`: the time is over.
    fn on_time<P: Program>(&mut self, schedule: &mut Schedule, program: &mut P) -> Result<bool> {
        // The sample first: it must not be late because of the budget.
        let moment = schedule.at(Instant::now());
        if moment == Moment::End {
            return Ok(true);
        }
        if moment != Moment::Nothing {
            let sample = self.sample()?;
            program.on_events(self.session.source.events());
            match moment {
                Moment::First => program.on_first(sample)?,
                Moment::Interval => program.on_interval(sample)?,
                _ => {}
            }
        }
        let Session { source, upkeep, costs } = &mut self.session;
        if let Some(upkeep) = upkeep
            && schedule.has_time_for(Instant::now(), Keeper::TAKES)
            && let Some(cost) = upkeep.keep(source)?
        {
            costs.programs = Some(cost);
            program.on_costs(*costs);
        }
        Ok(false)
    }

    /// Hands the last sample to the program: where the source has none, the latest one.
    fn end<P: Program>(&mut self, program: &mut P) -> Result<()> {
        let Last { sample, error } = match (self.session.source.finish(), self.latest.take()) {
            (Ok(last), _) => last,
            (Err(error), Some(sample)) => Last { sample, error: Some(error) },
            (Err(error), None) => return Err(error),
        };
        program.on_events(self.session.source.events());
        program.on_end(sample)?;
        error.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use anyhow::{Error, bail};

    use super::*;
    use crate::{run::signals::Signals, view::fixture};

    /// A source that fails at one of its readings.
    struct Failing {
        readings: u64,
        fails_at: u64,
        finishes: bool,
        /// What is said to be missing in the last one.
        lacks: Option<&'static str>,
    }

    impl Failing {
        fn read(&mut self) -> Sample {
            self.readings += 1;
            Sample {
                begin_ns: self.readings,
                end_ns: self.readings,
                attached_at_ns: 0,
                ..fixture::sample(Vec::new())
            }
        }
    }

    impl Source for Failing {
        fn sample(&mut self) -> Result<Sample> {
            let sample = self.read();
            if self.readings >= self.fails_at {
                bail!("the kernel does not tell");
            }
            Ok(sample)
        }

        async fn exit(&mut self) {
            pending().await
        }

        fn events(&mut self) -> Vec<Event> {
            Vec::new()
        }

        fn finish(&mut self) -> Result<Last> {
            if !self.finishes {
                bail!("nor the last time");
            }
            let error = self.lacks.map(Error::msg);
            Ok(Last { sample: self.read(), error })
        }
    }

    /// Remembers the number of each reading that it was handed.
    #[derive(Default)]
    struct Log {
        intervals: Vec<u64>,
        end: Option<u64>,
    }

    impl Program for Log {
        type Event = ();
        type Next = ();

        const STAYS: bool = false;

        async fn event(&mut self) {
            pending().await
        }

        fn on_event(&mut self, (): (), _child: &mut Child) -> Result<ControlFlow<()>> {
            Ok(ControlFlow::Continue(()))
        }

        fn on_costs(&mut self, _costs: Costs) {}

        fn on_begin(&mut self, _first: &Sample) {}

        fn on_first(&mut self, _sample: Sample) -> Result<()> {
            Ok(())
        }

        fn on_interval(&mut self, sample: Sample) -> Result<()> {
            self.intervals.push(sample.begin_ns);
            Ok(())
        }

        fn on_end(&mut self, last: Sample) -> Result<()> {
            self.end = Some(last.begin_ns);
            Ok(())
        }

        fn on_events(&mut self, _events: Vec<Event>) {}
    }

    fn run(source: Failing, lasting: Option<Duration>) -> (Result<End<()>>, Log) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut log = Log::default();
        let result = runtime.block_on(async {
            let (mut signals, mut child) = (Signals::none(), Child::none());
            let every = Some(Duration::from_millis(10));
            let pace = Pace { every, lasting, first: None };
            let around = Around { pace, signals: &mut signals, child: &mut child };
            let session = Session { source, upkeep: None, costs: Costs::default() };
            drive(session, &mut log, around).await
        });
        (result, log)
    }

    #[test]
    fn an_error_comes_after_what_was_measured_until_then() {
        let source = Failing { readings: 0, fails_at: 4, finishes: true, lacks: None };
        let (result, log) = run(source, None);
        assert_eq!(result.unwrap_err().to_string(), "the kernel does not tell");
        assert_eq!((log.intervals, log.end), (vec![2, 3], Some(5)));
    }

    #[test]
    fn where_the_source_ends_with_an_error_the_latest_sample_is_the_last_one() {
        let source = Failing { readings: 0, fails_at: 3, finishes: false, lacks: None };
        let (result, log) = run(source, None);
        assert_eq!(result.unwrap_err().to_string(), "the kernel does not tell");
        assert_eq!((log.intervals, log.end), (vec![2], Some(2)));
    }

    #[test]
    fn the_end_is_the_last_interval() {
        let source = Failing { readings: 0, fails_at: u64::MAX, finishes: true, lacks: None };
        let (result, log) = run(source, Some(Duration::from_millis(10)));
        assert_eq!(result.unwrap(), End::Time);
        assert_eq!((log.intervals, log.end), (vec![], Some(2)));
    }

    #[test]
    fn what_is_missing_in_the_last_sample_is_told_after_it() {
        let lacks = Some("the groups are gone");
        let source = Failing { readings: 0, fails_at: u64::MAX, finishes: true, lacks };
        let (result, log) = run(source, Some(Duration::from_millis(10)));
        assert_eq!(result.unwrap_err().to_string(), "the groups are gone");
        assert_eq!((log.intervals, log.end), (vec![], Some(2)));
    }
}
