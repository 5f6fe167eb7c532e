//! Keeps measuring within its budget, `--max-overhead`.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::privileges::LaidAside;
use crate::{model::budget::Budget, source::Source};

/// How often to look. Looking takes a fiftieth of that, in which the kernel's statistics cost as much
/// again as the programs.
const EVERY: Duration = Duration::from_secs(1);

/// A budget, and what keeping it takes.
pub(super) struct Keeper {
    budget: Budget,
    aside: LaidAside,
    looked: Instant,
}

impl Keeper {
    pub(super) fn new(at_most_pct: f64, aside: LaidAside) -> Self {
        Self { budget: Budget::new(at_most_pct), aside, looked: Instant::now() }
    }

    /// Looks whether it is time to, and what measuring costs, and changes how much detail there is.
    ///
    /// # Errors
    /// When the kernel does not tell, or does not attach what it had attached before.
    pub(super) async fn keep(&mut self, source: &mut impl Source) -> Result<()> {
        if self.looked.elapsed() < EVERY - EVERY / 16 {
            return Ok(());
        }
        self.looked = Instant::now();
        self.aside.take_up()?;
        let done = self.look(source).await;
        self.aside.put_down()?;
        done
    }

    async fn look(&mut self, source: &mut impl Source) -> Result<()> {
        let cost_pct = source.measure_cost(Some(self.budget.at_most_pct())).await?;
        source.set_detail(self.budget.look(cost_pct))
    }
}
