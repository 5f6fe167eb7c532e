//! The loop over synthetic sources. Time is paused: it passes only while everything waits.

use std::{cell::RefCell, future::pending, rc::Rc};

use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use super::*;
use crate::{
    model::{Model, Window},
    sample::Detail,
    source::{Scenario, Synthetic},
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A `read` every 100 ms for 10 s, the first after 50 ms. `rest` is added to the scenario.
fn reads(rest: &str) -> Scenario {
    let step = |at_ms| {
        let calls = r#"calls = [{ name = "read", latency_ns = 1000 }]"#;
        format!("[[step]]\nat_ms = {at_ms}\n{calls}\n")
    };
    let steps: String = (0..100).map(|call| step(50 + 100 * call)).collect();
    Scenario::parse(&format!("{rest}\n{steps}")).unwrap()
}

/// The same up to `until_ms`, and then a step with `field`.
fn reads_until(until_ms: u64, field: &str) -> Scenario {
    let step = |at_ms, rest: &str| format!("[[step]]\nat_ms = {at_ms}\n{rest}\n");
    let calls = r#"calls = [{ name = "read", latency_ns = 1000 }]"#;
    let ends = (0..).map(|call| 50 + 100 * call).take_while(|at_ms| *at_ms < until_ms);
    let steps: String = ends.map(|at_ms| step(at_ms, calls)).collect();
    Scenario::parse(&format!("{steps}{}", step(until_ms, field))).unwrap()
}

/// A window: when it ended, ms after attaching, how long it was, ms, and how many calls it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    at: At,
    ended_ms: u64,
    window_ms: u64,
    calls: u64,
}

fn seen(at: At, ended_ms: u64, window_ms: u64, calls: u64) -> Seen {
    Seen { at, ended_ms, window_ms, calls }
}

/// Notes what it is handed.
#[derive(Default)]
struct Log<const STAYS: bool> {
    windows: Vec<Seen>,
    totals: Vec<u64>,
    events: Vec<Event>,
    costs: Vec<Option<f64>>,
    /// Which intervals there is no room for, counted from 0.
    without_room: Vec<usize>,
    asked_for_room: usize,
    /// When the program ends the loop; `None`: it does not.
    ends_after: Option<Instant>,
}

impl<const STAYS: bool> Program for Log<STAYS> {
    type Event = ();
    type Next = &'static str;

    const STAYS: bool = STAYS;

    const HISTORY: Limits = Limits { intervals: 100, bytes: 1 << 20 };

    async fn event(&mut self) {
        match self.ends_after {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    fn on_event(
        &mut self,
        (): (),
        _history: &History,
        _child: &mut Child,
    ) -> Result<ControlFlow<&'static str>> {
        Ok(ControlFlow::Break("enough"))
    }

    fn has_room(&mut self) -> bool {
        self.asked_for_room += 1;
        !self.without_room.contains(&(self.asked_for_room - 1))
    }

    fn on_sample(&mut self, history: &History, at: At) -> Result<()> {
        let Model { window_ns, attached_ns, total, cost, window, .. } = history.last();
        assert_eq!(window == Window::SinceAttach, history.newest() < 2);
        let ms = |ns: u64| ns / 1_000_000;
        self.windows.push(seen(at, ms(attached_ns), ms(window_ns), total.calls));
        self.totals.push(history.since_start().total.calls);
        self.costs.push(cost.map(|cost| cost.run_pct));
        Ok(())
    }

    fn on_events(&mut self, events: Vec<Event>) {
        self.events.extend(events);
    }
}

fn every(ms: u64) -> Pace {
    Pace { every: Some(MS(ms)), ..Pace::default() }
}

fn every_for(ms: u64, lasting_ms: u64) -> Pace {
    Pace { lasting: Some(MS(lasting_ms)), ..every(ms) }
}

async fn run<const STAYS: bool>(
    scenario: Scenario,
    pace: Pace,
    log: &mut Log<STAYS>,
    mut signals: Signals,
) -> Result<End<&'static str>> {
    let source = Synthetic::new(scenario);
    let session = Session { source, upkeep: None, costs: Costs::default() };
    let around = Around { pace, signals: &mut signals, child: &mut Child::none() };
    drive(session, log, around).await
}

/// What a program that does not stay sees, and how it ends.
async fn windows(scenario: Scenario, pace: Pace) -> (Result<End<&'static str>>, Vec<Seen>) {
    let mut log = Log::<false>::default();
    let end = run(scenario, pace, &mut log, Signals::none()).await;
    (end, log.windows)
}

#[tokio::test(start_paused = true)]
async fn odd_intervals_are_as_long_as_they_were_asked_for() {
    let (end, windows) = windows(reads(""), every_for(1_500, 6_000)).await;
    assert_eq!(end.unwrap(), End::Time);
    let expected = [
        seen(At::Interval, 1_500, 1_500, 15),
        seen(At::Interval, 3_000, 1_500, 15),
        seen(At::Interval, 4_500, 1_500, 15),
        seen(At::End, 6_000, 1_500, 15),
    ];
    assert_eq!(windows, expected);
}

#[tokio::test(start_paused = true)]
async fn the_last_interval_ends_with_the_measurement() {
    let (_, windows) = windows(reads(""), every_for(1_000, 2_300)).await;
    assert_eq!(windows, [seen(At::Interval, 1_000, 1_000, 10), seen(At::End, 2_300, 1_300, 13)]);
}

#[tokio::test(start_paused = true)]
async fn without_intervals_there_is_one_window() {
    let pace = Pace { lasting: Some(MS(2_300)), ..Pace::default() };
    let (end, windows) = windows(reads(""), pace).await;
    assert_eq!((end.unwrap(), windows), (End::Time, vec![seen(At::End, 2_300, 2_300, 23)]));
}

#[tokio::test(start_paused = true)]
async fn the_targets_exit_ends_the_last_interval() {
    let (end, windows) = windows(reads_until(1_730, "exits = true"), every(1_000)).await;
    assert_eq!(end.unwrap(), End::Exited);
    assert_eq!(windows, [seen(At::Interval, 1_000, 1_000, 10), seen(At::End, 1_730, 730, 7)]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_last_interval() {
    let mut log = Log::<false>::default();
    let signals = Signals::after(SIGTERM, MS(1_200));
    let end = run(reads(""), every(500), &mut log, signals).await;
    assert_eq!(end.unwrap(), End::Signal(SIGTERM));
    let expected = [
        seen(At::Interval, 500, 500, 5),
        seen(At::Interval, 1_000, 500, 5),
        seen(At::End, 1_200, 200, 2),
    ];
    assert_eq!(log.windows, expected);
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_after_what_was_measured_until_then() {
    let fails = r#"fails = "the kernel does not tell""#;
    let (end, windows) = windows(reads_until(1_730, fails), every(500)).await;
    assert_eq!(end.unwrap_err().to_string(), "the kernel does not tell");
    let expected = [
        seen(At::Interval, 500, 500, 5),
        seen(At::Interval, 1_000, 500, 5),
        seen(At::Interval, 1_500, 500, 5),
        // The reading that failed was at this time.
        seen(At::End, 2_000, 500, 2),
    ];
    assert_eq!(windows, expected);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_last_sample_ends_with_the_latest_one() {
    // The counters are read once a second as well, so the latest sample is newer than the last tick.
    let scenario = reads(r#"finish_fails = "not the last time""#);
    let (end, windows) = windows(scenario, every_for(2_500, 4_000)).await;
    assert_eq!(end.unwrap_err().to_string(), "not the last time");
    assert_eq!(windows, [seen(At::Interval, 2_500, 2_500, 25), seen(At::End, 3_500, 1_000, 10)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_in_the_last_sample_is_told_after_it() {
    let scenario = reads(r#"finish_lacks = "the groups are gone""#);
    let (end, windows) = windows(scenario, every_for(1_000, 1_000)).await;
    assert_eq!(end.unwrap_err().to_string(), "the groups are gone");
    assert_eq!(windows, [seen(At::End, 1_000, 1_000, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_longer_intervals_and_every_call() {
    let mut log = Log::<false> { without_room: vec![1, 2], ..Log::default() };
    let end = run(reads(""), every_for(500, 2_500), &mut log, Signals::none()).await;
    assert_eq!(end.unwrap(), End::Time);
    let expected = [
        seen(At::Interval, 500, 500, 5),
        seen(At::Interval, 2_000, 1_500, 15),
        seen(At::End, 2_500, 500, 5),
    ];
    assert_eq!(log.windows, expected);
    assert_eq!(log.totals, [5, 20, 25]);
}

#[tokio::test(start_paused = true)]
async fn a_screen_stays_after_the_exit_until_it_has_enough() {
    let scenario = reads_until(1_200, "exits = true");
    let ends_after = Some(Instant::now() + MS(60_000));
    let mut log = Log::<true> { ends_after, ..Log::default() };
    let pace = Pace { first: Some(MS(200)), ..every(500) };
    let end = run(scenario, pace, &mut log, Signals::none()).await;
    assert_eq!(end.unwrap(), End::Program("enough"));
    let expected = [
        seen(At::First, 200, 200, 2),
        // The first interval is shown from its beginning.
        seen(At::Interval, 500, 500, 5),
        seen(At::Interval, 1_000, 500, 5),
        seen(At::End, 1_200, 200, 2),
    ];
    assert_eq!(log.windows, expected);
}

#[tokio::test(start_paused = true)]
async fn a_screen_that_is_interrupted_takes_no_last_sample() {
    let mut log = Log::<true>::default();
    let signals = Signals::after(SIGINT, MS(700));
    let end = run(reads(""), every(500), &mut log, signals).await;
    assert_eq!(end.unwrap(), End::Signal(SIGINT));
    assert_eq!(log.windows, [seen(At::Interval, 500, 500, 5)]);
}

#[tokio::test(start_paused = true)]
async fn events_are_handed_out_once() {
    let scenario = Scenario::parse(
        "[[step]]\nat_ms = 300\nevents = [\"one\", \"two\"]\n[[step]]\nat_ms = 1200\nevents = [\"three\"]",
    );
    let mut log = Log::<false>::default();
    let end = run(scenario.unwrap(), every_for(500, 1_500), &mut log, Signals::none()).await;
    assert_eq!(end.unwrap(), End::Time);
    let lines = ["one", "two", "three"].map(|line| Event::Diagnostic(line.to_owned()));
    assert_eq!(log.events, lines);
}

/// Finds a cost of 1 %, 2 % and so on, every 300 ms, and notes when.
struct Costly {
    next: Instant,
    began: Instant,
    kept_ms: Rc<RefCell<Vec<u64>>>,
}

impl Upkeep<Synthetic> for Costly {
    fn next(&self) -> Instant {
        self.next
    }

    fn takes(&self) -> Duration {
        MS(150)
    }

    fn keep(&mut self, _source: &mut Synthetic) -> Result<Option<ProgramsCost>> {
        if Instant::now() < self.next {
            return Ok(None);
        }
        let mut kept_ms = self.kept_ms.borrow_mut();
        kept_ms.push(self.began.elapsed().as_millis() as u64);
        self.next += MS(300);
        let run_pct = kept_ms.len() as f64;
        Ok(Some(ProgramsCost { run_pct, run_ns: None, budget_pct: None, detail: Detail::Full }))
    }
}

#[tokio::test(start_paused = true)]
async fn upkeep_is_between_readings_and_never_delays_the_end() {
    let began = Instant::now();
    let kept_ms = Rc::new(RefCell::new(Vec::new()));
    let upkeep = Costly { next: began + MS(300), began, kept_ms: Rc::clone(&kept_ms) };
    let session = Session {
        source: Synthetic::new(reads("")),
        upkeep: Some(Box::new(upkeep) as Box<dyn Upkeep<Synthetic>>),
        costs: Costs::default(),
    };
    let mut log = Log::<false>::default();
    let (mut signals, mut child) = (Signals::none(), Child::none());
    let pace = every_for(500, 1_300);
    let around = Around { pace, signals: &mut signals, child: &mut child };
    assert_eq!(drive(session, &mut log, around).await.unwrap(), End::Time);
    // At 1,200 ms there is no time for it any more.
    assert_eq!(*kept_ms.borrow(), [300, 600, 900]);
    let ends: Vec<u64> = log.windows.iter().map(|seen| seen.ended_ms).collect();
    assert_eq!(ends, [500, 1_000, 1_300]);
    assert_eq!(log.costs, [Some(1.0), Some(3.0), Some(3.0)]);
}
