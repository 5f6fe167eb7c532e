//! Where samples come from. What consumes them cannot tell one source from another.

mod emptiness;
mod live;

use anyhow::{Error, Result};

use crate::sample::{Detail, Sample};
pub use live::Live;

/// A stream of cumulative samples of one process.
pub trait Source {
    /// What has happened so far.
    fn sample(&mut self) -> Result<Sample>;

    /// Completes when the process has exited.
    fn exit(&mut self) -> impl Future<Output = ()>;

    /// What the programs in the kernel had to say since the last time, for `--verbose`.
    fn diagnostics(&mut self) -> Vec<String>;

    /// Collects as much detail as `level` says from now on.
    fn set_detail(&mut self, level: Detail) -> Result<()>;

    /// Begins to measure what measuring costs. While that goes on, it costs more: let it be brief.
    fn begin_cost(&mut self) -> Result<()>;

    /// Ends what [`Source::begin_cost`] began: the run time of the programs in the kernel since
    /// then, in percent of one CPU. Samples show it from now on, with `budget_pct`, the most that
    /// it may be.
    fn end_cost(&mut self, budget_pct: Option<f64>) -> Result<f64>;

    /// Stops measuring, and says what had happened by then. Later samples are the same.
    ///
    /// # Errors
    /// When nothing can be said.
    fn finish(&mut self) -> Result<Last>;
}

/// What had happened when the measurement ended.
pub struct Last {
    /// All that is known.
    pub sample: Sample,
    /// Why something that was asked for is not in it; to be told once it is shown.
    pub error: Option<Error>,
}
