//! A logarithmic time axis: which character column a latency belongs to.
//!
//! Knows no colours and no screen.

use crate::model::Latency;

/// A time axis over whole decades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogAxis {
    /// It begins at 10^low ns …
    low: u32,
    /// … and ends before 10^high ns.
    high: u32,
}

impl LogAxis {
    /// The axis that has room for all of `latencies`, rounded outwards to whole decades: it moves
    /// only when a latency leaves it.
    pub(super) fn over<'a>(latencies: impl Iterator<Item = &'a Latency>) -> Option<Self> {
        latencies
            .map(|latency| Self {
                low: latency.min_ns().max(1).ilog10(),
                high: latency.max_ns().max(1).ilog10() + 1,
            })
            .reduce(|a, b| Self { low: a.low.min(b.low), high: a.high.max(b.high) })
    }

    fn decades(self) -> u32 {
        // A distribution read while it was being written can have its extremes the wrong way round.
        self.high.saturating_sub(self.low).max(1)
    }

    /// Where `ns` lies on an axis of `width` columns: 0.0 to `width`.
    fn at(self, ns: u64, width: u16) -> f64 {
        let decades = (ns.max(1) as f64).log10() - f64::from(self.low);
        (decades / f64::from(self.decades()) * f64::from(width)).clamp(0.0, f64::from(width))
    }

    /// The column of `ns`.
    pub(super) fn column(self, ns: u64, width: u16) -> u16 {
        (self.at(ns, width) as u16).min(width.saturating_sub(1))
    }

    /// The calls of each column. A bucket that reaches over a border is shared out by how far it
    /// reaches; every call is counted in exactly one column.
    pub(super) fn columns(self, latency: &Latency, width: u16) -> Vec<u64> {
        let mut columns = vec![0; width.into()];
        if width == 0 {
            return columns;
        }
        for bucket in latency.buckets() {
            // Nothing lies beyond the known extremes, though the outermost buckets reach further.
            let low = bucket.low_ns.max(latency.min_ns().min(bucket.high_ns));
            let high = bucket.high_ns.min(latency.max_ns().max(low));
            let (from, to) = (self.at(low, width), self.at(high.saturating_add(1), width));
            let (first, last) = (self.column(low, width), (to.ceil() as u16).clamp(1, width) - 1);
            let mut given = 0;
            for column in first..=last.max(first) {
                let share = (f64::from(column + 1) - from) / (to - from);
                let upto = if column >= last {
                    bucket.count
                } else {
                    ((bucket.count as f64 * share).round() as u64).clamp(given, bucket.count)
                };
                columns[usize::from(column)] += upto - given;
                given = upto;
            }
        }
        columns
    }

    /// The columns at which labelled latencies lie, with their labels; as many round ones as there
    /// is room for, evenly spaced.
    pub(super) fn ticks(self, width: u16) -> Vec<(u16, String)> {
        let decades = || self.low..self.low + self.decades();
        let tick = |digit: u64, decade: u32| {
            let ns = digit.saturating_mul(10_u64.pow(decade));
            (self.column(ns, width), label(digit, decade))
        };
        let digits = decades().flat_map(|decade| [1, 2, 5].map(|digit| tick(digit, decade)));
        let every = |step| decades().filter(move |decade| decade % step == 0);
        let fits = |ticks: &Vec<(u16, String)>| {
            let ends = ticks.iter().map(|(at, label)| at + label.chars().count() as u16);
            let nexts = ticks.iter().skip(1).map(|(at, _)| *at);
            ends.zip(nexts.chain([width + 1])).all(|(end, next)| end < next)
        };
        let fewer = (1..=self.decades().max(3))
            .map(|step| every(step).map(|decade| tick(1, decade)).collect());
        [digits.collect()].into_iter().chain(fewer).find(fits).unwrap_or_default()
    }
}

/// Its first character marks the place.
fn label(digit: u64, decade: u32) -> String {
    let unit = ["ns", "µs", "ms", "s"][(decade / 3).min(3) as usize];
    // Seconds go on to thousands and beyond; `1m40s` would not look like a decade.
    let number = digit.saturating_mul(10_u64.pow(decade - decade.min(11) / 3 * 3));
    format!("▏{number}{unit}")
}

/// A bar of one character's height for each column, against the highest one. A column too low for
/// a bar is a dot: a single call among millions stays visible.
pub(super) fn sparkline(columns: &[u64]) -> String {
    let peak = columns.iter().copied().max().unwrap_or(0);
    columns.iter().map(|count| cell(*count, peak, 1, 0)).collect()
}

/// The character at `row`, counted from below, of a bar of at most `height` rows.
pub(super) fn cell(count: u64, peak: u64, height: u16, row: u16) -> char {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if count == 0 || peak == 0 {
        return ' ';
    }
    let eighths = (count as f64 / peak as f64 * f64::from(height) * 8.0).round() as u64;
    if eighths == 0 && row == 0 {
        return '·';
    }
    EIGHTHS[eighths.saturating_sub(u64::from(row) * 8).min(8) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use syscost_common::hist::{BUCKETS, bucket_index};

    fn latency(values: &[u64]) -> Latency {
        let mut buckets = [0; BUCKETS];
        values.iter().for_each(|value| buckets[bucket_index(*value)] += 1);
        let extremes = (values.iter().min(), values.iter().max());
        Latency::new(&buckets, *extremes.0.unwrap_or(&0), *extremes.1.unwrap_or(&0))
    }

    #[test]
    fn every_call_is_in_exactly_one_column_at_any_width() {
        let values: Vec<u64> = (0..4000_u64).map(|n| n * n * n + n % 7).collect();
        let latency = latency(&values);
        let axis = LogAxis::over([&latency].into_iter()).unwrap();
        for width in 1..300 {
            assert_eq!(axis.columns(&latency, width).iter().sum::<u64>(), 4000, "{width}");
        }
    }

    #[test]
    fn a_decade_begins_at_its_tick() {
        let latency = latency(&[1_000, 105_000]);
        let axis = LogAxis::over([&latency].into_iter()).unwrap();
        assert_eq!(axis, LogAxis { low: 3, high: 6 });
        let columns = axis.columns(&latency, 30);
        assert_eq!((columns[0], columns[20]), (1, 1));
        let ticks = axis.ticks(30);
        assert_eq!(ticks, [(0, "▏1µs".into()), (10, "▏10µs".into()), (20, "▏100µs".into())]);
    }

    #[test]
    fn ticks_never_overlap_and_never_leave_the_axis() {
        for (low, high) in [(0, 13), (2, 10), (3, 4), (2, 20)] {
            for width in 0..200 {
                let mut end = 0;
                for (at, label) in (LogAxis { low, high }).ticks(width) {
                    assert!(at >= end, "{low}..{high} in {width}");
                    end = at + label.chars().count() as u16 + 1;
                    assert!(end <= width + 1, "{low}..{high} in {width}");
                }
            }
        }
    }

    #[test]
    fn extremes_of_all_kinds_have_a_column() {
        for values in [&[0][..], &[1], &[u64::MAX], &[0, u64::MAX]] {
            let latency = latency(values);
            let axis = LogAxis::over([&latency].into_iter()).unwrap();
            assert_eq!(axis.columns(&latency, 18).iter().sum::<u64>(), values.len() as u64);
        }
    }

    #[test]
    fn a_single_call_beside_millions_is_a_dot() {
        assert_eq!(sparkline(&[0, 1, 1_000_000, 500_000]), " ·█▄");
    }
}
