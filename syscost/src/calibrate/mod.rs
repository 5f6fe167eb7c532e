//! Measures what crossing into the kernel costs on this machine.
//!
//! Pinned to one CPU. Every figure is measured once in each round, so that a change of the machine's speed affects all
//! figures alike. The results are medians over rounds, with quartiles.
//! `docs/calibration.md` explains the method.

mod cache;
mod clock;
mod counters;
mod crossing;
mod machine;
mod work;

use std::os::unix::process::parent_id;

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    model::calibration::{After, Calibration, Counters, Direct, Indirect, Ipc, Tax},
    probe::Probe,
    request::{HookChoice, Request},
    spread::Spread,
};
pub use cache::{load, store};
use clock::Clock;
use counters::UserCounters;
use crossing::Call;
use work::Work;

/// Rounds of everything that does not attach.
const ROUNDS: usize = 25;
/// Rounds of attaching, which takes a tenth of a second each time.
const TAX_ROUNDS: usize = 7;
/// Calls per figure and round.
const CALLS: u32 = 5_000;
/// The sizes of the working sets: half a first-level cache, a whole one, larger, and larger than many second-level
/// caches.
const WORKING_SETS: [usize; 4] = [8 << 10, 24 << 10, 128 << 10, 512 << 10];
/// The working set whose instructions per cycle are counted.
const COUNTED_SET: usize = 24 << 10;

/// Measures everything. `progress` is called with the share that is done, 0 to 1.
///
/// # Errors
/// When this thread cannot be pinned, or the machine cannot be identified.
pub fn calibrate(hooks: HookChoice, mut progress: impl FnMut(f64)) -> Result<Calibration> {
    let machine = machine::facts()?;
    let pin = Pin::new()?;
    let mut calls = Call::all()?;
    let mut sets: Vec<Series> = WORKING_SETS.iter().map(|bytes| Series::new(*bytes)).collect();
    let (mut syscall, mut by_syscall, mut by_vdso) = (Vec::new(), Vec::new(), Vec::new());
    let clock = Clock::start();
    for round in 0..ROUNDS {
        syscall.push(crossing::null_syscall_ns(CALLS));
        by_syscall.push(crossing::clock_by_syscall_ns(CALLS));
        by_vdso.push(crossing::clock_by_vdso_ns(CALLS));
        for series in &mut sets {
            series.round(&mut calls);
        }
        progress((round + 1) as f64 / (ROUNDS + TAX_ROUNDS) as f64);
    }
    let ns_per_tick = clock.ns_per_tick();
    let tax = tax(hooks, |round| progress((ROUNDS + round) as f64 / (ROUNDS + TAX_ROUNDS) as f64));
    let spread = |values: &[f64]| Spread::of(values).context("nothing was measured");
    Ok(Calibration {
        cpu: pin.cpu,
        rounds: ROUNDS,
        direct: Direct {
            syscall_ns: spread(&syscall)?,
            clock_syscall_ns: spread(&by_syscall)?,
            clock_vdso_ns: spread(&by_vdso)?,
            tax,
        },
        indirect: sets
            .iter()
            .map(|series| series.finish(&calls, ns_per_tick))
            .collect::<Option<_>>()
            .context("nothing was measured")?,
        counters: counters(&mut calls),
        machine,
    })
}

/// This thread on one CPU, until dropped.
struct Pin {
    cpu: usize,
    before: CpuSet,
}

impl Pin {
    /// Pins this thread to the last CPU that it may run on: the first ones serve more interrupts.
    fn new() -> Result<Self> {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).context("cannot tell which CPUs may be used")?;
        let mut cpus = (0..CpuSet::count()).rev();
        let cpu = cpus.find(|cpu| before.is_set(*cpu) == Ok(true)).context("no CPU may be used")?;
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(this, &only).with_context(|| format!("cannot stay on CPU {cpu}"))?;
        Ok(Self { cpu, before })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}

/// The measurements with working sets of one size, in ticks: a value for each round.
struct Series {
    bytes: usize,
    /// A new one for each round. Earlier ones are kept, so that the next gets other memory: how well caches hold a
    /// working set depends on its pages, and the spread over rounds shows that.
    works: Vec<Work>,
    alone: Vec<f64>,
    /// For each call.
    added: Vec<Vec<f64>>,
    /// The same after no call at all.
    control: Vec<f64>,
}

impl Series {
    fn new(bytes: usize) -> Self {
        Self { bytes, works: Vec::new(), alone: Vec::new(), added: Vec::new(), control: Vec::new() }
    }

    fn round(&mut self, calls: &mut [Call]) {
        let work = Work::new(self.bytes);
        self.added.resize_with(calls.len(), Vec::new);
        let mut alone = 0.0;
        let count = calls.len() as f64;
        for (call, added) in calls.iter_mut().zip(&mut self.added) {
            let measured = work.measure(call);
            alone += measured.alone / count;
            added.push(measured.added);
        }
        self.alone.push(alone);
        self.control.push(work.measure(&mut Call::nothing()).added);
        self.works.push(work);
    }

    fn finish(&self, calls: &[Call], ns_per_tick: f64) -> Option<Indirect> {
        let spread = |ticks: &[f64]| Some(Spread::of(ticks)?.times(ns_per_tick));
        let after = calls.iter().zip(&self.added).map(|(call, added)| {
            Some(After { call: call.name().to_owned(), added_ns: spread(added)? })
        });
        Some(Indirect {
            working_set_bytes: self.bytes,
            alone_ns: spread(&self.alone)?,
            control_ns: spread(&self.control)?,
            after: after.collect::<Option<_>>()?,
        })
    }
}

/// What syscost itself adds to a `getppid`: of this process, as a target and as a bystander.
fn tax(hooks: HookChoice, mut progress: impl FnMut(usize)) -> Tax {
    // Another process: our parent, or PID 1 if the parent is not visible.
    let other = parent_id().max(1);
    let added = |tgid: u32| -> Result<f64> {
        let before = crossing::null_syscall_ns(CALLS);
        let probe = Probe::attach(&Request { hooks, ..Request::process(tgid) })?;
        // The first call makes the thread's storage.
        crossing::null_syscall_ns(CALLS / 10);
        let traced = crossing::null_syscall_ns(CALLS);
        drop(probe);
        let after = crossing::null_syscall_ns(CALLS);
        Ok(traced - before.min(after))
    };
    let (mut target, mut bystander) = (Vec::new(), Vec::new());
    for round in 0..TAX_ROUNDS {
        let both = added(std::process::id()).and_then(|target| Ok((target, added(other)?)));
        match both {
            Ok((of_target, of_bystander)) => {
                target.push(of_target);
                bystander.push(of_bystander);
            }
            Err(error) => return Tax { because: Some(format!("{error:#}")), ..Tax::default() },
        }
        progress(round + 1);
    }
    Tax { target_ns: Spread::of(&target), bystander_ns: Spread::of(&bystander), because: None }
}

/// Instructions per cycle, where there are counters for them.
fn counters(calls: &mut [Call]) -> Counters {
    let mut counters = match UserCounters::open() {
        Ok(counters) => counters,
        Err(error) => {
            return Counters { user_ipc: Vec::new(), because: Some(format!("{error:#}")) };
        }
    };
    let work = Work::new(COUNTED_SET);
    let mut ipc = |call: Option<&mut Call>| -> Result<Ipc> {
        let name = call.as_ref().map(|call| call.name().to_owned());
        let mut call = call;
        let mut values = Vec::new();
        for _ in 0..ROUNDS {
            values.push(counters.ipc(&work, || {
                if let Some(call) = &mut call {
                    call.make();
                }
            })?);
        }
        Ok(Ipc { call: name, ipc: Spread::of(&values).context("nothing was counted")? })
    };
    let mut user_ipc = vec![ipc(None)];
    user_ipc.extend(calls.iter_mut().map(|call| ipc(Some(call))));
    match user_ipc.into_iter().collect() {
        Ok(user_ipc) => Counters { user_ipc, because: None },
        Err(error) => Counters { user_ipc: Vec::new(), because: Some(format!("{error:#}")) },
    }
}
