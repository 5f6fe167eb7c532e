//! CPU time of the targets, which the programs at context switches add up.

use std::{
    mem::offset_of,
    os::fd::AsFd,
    sync::atomic::{Ordering, compiler_fence},
};

use anyhow::{Context, Result};
use aya::{Ebpf, programs::Iter};
use memmap2::{MmapOptions, MmapRaw};
use syscost_common::{
    cpu_state::CpuState,
    cpu_time::{CpuTime, IO_WORKERS, SUMS, Slices, THREADS},
};

use super::{
    bpf::{self, Tasks},
    clock::monotonic_ns,
    cpu_states::CPUS,
    cpus::online_cpus,
    mapped, object,
};
use crate::{reading::Reading, sample::CpuSample};

/// How often to try to read a CPU's sums while its program writes them. Writing takes far less time than a try.
const TRIES: usize = 1_000;

/// The sums of all CPUs.
pub(super) struct CpuTimes {
    /// The map `CPUS`, which the programs write.
    memory: MmapRaw,
    cpus: u32,
    /// What the sums held when the measurement began, ns.
    began_ns: [u64; SUMS],
    /// While context switches are not seen: since when, ns of CLOCK_MONOTONIC.
    paused_at: Option<u64>,
    /// How long, since attaching, some CPU time was not seen, ns.
    unseen_ns: u64,
    /// When the last reading was, which has decided how much until then is unseen, ns of CLOCK_MONOTONIC.
    looked_at: u64,
    /// The last reading, once nothing changes any more.
    last: Option<CpuSample>,
}

impl CpuTimes {
    /// The sums in the maps of `ebpf`, on a host with `cpus` possible CPUs.
    pub(super) fn open(ebpf: &Ebpf, cpus: u32) -> Result<Self> {
        let map = mapped::array_data(ebpf.map(CPUS)).context("object has no map of CPUs")?;
        let bytes = size_of::<CpuState>() * cpus as usize;
        let memory = MmapOptions::new().len(bytes).map_raw(&map.fd().as_fd());
        Ok(Self {
            memory: memory.context("cannot map CPUS into memory")?,
            cpus,
            began_ns: [0; SUMS],
            paused_at: None,
            unseen_ns: 0,
            looked_at: monotonic_ns(),
            last: None,
        })
    }

    /// Notes which tasks are running now: no context switch was seen for these. Where the kernel cannot list tasks, a
    /// CPU's time is known from its first context switch on.
    pub(super) fn note_running(&mut self, ebpf: &mut Ebpf, tasks: Tasks) {
        if note_running(ebpf, tasks).is_ok() {
            for cpu in 0..self.cpus {
                // SAFETY: in a mapped value, whose programs only read this word.
                unsafe { (&raw mut (*self.of(cpu)).seeded).write_volatile(1) };
            }
        }
    }

    /// CPU time counts from now on.
    pub(super) fn begin(&mut self) {
        let now = monotonic_ns();
        self.began_ns = self.totals(now).0;
        self.looked_at = now;
    }

    /// CPU time since [`CpuTimes::begin`]. `missed`: how many slices the programs have missed.
    pub(super) fn read(&mut self, missed: u64) -> CpuSample {
        if let Some(last) = self.last {
            return last;
        }
        let now = monotonic_ns();
        let (totals, known) = self.totals(now);
        if !known || self.paused_at.is_some() {
            self.unseen_ns += now.saturating_sub(self.looked_at);
        }
        self.looked_at = now;
        let unseen = missed + self.unseen_ns;
        let since = |of: u32| {
            let of = of as usize;
            let ns = totals[of].saturating_sub(self.began_ns[of]);
            match self.paused_at {
                Some(_) => Reading::NotCollected,
                None => Reading::exact_if(unseen == 0, ns),
            }
        };
        CpuSample { used_ns: since(THREADS), io_workers_ns: since(IO_WORKERS), unseen }
    }

    /// Takes the last reading, while the programs are still attached.
    pub(super) fn read_last(&mut self, missed: u64) {
        if self.last.is_none() {
            self.last = Some(self.read(missed));
        }
    }

    /// Context switches are no longer seen.
    pub(super) fn pause(&mut self) {
        self.paused_at.get_or_insert_with(monotonic_ns);
    }

    /// Context switches are about to be seen again. No program may be running.
    pub(super) fn resume(&mut self) {
        let Some(paused_at) = self.paused_at.take() else { return };
        let now = monotonic_ns();
        self.unseen_ns += now.saturating_sub(self.looked_at);
        self.looked_at = now;
        let online = online_cpus();
        for cpu in 0..self.cpus {
            // Nothing runs on an offline CPU. It has no context switch that would show that.
            let is_offline = !online.is_empty() && !online.iter().any(|range| range.contains(&cpu));
            let fresh = CpuTime { seeded: is_offline.into(), ..CpuTime::fresh(now) };
            let time = self.of(cpu);
            // SAFETY: in a mapped value; no program writes to it, because the hook is detached.
            unsafe {
                let (totals, _) = time.read_volatile().totals_ns(paused_at);
                let sums = totals.map(|ns| Slices(ns << 1));
                time.write_volatile(CpuTime { sums, ..fresh });
            }
        }
    }

    /// The sums over all CPUs at `now`, ns, and whether the running task of each CPU is known.
    fn totals(&self, now: u64) -> ([u64; SUMS], bool) {
        let mut sums = [0; SUMS];
        let mut all_known = true;
        for cpu in 0..self.cpus {
            let (totals, known) = self.read_cpu(cpu).totals_ns(now.max(monotonic_ns()));
            all_known &= known;
            for (sum, ns) in sums.iter_mut().zip(totals) {
                *sum += ns;
            }
        }
        (sums, all_known)
    }

    fn read_cpu(&self, cpu: u32) -> CpuTime {
        let time = self.of(cpu);
        let mut read = CpuTime::default();
        for _ in 0..TRIES {
            // SAFETY: in a mapped value of plain integers, which its programs write word by word.
            let sequence = || unsafe { (&raw const (*time).sequence).read_volatile() };
            let before = sequence();
            compiler_fence(Ordering::SeqCst);
            // SAFETY: as above.
            read = unsafe { time.read_volatile() };
            compiler_fence(Ordering::SeqCst);
            if before.is_multiple_of(2) && sequence() == before {
                break;
            }
        }
        read
    }

    fn of(&self, cpu: u32) -> *mut CpuTime {
        assert!(cpu < self.cpus, "CPU {cpu} of {}", self.cpus);
        let at = cpu as usize * size_of::<CpuState>() + offset_of!(CpuState, time);
        // SAFETY: inside the mapping, whose values are laid out as `CpuState` by the shared declaration.
        unsafe { self.memory.as_mut_ptr().add(at).cast() }
    }
}

/// Runs the iterator that notes for each CPU which task in scope it runs. Then unloads the program.
fn note_running(ebpf: &mut Ebpf, tasks: Tasks) -> Result<()> {
    let program: &mut Iter = object::program(ebpf, "running_tasks")?;
    let link = bpf::link_task_iterator(program.fd()?.as_fd(), tasks);
    let run = link.and_then(|link| bpf::run_iterator::<Nothing>(link.as_fd()));
    program.unload()?;
    run.map(drop).context("cannot list the running tasks")
}

/// The record of an iterator that writes nothing.
#[derive(Clone, Copy)]
struct Nothing {
    _byte: u8,
}

// SAFETY: an integer.
unsafe impl bpf::Record for Nothing {}
