//! Where samples come from. What consumes them cannot tell one source from another.

mod live;

use anyhow::Result;

use crate::sample::Sample;
pub use live::Live;

/// A stream of cumulative samples of one process.
pub trait Source {
    /// What has happened so far.
    fn sample(&mut self) -> Result<Sample>;

    /// Completes when the process has exited.
    fn exit(&mut self) -> impl Future<Output = ()>;

    /// What the programs in the kernel had to say since the last time, for `--verbose`.
    fn diagnostics(&mut self) -> Vec<String>;

    /// Stops measuring, and says what had happened by then. Later samples are the same.
    fn finish(&mut self) -> Result<Sample>;
}
