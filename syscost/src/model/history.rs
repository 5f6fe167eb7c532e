//! What was measured so far, tick by tick: the last interval, everything since the start, and any span between two
//! ticks.
//!
//! A tick is the end of an interval. The history keeps the sample at its oldest tick and, for each tick since, only
//! what changed; so any sample can be made again exactly. It is bounded: ticks that are too old are merged into the
//! oldest one. Everything since the start stays exact, because samples are cumulative.
//!
//! Pure: it is given samples, and knows no clock.

use std::collections::VecDeque;

use super::Model;
use crate::{
    costs::Costs,
    sample::{Difference, Sample},
};

/// How much a history keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most this many intervals between two kept ticks.
    pub intervals: usize,
    /// At most this many bytes for what changed in them.
    pub bytes: usize,
}

impl Limits {
    /// Only what [`History::last`] and [`History::since_start`] take.
    pub const LAST: Self = Self { intervals: 0, bytes: 0 };
}

/// The samples of one measurement.
///
/// # Shortest and longest latencies
///
/// The kernel keeps extremes since attach only. In a span they are known exactly if they were reached in it: the
/// extreme at its end is beyond that at its begin. Otherwise they are the bounds of the outermost buckets that count
/// a call of the span. [`Model::interval`] decides that, from the same two samples.
#[derive(Clone, Debug)]
pub struct History {
    limits: Limits,
    costs: Costs,
    /// The sample at the newest tick. Before the first tick: the latest sample.
    latest: Sample,
    /// The sample at the tick before the newest one; `None` before the second tick.
    previous: Option<Sample>,
    /// The number of the newest tick. Tick 0 is the moment of attaching.
    newest: u64,
    /// The sample at the oldest tick that is kept; `None` before the first tick. Not used if no interval is kept.
    base: Option<Sample>,
    /// What changed in each interval after `base`, encoded. The oldest is in front.
    changes: VecDeque<Box<[u8]>>,
    /// The size of `changes`.
    bytes: usize,
}

impl History {
    /// A history without a tick: `first` is a sample before the first interval is over.
    pub fn new(first: Sample, costs: Costs, limits: Limits) -> Self {
        Self {
            limits,
            costs,
            latest: first,
            previous: None,
            newest: 0,
            base: None,
            changes: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Makes a tick of `sample`: an interval has ended with it.
    pub fn advance(&mut self, sample: Sample) {
        let before = std::mem::replace(&mut self.latest, sample);
        self.newest += 1;
        if self.newest == 1 {
            self.base = Some(self.latest.clone());
            return;
        }
        if self.limits.intervals > 0 {
            let change = encode(&Difference::between(&before, &self.latest));
            self.bytes += change.len();
            self.changes.push_back(change);
            self.merge();
        }
        self.previous = Some(before);
    }

    /// Takes over what measuring costs. Models from now on have it.
    pub fn set_costs(&mut self, costs: Costs) {
        self.costs = costs;
    }

    /// What measuring costs.
    pub fn costs(&self) -> Costs {
        self.costs
    }

    /// The number of the newest tick: how many intervals have ended.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The number of the oldest tick, after tick 0, whose sample is kept.
    pub fn oldest(&self) -> u64 {
        self.newest - self.changes.len() as u64
    }

    /// The last interval. Before the second tick: everything since the start.
    pub fn last(&self) -> Model {
        match &self.previous {
            Some(previous) => Model::interval(&self.latest, previous).with(self.costs),
            None => self.since_start(),
        }
    }

    /// Everything since the start.
    pub fn since_start(&self) -> Model {
        Model::since_attach(&self.latest).with(self.costs)
    }

    /// What happened between two ticks; `None` unless `from` is before `to` and both are kept. Tick 0, the start, is
    /// always kept.
    pub fn span(&self, from: u64, to: u64) -> Option<Model> {
        if from >= to {
            return None;
        }
        let end = self.sample_at(to)?;
        let model = match from {
            0 => Model::since_attach(&end),
            _ => Model::interval(&end, &self.sample_at(from)?),
        };
        Some(model.with(self.costs))
    }

    /// The size of what changed in the intervals that are kept, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sample at a tick after tick 0.
    fn sample_at(&self, tick: u64) -> Option<Sample> {
        if tick == self.newest {
            return Some(self.latest.clone());
        }
        let mut sample = self.base.clone()?;
        let changes = tick.checked_sub(self.oldest()).filter(|_| tick < self.newest)?;
        for change in self.changes.iter().take(changes as usize) {
            decode(change).apply(&mut sample);
        }
        Some(sample)
    }

    /// Merges the oldest intervals into `base` until the rest is within the limits.
    fn merge(&mut self) {
        while self.changes.len() > self.limits.intervals || self.bytes > self.limits.bytes {
            let (Some(change), Some(base)) = (self.changes.pop_front(), &mut self.base) else {
                return;
            };
            self.bytes -= change.len();
            decode(&change).apply(base);
        }
    }
}

fn encode(difference: &Difference) -> Box<[u8]> {
    postcard::to_stdvec(difference).expect("memory takes any number of bytes").into()
}

fn decode(bytes: &[u8]) -> Difference {
    postcard::from_bytes(bytes).expect("these bytes are from `encode`")
}

#[cfg(test)]
mod tests;
