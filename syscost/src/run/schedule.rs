//! When the loop reads the source, and what for. Pure: it is given the time.

use std::time::Duration;

use tokio::time::Instant;

/// The kernel's counters are read at least this often, however long intervals are: a bucket wraps at 2^32 calls.
const KEEP_UP: Duration = Duration::from_secs(1);

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// The length of an interval; `None` without intervals.
    pub(super) every: Option<Duration>,
    /// How long to measure; `None` without an end.
    pub(super) lasting: Option<Duration>,
    /// How long after the first reading there is a sample, if the first interval is not over by then.
    pub(super) first: Option<Duration>,
}

impl Pace {
    /// The length of the first window; `None` if only the user or the target ends it.
    pub(super) fn first_window(self) -> Option<Duration> {
        [self.every, self.lasting].into_iter().flatten().min()
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Nothing yet.
    Nothing,
    /// To read the counters before they can wrap.
    KeepUp,
    /// The sample before the first interval is over.
    First,
    /// An interval is over.
    Interval,
    /// The time is over.
    End,
}

/// The moments of one measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    every: Duration,
    first: Option<Instant>,
    interval: Option<Instant>,
    end: Option<Instant>,
    keep_up: Instant,
}

impl Schedule {
    /// The moments of a measurement that began at `began` and was first read at `read`.
    pub(super) fn new(pace: Pace, began: Instant, read: Instant) -> Self {
        let mut schedule = Self {
            every: pace.every.unwrap_or(KEEP_UP),
            first: pace.first.map(|first| read + first),
            interval: pace.every.map(|every| began + every),
            end: pace.lasting.map(|lasting| began + lasting),
            keep_up: read + KEEP_UP,
        };
        schedule.leave_out(read);
        schedule
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Instant {
        [self.first, self.interval, self.end].into_iter().flatten().fold(self.keep_up, Instant::min)
    }

    /// What is due at `now`. The next call takes it as done.
    pub(super) fn at(&mut self, now: Instant) -> Moment {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let moment = if is_due(self.end) {
            Moment::End
        } else if is_due(self.interval) {
            Moment::Interval
        } else if is_due(self.first) {
            Moment::First
        } else if self.keep_up <= now {
            Moment::KeepUp
        } else {
            return Moment::Nothing;
        };
        self.keep_up = now + KEEP_UP;
        if matches!(moment, Moment::Interval | Moment::First) {
            self.first = None;
        }
        self.leave_out(now);
        moment
    }

    /// Whether work that begins at `at` and takes `time` is done before the end.
    pub(super) fn has_time_for(&self, at: Instant, time: Duration) -> bool {
        self.end.is_none_or(|end| at + time < end)
    }

    /// Skips interval ends that have passed at `now`, and one that comes less than half an interval before the end of
    /// the measurement: the last interval reaches to that end.
    fn leave_out(&mut self, now: Instant) {
        while let Some(at) = self.interval {
            // If a reading took longer than an interval, there is one long interval instead of several at once.
            if at <= now {
                self.interval = Some(at + self.every);
            } else {
                break;
            }
        }
        if let (Some(at), Some(end)) = (self.interval, self.end)
            && at + self.every / 2 >= end
        {
            self.interval = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens at which moment, ms since the beginning, if nothing takes any time.
    fn moments(every: Option<u64>, lasting: Option<u64>, until: u64) -> Vec<(u64, Moment)> {
        let ms = Duration::from_millis;
        let began = Instant::now();
        let pace = Pace { every: every.map(ms), lasting: lasting.map(ms), first: None };
        let mut schedule = Schedule::new(pace, began, began);
        let mut seen = Vec::new();
        loop {
            let now = schedule.next();
            let at = (now - began).as_millis() as u64;
            let moment = schedule.at(now);
            if at > until {
                return seen;
            }
            seen.push((at, moment));
            if moment == Moment::End {
                return seen;
            }
        }
    }

    fn intervals(every: u64, lasting: Option<u64>, until: u64) -> Vec<u64> {
        let windows = moments(Some(every), lasting, until).into_iter();
        windows.filter(|(_, what)| *what != Moment::KeepUp).map(|(at, _)| at).collect()
    }

    #[test]
    fn intervals_are_as_long_as_they_were_asked_for() {
        assert_eq!(intervals(1_500, Some(6_000), 9_000), [1_500, 3_000, 4_500, 6_000]);
        assert_eq!(intervals(2_500, None, 8_000), [2_500, 5_000, 7_500]);
        assert_eq!(intervals(100, None, 350), [100, 200, 300]);
    }

    #[test]
    fn the_last_interval_ends_at_the_end() {
        // One that is over less than half an interval before the end is left out.
        assert_eq!(intervals(1_500, Some(4_000), 9_000), [1_500, 3_000, 4_000]);
        assert_eq!(intervals(1_000, Some(2_300), 9_000), [1_000, 2_300]);
        assert_eq!(intervals(1_000, Some(1_000), 9_000), [1_000]);
    }

    #[test]
    fn the_counters_are_read_once_a_second() {
        let all = moments(Some(2_500), None, 5_000);
        use Moment::{Interval, KeepUp};
        let expected = [
            (1_000, KeepUp),
            (2_000, KeepUp),
            (2_500, Interval),
            (3_500, KeepUp),
            (4_500, KeepUp),
            (5_000, Interval),
        ];
        assert_eq!(all, expected);
        assert_eq!(moments(None, Some(1_200), 5_000), [(1_000, KeepUp), (1_200, Moment::End)]);
    }

    #[test]
    fn a_late_reading_makes_one_long_interval() {
        let ms = Duration::from_millis;
        let began = Instant::now();
        let pace = Pace { every: Some(ms(100)), ..Pace::default() };
        let mut schedule = Schedule::new(pace, began, began);
        assert_eq!(schedule.at(began + ms(350)), Moment::Interval);
        assert_eq!(schedule.next(), began + ms(400));
        assert_eq!(schedule.at(began + ms(399)), Moment::Nothing);
    }

    #[test]
    fn the_first_sample_comes_early_once() {
        let ms = Duration::from_millis;
        let began = Instant::now();
        let pace = Pace { every: Some(ms(900)), first: Some(ms(200)), lasting: None };
        let mut schedule = Schedule::new(pace, began, began + ms(30));
        assert_eq!(schedule.next(), began + ms(230));
        assert_eq!(schedule.at(began + ms(231)), Moment::First);
        assert_eq!(schedule.next(), began + ms(900));
        assert_eq!(schedule.at(began + ms(900)), Moment::Interval);
        assert_eq!(schedule.next(), began + ms(1_800));
    }
}
