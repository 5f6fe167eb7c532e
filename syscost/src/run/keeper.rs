//! Keeps measuring within its budget, `--max-overhead`.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::privileges::LaidAside;
use crate::{model::budget::Budget, source::Source};

/// How often to look. Looking takes a fiftieth of that, in which the kernel's statistics cost as much
/// again as the programs.
const EVERY: Duration = Duration::from_secs(1);

/// How long to measure what the programs cost: long enough for some thousand runs where they matter,
/// short enough for nobody to notice.
pub(super) const COST_TIME: Duration = Duration::from_millis(20);

/// A budget, and what keeping it takes.
pub(super) struct Keeper {
    budget: Budget,
    aside: LaidAside,
    /// When there is something to do next.
    next: Instant,
    /// Whether the cost is being measured.
    measures: bool,
}

impl Keeper {
    /// How long a look takes at most: measuring, and attaching or detaching a hook.
    pub(super) const TAKES: Duration = Duration::from_millis(250);

    pub(super) fn new(at_most_pct: f64, aside: LaidAside) -> Self {
        let budget = Budget::new(at_most_pct);
        Self { budget, aside, next: Instant::now() + EVERY, measures: false }
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Does what it is time for: begins to measure the cost, or ends that and changes how much
    /// detail there is. Waits for nothing.
    ///
    /// # Errors
    /// When the kernel does not tell, or does not attach what it had attached before.
    pub(super) fn keep(&mut self, source: &mut impl Source) -> Result<()> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.aside.take_up()?;
        let done = if self.measures { self.decide(source) } else { source.begin_cost() };
        self.aside.put_down()?;
        self.measures = !self.measures;
        self.next = Instant::now() + if self.measures { COST_TIME } else { EVERY - COST_TIME };
        done
    }

    fn decide(&mut self, source: &mut impl Source) -> Result<()> {
        let cost_pct = source.end_cost(Some(self.budget.at_most_pct()))?;
        source.set_detail(self.budget.look(cost_pct))
    }
}
