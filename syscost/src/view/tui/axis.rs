//! A logarithmic time axis: which character column a time belongs to.
//!
//! Knows no colours and no screen.

use super::bars::{Stack, UPWARDS};
use crate::model::{Distribution, Parts, Row, distribution::Bucket};
use crate::view::width::Columns;

/// A time axis over whole decades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogAxis {
    /// It begins at 10^low ns …
    low: u32,
    /// … and ends before 10^high ns.
    high: u32,
}

impl LogAxis {
    /// The axis that has room for the latencies of all `rows` and for what they consist of, rounded
    /// outwards to whole decades: it moves only when a time leaves it.
    pub(super) fn over<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<Self> {
        rows.flat_map(|row| {
            let parts = row.parts.iter().flat_map(|parts| UPWARDS.map(|of| parts.get(of)));
            [(row.latency.min_ns(), row.latency.max_ns())]
                .into_iter()
                .chain(parts.filter_map(extent))
        })
        .map(|(low, high)| Self { low: low.max(1).ilog10(), high: high.max(1).ilog10() + 1 })
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
    pub(super) fn columns(self, latency: &Distribution, width: u16) -> Vec<u64> {
        self.share_out(latency, latency.buckets(), width)
    }

    /// The calls of each column by part. A call that has nothing of a part is in no column of it: it
    /// did not wait for a very short time, it did not wait.
    pub(super) fn stacks(self, parts: &Parts, width: u16) -> Vec<Stack> {
        let columns = UPWARDS.map(|of| {
            let part = parts.get(of);
            (of, self.share_out(part, part.buckets().filter(any), width))
        });
        (0..usize::from(width))
            .map(|column| {
                let mut stack = Stack::default();
                for (of, counts) in &columns {
                    stack[*of as usize] = counts[column];
                }
                stack
            })
            .collect()
    }

    fn share_out(
        self,
        times: &Distribution,
        buckets: impl Iterator<Item = Bucket>,
        width: u16,
    ) -> Vec<u64> {
        let mut columns = vec![0; width.into()];
        if width == 0 {
            return columns;
        }
        for bucket in buckets {
            // Nothing lies beyond the known extremes, though the outermost buckets reach further.
            let low = bucket.low_ns.max(times.min_ns().min(bucket.high_ns));
            let high = bucket.high_ns.min(times.max_ns().max(low));
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
            let ends = ticks.iter().map(|(at, label)| at + label.columns() as u16);
            let nexts = ticks.iter().skip(1).map(|(at, _)| *at);
            ends.zip(nexts.chain([width + 1])).all(|(end, next)| end < next)
        };
        let fewer = (1..=self.decades().max(3))
            .map(|step| every(step).map(|decade| tick(1, decade)).collect());
        [digits.collect()].into_iter().chain(fewer).find(fits).unwrap_or_default()
    }
}

/// Whether a bucket counts times longer than none.
fn any(bucket: &Bucket) -> bool {
    bucket.high_ns > 0
}

/// The shortest and longest time that a part takes of calls that have any of it.
fn extent(part: &Distribution) -> Option<(u64, u64)> {
    let shortest = part.buckets().find(any)?;
    // The buckets of parts are wide: an outer bound would often begin a decade that nothing is in.
    Some((shortest.low_ns.midpoint(shortest.high_ns.min(part.max_ns())), part.max_ns()))
}

/// Its first character marks the place.
fn label(digit: u64, decade: u32) -> String {
    let unit = ["ns", "µs", "ms", "s"][(decade / 3).min(3) as usize];
    // Seconds go on to thousands and beyond; `1m40s` would not look like a decade.
    let number = digit.saturating_mul(10_u64.pow(decade - decade.min(11) / 3 * 3));
    format!("▏{number}{unit}")
}

#[cfg(test)]
mod tests {
    use syscost_common::{cell::PartOf, hist::bucket_index};

    use super::*;
    use crate::{
        model::Model,
        view::fixture::{kind, native, sample, without_parts},
    };

    /// The row of calls that took so long, their parts known.
    fn row(nr: u32, values: &[u64]) -> Row {
        let latencies: Vec<_> = values.iter().map(|value| (*value, 1)).collect();
        let model = Model::since_attach(&sample(vec![kind(native(nr), &latencies, &[])]));
        model.rows.into_iter().next().expect("it has calls")
    }

    /// The same, their parts not known.
    fn plain(values: &[u64]) -> Row {
        let latencies: Vec<_> = values.iter().map(|value| (*value, 1)).collect();
        let sample = without_parts(sample(vec![kind(native(0), &latencies, &[])]));
        Model::since_attach(&sample).rows.into_iter().next().expect("it has calls")
    }

    fn over(row: &Row) -> LogAxis {
        LogAxis::over([row].into_iter()).expect("there is a row")
    }

    #[test]
    fn every_call_is_in_exactly_one_column_at_any_width() {
        let values: Vec<u64> = (0..4000_u64).map(|n| n * n * n + n % 7).collect();
        let row = plain(&values);
        for width in 1..300 {
            let columns = over(&row).columns(&row.latency, width);
            assert_eq!(columns.iter().sum::<u64>(), 4000, "{width}");
        }
    }

    #[test]
    fn a_decade_begins_at_its_tick() {
        let row = plain(&[1_000, 105_000]);
        let axis = over(&row);
        assert_eq!(axis, LogAxis { low: 3, high: 6 });
        let columns = axis.columns(&row.latency, 30);
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
                    end = at + label.columns() as u16 + 1;
                    assert!(end <= width + 1, "{low}..{high} in {width}");
                }
            }
        }
    }

    #[test]
    fn extremes_of_all_kinds_have_a_column() {
        for values in [&[0][..], &[1], &[u64::MAX], &[0, u64::MAX]] {
            // Without sums, which would overflow.
            let latencies: Vec<_> = values.iter().map(|value| (*value, 0)).collect();
            let mut kind = kind(native(0), &latencies, &[]);
            values.iter().for_each(|value| kind.buckets[bucket_index(*value)] += 1);
            let model = Model::since_attach(&sample(vec![kind]));
            let columns = over(&model.rows[0]).columns(&model.rows[0].latency, 18);
            assert_eq!(columns.iter().sum::<u64>(), values.len() as u64);
        }
    }

    #[test]
    fn a_part_counts_the_calls_that_have_any_of_it() {
        // epoll_wait: the first two return at once, the third waits.
        let row = row(232, &[400, 1_400, 310_000]);
        let parts = row.parts.as_ref().expect("its parts are known");
        let axis = over(&row);
        for width in 1..200 {
            let mut sums = Stack::default();
            for stack in axis.stacks(parts, width) {
                UPWARDS.into_iter().for_each(|of| sums[of as usize] += stack[of as usize]);
            }
            assert_eq!(sums, [3, 1, 1], "{width}");
        }
        let waited: Vec<_> = axis
            .stacks(parts, 40)
            .iter()
            .enumerate()
            .filter(|(_, stack)| stack[PartOf::Blocked as usize] > 0)
            .map(|(at, _)| at as u16)
            .collect();
        assert!(waited.contains(&axis.column(306_000, 40)), "{waited:?}");
    }

    #[test]
    fn an_axis_has_room_for_parts_shorter_than_any_latency() {
        let axis = over(&row(232, &[310_000]));
        assert_eq!(axis, LogAxis { low: 3, high: 6 });
        assert_eq!(over(&plain(&[310_000])), LogAxis { low: 5, high: 6 });
    }
}
