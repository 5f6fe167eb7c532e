//! A source that plays a [`Scenario`]. Time is tokio's: a test that pauses it takes no time.

use anyhow::{Error, Result, bail};
use tokio::time::{Instant, sleep_until};

use super::{Event, Last, Source, scenario::Scenario};
use crate::sample::Sample;

/// Plays a scenario. It begins when this is made.
#[derive(Debug)]
pub(crate) struct Synthetic {
    scenario: Scenario,
    began: Instant,
    /// How many steps' events were handed out.
    told: usize,
    finished: Option<Sample>,
}

impl Synthetic {
    pub(crate) fn new(scenario: Scenario) -> Self {
        Self { scenario, began: Instant::now(), told: 0, finished: None }
    }
}

impl Source for Synthetic {
    fn sample(&mut self) -> Result<Sample> {
        if let Some(finished) = &self.finished {
            return Ok(finished.clone());
        }
        let passed = self.began.elapsed();
        if let Some(why) = self.scenario.past(passed).last().and_then(|step| step.fails.clone()) {
            bail!(why);
        }
        self.scenario.at(passed)
    }

    fn events(&mut self) -> Vec<Event> {
        let past = self.scenario.past(self.began.elapsed());
        let lines = past[self.told..].iter().flat_map(|step| step.events.clone());
        let events = lines.map(Event::Diagnostic).collect();
        self.told = past.len();
        events
    }

    async fn exit(&mut self) {
        match self.scenario.exits_after() {
            Some(after) => sleep_until(self.began + after).await,
            None => std::future::pending().await,
        }
    }

    fn finish(&mut self) -> Result<Last> {
        if let Some(why) = &self.scenario.finish_fails {
            bail!(why.clone());
        }
        let mut sample = self.scenario.at(self.began.elapsed())?;
        sample.end_ns = sample.begin_ns;
        self.finished = Some(sample.clone());
        Ok(Last { sample, error: self.scenario.finish_lacks.clone().map(Error::msg) })
    }
}
