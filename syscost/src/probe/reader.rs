//! Reads what the programs have written: everything of a reading in one [`Read`].

use std::os::fd::AsFd;

use anyhow::Result;
use aya::{
    Ebpf,
    programs::{Program, ProgramFd},
};
use syscost_common::ledger::Counter;

use super::{
    bpf, clock::monotonic_ns, cpu_time::CpuTimes, groups::Groups, maps::Maps,
    open_calls::OpenCalls, targets::Targets,
};
use crate::sample::{
    CpuSample, DetailSample, GroupsSample, KindSample, LedgerSample, OpenCallSample, SkippedRuns,
};

/// The calls recorded since attach.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The syscalls that have occurred, and those that share the overflow slot.
    pub kinds: Vec<KindSample>,
    /// The counters, which were read at the same moment as nearly as the programs permit.
    pub ledger: LedgerSample,
}

/// All that is read of attached programs at one time. Sums are since attach.
///
/// Open calls and groups are read first. So each call that is in a group is in the syscalls as well.
pub struct Read {
    /// When the reading began, or the measurement ended, ns of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// How long it took, ns. 0 at the end of a measurement: nothing changes any more.
    pub read_ns: u64,
    /// The open calls; `None` where this kernel cannot list them.
    pub open_calls: Option<Vec<OpenCallSample>>,
    /// The calls by group; `None` where that was not asked for.
    ///
    /// # Errors
    /// When the kernel does not let the iterator be read, or did not for the last reading.
    pub groups: Result<Option<GroupsSample>>,
    /// The recorded calls.
    pub calls: Snapshot,
    /// CPU time; `None` where these hooks do not see context switches.
    pub cpu: Option<CpuSample>,
    /// How much detail is collected.
    pub detail: DetailSample,
}

/// The parts of attached programs that are read.
pub(super) struct Reader {
    pub(super) maps: Maps,
    pub(super) targets: Targets,
    pub(super) open_calls: OpenCalls,
    /// Where the calls are added up by group.
    pub(super) groups: Option<Groups>,
    /// Where context switches are seen.
    pub(super) cpu_times: Option<CpuTimes>,
    /// How many threads were stopped in a call at attach, and their registers were not read: see
    /// [`super::stopped::in_calls`].
    pub(super) stopped_in_calls: u64,
    /// Once recording has stopped.
    pub(super) end: Option<End>,
    /// How many runs the kernel had skipped when the hooks were detached.
    pub(super) final_misses: Option<SkippedRuns>,
}

/// What was read when recording had stopped, while the programs were still attached.
pub(super) struct End {
    at_ns: u64,
    open_calls: Option<Vec<OpenCallSample>>,
    detail: DetailSample,
}

impl Reader {
    /// Of what all hooks have.
    pub(super) const fn new(maps: Maps, targets: Targets) -> Self {
        Self {
            maps,
            targets,
            open_calls: OpenCalls::NONE,
            groups: None,
            cpu_times: None,
            stopped_in_calls: 0,
            end: None,
            final_misses: None,
        }
    }

    /// The recorded calls.
    pub(super) fn snapshot(&mut self, ebpf: &Ebpf) -> Snapshot {
        let kinds = self.maps.kinds();
        let mut counters = self.maps.counters_with(&kinds);
        counters[Counter::TargetsFull as usize] += self.targets.without_room();
        counters[Counter::RestartsGuessed as usize] += self.stopped_in_calls;
        let program_misses = self.final_misses.unwrap_or_else(|| skipped_runs(ebpf));
        let recording = kinds.unfinished;
        Snapshot {
            kinds: kinds.kinds,
            ledger: LedgerSample { counters, recording, program_misses },
        }
    }

    /// Everything. `detail`: what is collected now.
    pub(super) fn read(&mut self, ebpf: &Ebpf, detail: DetailSample) -> Read {
        // Before the open calls are listed: those that began before this moment were open at it.
        let began = monotonic_ns();
        let open_calls = match &self.end {
            Some(end) => end.open_calls.clone(),
            None => self.open_calls.list(),
        };
        let groups = self.read_groups();
        let calls = self.snapshot(ebpf);
        let cpu = self.cpu_time();
        match &self.end {
            Some(end) => {
                let (at_ns, detail) = (end.at_ns, end.detail);
                Read { at_ns, read_ns: 0, open_calls, groups, calls, cpu, detail }
            }
            None => {
                let read_ns = monotonic_ns().saturating_sub(began);
                Read { at_ns: began, read_ns, open_calls, groups, calls, cpu, detail }
            }
        }
    }

    /// The calls by group; `None` where that was not asked for.
    pub(super) fn read_groups(&mut self) -> Result<Option<GroupsSample>> {
        self.groups.as_mut().map(Groups::read).transpose()
    }

    /// CPU time since attach.
    pub(super) fn cpu_time(&mut self) -> Option<CpuSample> {
        let missed = self.slices_missed();
        self.cpu_times.as_mut().map(|cpu_times| cpu_times.read(missed))
    }

    /// Notes what is open at the end: recording has just stopped. CPU time that is used from here on does not count.
    pub(super) fn stop(&mut self, detail: DetailSample) -> u64 {
        self.end_cpu_time();
        let at_ns = monotonic_ns();
        let open_calls = self.open_calls.list();
        self.end.get_or_insert(End { at_ns, open_calls, detail }).at_ns
    }

    /// CPU time that is used from here on does not count.
    pub(super) fn end_cpu_time(&mut self) {
        let missed = self.slices_missed();
        if let Some(cpu_times) = &mut self.cpu_times {
            cpu_times.read_last(missed);
        }
    }

    /// Reads for the last time what needs the programs: the hooks are detached, and none is running.
    pub(super) fn close(&mut self, ebpf: &Ebpf) {
        self.maps.read_anew();
        if let Some(left) = self.open_calls.close()
            && let Some(End { at_ns, open_calls: Some(listed), .. }) = &mut self.end
        {
            left.correct(listed, *at_ns);
        }
        self.final_misses.get_or_insert_with(|| skipped_runs(ebpf));
    }

    fn slices_missed(&self) -> u64 {
        self.maps.counter(Counter::SlicesMissed)
    }
}

/// How often the kernel skipped a run of a program.
fn skipped_runs(ebpf: &Ebpf) -> SkippedRuns {
    let each = hooked(ebpf).map(|program| bpf::recursion_misses(program.as_fd()));
    each.fold(SkippedRuns::NotCounted, SkippedRuns::and)
}

/// The programs that are loaded for hooks. Iterators only run when user space reads them.
pub(super) fn hooked(ebpf: &Ebpf) -> impl Iterator<Item = &ProgramFd> {
    ebpf.programs()
        .filter(|(_, program)| !matches!(program, Program::Iter(_)))
        // A program without a descriptor is for another kernel than this, and was not loaded.
        .filter_map(|(_, program)| program.fd().ok())
}
