//! Where samples come from. What consumes them cannot tell one source from another.

mod live;

use anyhow::Result;

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

    /// Measures for a moment what measuring costs: the run time of the programs in the kernel, in
    /// percent of one CPU. `budget_pct` is what that may be, for whoever looks at samples.
    fn measure_cost(&mut self, budget_pct: Option<f64>) -> impl Future<Output = Result<f64>>;

    /// Stops measuring, and says what had happened by then. Later samples are the same.
    fn finish(&mut self) -> Result<Sample>;
}
