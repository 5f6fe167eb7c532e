//! Attached programs: what can be done with them until they are detached.

use anyhow::Result;
use aya::{Ebpf, programs::Program};

use super::{
    cost::{CostMeasurement, ProgramCost},
    detail::DetailControl,
    diagnostics::Diagnostics,
    grace::GracePeriod,
    hooks::{Phase, sees_switches},
    link::Link,
    map_memory,
    reader::{Read, Reader, Snapshot, hooked},
};
use crate::{
    request::Hooks,
    sample::{CpuSample, Detail, DetailSample, GroupsSample, OpenCallSample},
};

/// The programs, attached to the kernel. Dropping it detaches them.
pub struct Probe {
    pub(super) links: Vec<Link>,
    pub(super) ebpf: Ebpf,
    pub(super) reader: Reader,
    pub(super) diagnostics: Option<Diagnostics>,
    pub(super) hooks: Hooks,
    pub(super) attached_at_ns: u64,
    pub(super) detail: DetailControl,
    pub(super) grace_period: GracePeriod,
    pub(super) other_tracers: Option<u32>,
}

impl Probe {
    /// Which hooks are in use.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// When the hooks were attached, ns of CLOCK_MONOTONIC.
    pub fn attached_at_ns(&self) -> u64 {
        self.attached_at_ns
    }

    /// Reads everything. Call this or [`Probe::snapshot`] at least once a second: the kernel's bucket counters wrap
    /// at 2^32 calls. After [`Probe::stop`] and [`Probe::detach`], this is the last reading, whenever it is taken.
    pub fn read(&mut self) -> Read {
        self.reader.read(&self.ebpf, self.detail.sample())
    }

    /// Reads the recorded calls only.
    pub fn snapshot(&mut self) -> Snapshot {
        self.reader.snapshot(&self.ebpf)
    }

    /// The calls that are open now, in no particular order; `None` where this kernel cannot list them, and once the
    /// hooks are detached.
    pub fn open_calls(&self) -> Option<Vec<OpenCallSample>> {
        self.reader.open_calls.list()
    }

    /// The calls by group; `None` where that was not asked for.
    ///
    /// # Errors
    /// When the kernel does not let its iterator be read.
    pub fn groups(&mut self) -> Result<Option<GroupsSample>> {
        self.reader.read_groups()
    }

    /// CPU time of the targets since attach; `None` where these hooks do not see context switches.
    pub fn cpu_time(&mut self) -> Option<CpuSample> {
        self.reader.cpu_time()
    }

    /// Ends the measurement at once: calls that end from now on are not recorded, though the programs stay attached
    /// until [`Probe::detach`]. A program may still be recording a call that has ended before; after detaching none
    /// is. Returns when the measurement ended, ns of CLOCK_MONOTONIC.
    pub fn stop(&mut self) -> u64 {
        self.detail.stop();
        self.reader.stop(self.detail.sample())
    }

    /// Detaches the hooks, waits until no program is running any more, and unloads the programs. What was recorded
    /// stays readable and no longer changes.
    pub fn detach(&mut self) {
        // Nothing is recorded from here on, and a thread that ends still leaves its totals behind.
        self.detach_from(Phase::Calls);
        self.reader.end_cpu_time();
        if let Some(groups) = &mut self.reader.groups {
            self.grace_period.wait();
            groups.read_last();
        }
        self.detach_from(Phase::Lives);
        self.grace_period.wait();
        self.reader.close(&self.ebpf);
        for (_, program) in self.ebpf.programs_mut() {
            // A program that was never loaded says so.
            let _ = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::TracePoint(program) => program.unload(),
                Program::RawTracePoint(program) => program.unload(),
                Program::Iter(program) => program.unload(),
                _ => Ok(()),
            };
        }
    }

    /// Detaches the hooks of `phase` and of the later ones, the last one first. Programs may still be running then.
    fn detach_from(&mut self, phase: Phase) {
        while self.links.pop_if(|link| link.hook().phase >= phase).is_some() {}
    }

    /// What the programs have reported since the last time, as lines. Only programs that were loaded to be verbose
    /// report anything.
    pub fn diagnostics(&mut self) -> Vec<String> {
        self.diagnostics.as_mut().map_or_else(Vec::new, Diagnostics::drain)
    }

    /// How much detail is collected.
    pub fn detail(&self) -> DetailSample {
        self.detail.sample()
    }

    /// Collects as much as `level` says from now on.
    ///
    /// # Errors
    /// When these hooks have no levels, or the kernel refuses to attach a hook again.
    pub fn set_detail(&mut self, level: Detail) -> Result<()> {
        let (before, after) = (self.detail.sees_switches(), sees_switches(level));
        if let Some(cpu_times) = &mut self.reader.cpu_times {
            if !before && after {
                cpu_times.resume();
            }
            if !after {
                // The CPU time of what is running is not known from here on: a number may be too low, never too high.
                cpu_times.pause();
            }
        }
        self.detail.set(level, &mut self.ebpf, &mut self.links, &self.grace_period)
    }

    /// How many programs of other tracers were at the hooks of calls just before these were attached; `None` where
    /// the kernel did not say.
    pub fn other_tracers(&self) -> Option<u32> {
        self.other_tracers
    }

    /// Begins to measure what the programs cost. Until it ends, every BPF program on the host runs slower, because
    /// the kernel takes the time: let it be brief.
    ///
    /// # Errors
    /// When the kernel does not let its statistics be switched on: that takes CAP_SYS_ADMIN.
    pub fn begin_cost(&self) -> Result<CostMeasurement> {
        CostMeasurement::begin(hooked(&self.ebpf))
    }

    /// What the programs have cost since `began`.
    pub fn end_cost(&self, began: CostMeasurement) -> ProgramCost {
        began.end(hooked(&self.ebpf))
    }

    /// How many followed children live.
    pub fn children(&self) -> u64 {
        self.reader.targets.children()
    }

    /// How many of the given processes, or threads, live.
    pub fn targets_left(&self) -> u64 {
        self.reader.targets.left()
    }

    /// Whether a target held a ring of io_uring at attach; `false` where tasks cannot be listed.
    pub fn held_ring(&self) -> bool {
        self.reader.targets.held_ring()
    }

    /// Where threads are measured: how often, on the whole host, another thread has got the tid of the first thread of
    /// its process, by an exec.
    pub fn leaders_replaced(&self) -> u64 {
        self.reader.targets.leaders_replaced()
    }

    /// Kernel memory of the maps, bytes, as the kernel accounts for it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn map_bytes(&self) -> Result<u64> {
        map_memory::accounted_bytes(&self.ebpf)
    }
}
