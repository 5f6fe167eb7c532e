//! The CPU's counters of instructions and cycles, in user mode.

use anyhow::{Context, Result};
use perf_event::{Builder, Counter, Group, events::Hardware};

use super::work::Work;

/// Both counters of this thread.
pub(super) struct UserCounters {
    group: Group,
    instructions: Counter,
    cycles: Counter,
}

impl UserCounters {
    /// # Errors
    /// Where the CPU has none, as on most virtual machines, or they may not be used.
    pub(super) fn open() -> Result<Self> {
        let open = || -> std::io::Result<Self> {
            let mut group = Group::new()?;
            let counter = |event| {
                let mut builder = Builder::new(event);
                builder.exclude_kernel(true).exclude_hv(true);
                builder
            };
            let instructions = counter(Hardware::INSTRUCTIONS).build_with_group(&mut group)?;
            let cycles = counter(Hardware::CPU_CYCLES).build_with_group(&mut group)?;
            Ok(Self { group, instructions, cycles })
        };
        open().context("no hardware counters here (perf_event_open)")
    }

    /// Instructions per cycle of `work` right after `before`, which is not counted in user mode.
    pub(super) fn ipc(&mut self, work: &Work, mut before: impl FnMut()) -> Result<f64> {
        const TIMES: usize = 200;
        let (mut instructions, mut cycles) = (0, 0);
        for _ in 0..TIMES {
            before();
            self.group.reset()?;
            self.group.enable()?;
            work.run();
            self.group.disable()?;
            let counts = self.group.read()?;
            instructions += counts[&self.instructions];
            cycles += counts[&self.cycles];
        }
        Ok(instructions as f64 / (cycles as f64).max(1.0))
    }
}
