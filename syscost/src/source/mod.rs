//! Where samples come from. Whatever uses them cannot tell one source from another.

mod emptiness;
mod live;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;

use anyhow::{Error, Result};

use crate::sample::{Detail, Sample};
pub use live::Live;
#[cfg(test)]
pub(crate) use scenario::Scenario;
#[cfg(test)]
pub(crate) use synthetic::Synthetic;

/// Something that can be watched: a stream of cumulative samples of one target.
pub trait Source {
    /// Reads what was counted so far.
    ///
    /// # Errors
    /// When the reading fails; a later one may succeed.
    fn sample(&mut self) -> Result<Sample>;

    /// What has happened since the last call, in order. Unlike a sample, an event is handed out once.
    fn events(&mut self) -> Vec<Event>;

    /// Completes when the target has exited; never, if it cannot. Nothing is lost if the wait is given up.
    fn exit(&mut self) -> impl Future<Output = ()>;

    /// Ends the measurement and reads for the last time. From then on every sample is the same.
    ///
    /// # Errors
    /// When there is no last sample.
    fn finish(&mut self) -> Result<Last>;
}

/// What only a live source can do: change how much it collects, and measure what that costs.
pub trait Tune {
    /// Collects as much as `level` says from now on.
    ///
    /// # Errors
    /// When these hooks cannot, or the kernel refuses to attach a program again.
    fn set_detail(&mut self, level: Detail) -> Result<()>;

    /// Begins to measure what the programs in the kernel cost. Until [`end_cost`](Self::end_cost), every BPF program
    /// on the host costs more, so this must be brief.
    ///
    /// # Errors
    /// When the kernel's statistics cannot be switched on.
    fn begin_cost(&mut self) -> Result<()>;

    /// Ends the measurement that [`begin_cost`](Self::begin_cost) began.
    ///
    /// # Errors
    /// When none was begun.
    fn end_cost(&mut self) -> Result<RunCost>;
}

/// What the programs in the kernel cost over some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunCost {
    /// How long they ran, over all CPUs, percent of one CPU.
    pub run_pct: f64,
    /// Mean time of one run, ns; `None` if there was none.
    pub run_ns: Option<f64>,
    /// How much was collected of each call during that time.
    pub detail: Detail,
}

/// Something that happened at a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line from the programs in the kernel, for `--verbose`.
    Diagnostic(String),
}

/// The end of a measurement.
#[derive(Debug)]
pub struct Last {
    /// The last sample.
    pub sample: Sample,
    /// Why something that was asked for is not in it. To be told after the sample has been shown.
    pub error: Option<Error>,
}
