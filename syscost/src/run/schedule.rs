//! When the loop reads the source, and what for. Pure: is told what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// How often to read the kernel's counters at least, whatever the user asked for: they wrap at
/// 2^32 calls of a bucket.
const KEEP_UP: Duration = Duration::from_secs(1);

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// How long an interval is; `None` without intervals.
    pub(super) every: Option<Duration>,
    /// How long to measure; `None` without an end.
    pub(super) lasting: Option<Duration>,
    /// How long after the first reading a sample is wanted before the first interval is over.
    pub(super) first: Option<Duration>,
}

impl Pace {
    /// How long the first window is; `None` where nothing ends it.
    pub(super) fn first_window(self) -> Option<Duration> {
        [self.every, self.lasting].into_iter().flatten().min()
    }
}

/// What it is time for.
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
    /// Of a measurement that began at `began` and was read at `read` first.
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

    /// What it is time for at `now`; that is then done.
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

    /// Whether something that begins at `at` and takes `time` is over before the end.
    pub(super) fn has_time_for(&self, at: Instant, time: Duration) -> bool {
        self.end.is_none_or(|end| at + time < end)
    }

    /// Leaves out the intervals that are over at `now`, and one that would end shortly before the
    /// end: the last interval ends there.
    fn leave_out(&mut self, now: Instant) {
        while let Some(at) = self.interval {
            // Where a reading took longer than an interval, the next one is longer instead of there
            // being several at once.
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
