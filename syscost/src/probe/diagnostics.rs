//! The programs' rare diagnostics, for `--verbose`: why a loss counter rose.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// What the programs say, as lines.
pub(super) struct Diagnostics {
    logger: EbpfLogger<Lines>,
    lines: Lines,
}

/// Collects instead of printing: the screen may not be ours to print on.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Diagnostics {
    /// Listens to the programs of a loaded object.
    pub(super) fn listen(ebpf: &mut Ebpf) -> Result<Self> {
        let lines = Lines::default();
        let logger = EbpfLogger::init_with_logger(ebpf, lines.clone())
            .context("cannot listen to the programs' diagnostics")?;
        Ok(Self { logger, lines })
    }

    /// What was said since the last time.
    pub(super) fn drain(&mut self) -> Vec<String> {
        self.logger.flush();
        std::mem::take(&mut *self.lines.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("kernel: {}", record.args()));
    }

    fn flush(&self) {}
}
