//! Keeps the cost of measuring within a budget, `--max-overhead`.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::{driver::Upkeep, privileges::SetAside};
use crate::{
    costs::ProgramsCost,
    model::budget::Budget,
    source::{RunCost, Tune},
};

/// How often to measure the cost. That takes a fiftieth of this time, in which the kernel's statistics cost as much as
/// the programs.
const EVERY: Duration = Duration::from_secs(1);

/// How long to measure the cost: long enough for thousands of runs if they matter, short enough to go unnoticed.
pub(super) const COST_TIME: Duration = Duration::from_millis(20);

/// The longest time from the begin of a measurement of the cost until a hook is attached or detached.
const TAKES: Duration = Duration::from_millis(250);

/// A budget, and the capabilities that are needed to keep it.
pub(super) struct Keeper {
    budget: Budget,
    aside: SetAside,
    /// When the next measurement of the cost begins or ends.
    next: Instant,
    /// Whether the cost is being measured now.
    measures: bool,
}

impl Keeper {
    pub(super) fn new(at_most_pct: f64, aside: SetAside) -> Self {
        let budget = Budget::new(at_most_pct);
        Self { budget, aside, next: Instant::now() + EVERY, measures: false }
    }

    fn decide(&mut self, source: &mut impl Tune) -> Result<ProgramsCost> {
        let RunCost { run_pct, run_ns, detail } = source.end_cost()?;
        let budget_pct = Some(self.budget.at_most_pct());
        source.set_detail(self.budget.look(run_pct))?;
        Ok(ProgramsCost { run_pct, run_ns, budget_pct, detail })
    }
}

impl<S: Tune> Upkeep<S> for Keeper {
    fn next(&self) -> Instant {
        self.next
    }

    fn takes(&self) -> Duration {
        TAKES
    }

    /// Begins to measure the cost, or ends that and sets the level of detail. Waits for nothing.
    ///
    /// # Errors
    /// When the kernel does not tell the cost, or refuses to attach a program again.
    fn keep(&mut self, source: &mut S) -> Result<Option<ProgramsCost>> {
        if Instant::now() < self.next {
            return Ok(None);
        }
        self.aside.raise()?;
        let done = if self.measures {
            self.decide(source).map(Some)
        } else {
            source.begin_cost().map(|()| None)
        };
        self.aside.lower()?;
        self.measures = !self.measures;
        self.next = Instant::now() + if self.measures { COST_TIME } else { EVERY - COST_TIME };
        done
    }
}
