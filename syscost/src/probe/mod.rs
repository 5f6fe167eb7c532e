//! The kernel border: loads the programs, attaches them, reads what they wrote.
//!
//! The only module that imports aya. Knows no model and no view.

mod bpf;
mod cost;
mod detail;
mod diagnostics;
mod fold;
mod groups;
mod hook;
mod kernel_btf;
mod load;
mod maps;
mod namespace;
pub mod preflight;
mod scope;

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Btf, Ebpf,
    programs::{Iter, Program, ProgramFd},
};
use syscost_common::{
    config::Offsets, group::MAX_GROUPS, kind, ledger::Counter, open_call::InFlight,
    scope::MAX_TARGETS,
};

use crate::{
    filter::Filter,
    group::GroupBy,
    sample::{
        Detail, DetailSample, GroupsSample, KindSample, LedgerSample, OpenCallSample, ThreadName,
    },
};
use bpf::Tasks;
use detail::DetailControl;
use diagnostics::Diagnostics;
use groups::Groups;
use hook::{Attached, Hook};
use load::Told;
use maps::Maps;
use namespace::Namespace;

pub use cost::{CostMeasurement, ProgramCost};
pub use maps::map_bytes_at_most;
pub use scope::Scope;

/// Which hooks to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// The best that the kernel has.
    #[default]
    Auto,
    /// BTF tracepoints and task storage, or fail.
    Btf,
    /// The same, but at the tracepoints of perf, where no program is ever skipped.
    Perf,
    /// Raw tracepoints and a hash by tid, even where better is to be had.
    Raw,
}

/// Which hooks are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hooks {
    /// BTF tracepoints; the open call is kept in task storage.
    Btf {
        /// Why not those of perf, where programs at BTF tracepoints may be skipped.
        because: Option<String>,
    },
    /// The tracepoints of perf; the open call is kept in task storage.
    Perf,
    /// Raw tracepoints; the open call is kept in a hash by tid.
    Raw {
        /// Why not BTF tracepoints.
        because: String,
        /// Whether 32-bit calls are told from native ones, which takes kernel BTF.
        tells_abi: bool,
    },
}

/// How many entries the bounded maps have that hold something of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Processes or threads, given and followed.
    pub targets: u32,
    /// Groups that dead threads have left calls in; one of them is that of all others.
    pub groups: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self { targets: MAX_TARGETS, groups: MAX_GROUPS }
    }
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose calls.
    pub scope: Scope,
    /// Which of them.
    pub filter: Filter,
    /// What to add them up by, beside the histograms by syscall.
    pub group_by: GroupBy,
    /// Which hooks to use.
    pub hooks: HookChoice,
    /// How much room the maps get.
    pub room: Room,
    /// Whether the programs tell why a loss counter rises; see [`Probe::diagnostics`].
    pub verbose: bool,
}

impl Request {
    /// All calls of the process `tgid`, with the best hooks there are.
    pub fn process(tgid: u32) -> Self {
        Self {
            scope: Scope::Process(tgid),
            filter: Filter::default(),
            group_by: GroupBy::Syscall,
            hooks: HookChoice::Auto,
            room: Room::default(),
            verbose: false,
        }
    }
}

/// The programs, attached to the kernel. Dropping it detaches them.
pub struct Probe {
    links: Vec<Attached>,
    ebpf: Ebpf,
    maps: Maps,
    diagnostics: Option<Diagnostics>,
    hooks: Hooks,
    attached_at_ns: u64,
    detail: DetailControl,
    /// The iterator over open calls, where there can be one.
    open_calls: Option<OwnedFd>,
    /// The calls by who made them, where that was asked for.
    groups: Option<Groups>,
    /// What [`Probe::program_misses`] said last, once the programs are gone.
    final_misses: Option<Option<u64>>,
}

/// How many of the hooks, those attached last, are the ones that record calls.
const SYSCALL_HOOKS: usize = 2;

impl Probe {
    /// Loads the programs and attaches them to what `request` asks for.
    ///
    /// # Errors
    /// When the kernel refuses: missing privileges, missing features, no memory.
    pub fn attach(request: &Request) -> Result<Self> {
        preflight::require_privileges()?;
        lift_memlock_limit();
        let offsets = kernel_offsets();
        let namespace = Namespace::own(offsets.as_ref().ok())?;
        let (scope, targets) = request.scope.resolve(namespace.as_ref())?;
        let room = request.room.targets;
        if targets.len() > room as usize {
            bail!("{} targets are too many: at most {room}", targets.len());
        }
        let preempted = preflight::preempts_programs();
        let mut told = Told { request, scope, targets, offsets: None, preempted };
        let btf = |told: &mut Told<'_>, hooks: Hooks| {
            told.preempted = preempted && hooks != Hooks::Perf;
            told.offsets = Some(*offsets.as_ref().map_err(|why| anyhow!("{why:#}"))?);
            Self::attach_btf(told, hooks)
        };
        let raw = |told: &mut Told<'_>, because: String| {
            told.preempted = preempted;
            told.offsets = offsets.as_ref().ok().copied();
            Self::attach_raw(told, because)
        };
        match request.hooks {
            HookChoice::Raw => raw(&mut told, "forced by --hooks raw".to_owned()),
            HookChoice::Btf => btf(&mut told, Hooks::Btf { because: None }),
            HookChoice::Perf => btf(&mut told, Hooks::Perf),
            HookChoice::Auto => {
                let mut because = None;
                if preflight::preempts_programs() {
                    match btf(&mut told, Hooks::Perf) {
                        Ok(probe) => return Ok(probe),
                        Err(why) => because = Some(format!("{why:#}")),
                    }
                }
                btf(&mut told, Hooks::Btf { because }).or_else(|why| {
                    let because = format!("{why:#}");
                    raw(&mut told, because)
                        .with_context(|| format!("BTF tracepoints: {why:#}; raw tracepoints"))
                })
            }
        }
    }

    fn attach_btf(told: &Told<'_>, hooks: Hooks) -> Result<Self> {
        let (mut ebpf, diagnostics) = load::load(load::BTF_OBJECT, told).map_err(|error| {
            // The kernel itself only says "invalid argument".
            let old = !preflight::kernel_is_at_least(5, 11);
            if old { anyhow!("no task storage for tracing programs before 5.11") } else { error }
        })?;
        // aya's loader has parsed the same and dropped it by now: once in memory is enough.
        let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
        // Fork first, so that every thread born from here on is known to be; exit before enter,
        // so that no enter stays without its exit.
        let fork = if preflight::preempts_programs() {
            Hook::btf("wakeup_new", "sched_wakeup_new")
        } else {
            Hook::btf("process_fork", "sched_process_fork")
        };
        // Before any call is seen, so that every switch inside one is.
        let wakeup = Hook::btf("sched_wakeup", "sched_wakeup");
        let switch = Hook::btf("sched_switch", "sched_switch");
        let programs = match hooks {
            // Only BTF tracepoints hand over tasks that do not run. These run with interrupts off, so
            // that nothing preempts them.
            Hooks::Perf => [
                fork,
                wakeup,
                switch,
                Hook::perf("exit_perf", "sched", "sched_process_exit"),
                Hook::perf("sys_exit_perf", "raw_syscalls", "sys_exit"),
                Hook::perf("sys_enter_perf", "raw_syscalls", "sys_enter"),
            ],
            _ => [
                fork,
                wakeup,
                switch,
                Hook::btf("process_exit", "sched_process_exit"),
                Hook::btf("sys_exit", "sys_exit"),
                Hook::btf("sys_enter", "sys_enter"),
            ],
        };
        for hook in programs {
            hook.load(&mut ebpf, Some(&btf))?;
        }
        load::set_knobs(&mut ebpf, detail::FIRST)?;
        // Not on every kernel: bpf_task_pt_regs is there since 5.15.
        let tasks = match told.request.scope {
            Scope::Process(pid) => Tasks::OfProcess(pid),
            Scope::Thread(tid) => Tasks::Thread(tid),
            _ => Tasks::All,
        };
        let open_calls = load::typed::<Iter>(&mut ebpf, "open_calls").ok().and_then(|program| {
            program.load("task", &btf).ok()?;
            bpf::link_task_iterator(program.fd().ok()?.as_fd(), tasks).ok()
        });
        let mut groups = None;
        if told.request.group_by != GroupBy::Syscall {
            let program: &mut Iter = load::typed(&mut ebpf, "thread_totals")?;
            program.load("task", &btf).context("cannot load the iterator over threads")?;
            let Request { group_by, room, .. } = told.request;
            groups = Some(Groups::open(&mut ebpf, *group_by, room.groups)?);
        }
        drop(btf);
        let mut links = Vec::new();
        for hook in programs {
            links.push(hook.attach(&mut ebpf)?);
        }
        let probe = Self::attached(ebpf, links, diagnostics, hooks)?;
        Ok(Self { open_calls, groups, ..probe })
    }

    fn attach_raw(told: &Told<'_>, because: String) -> Result<Self> {
        let by = told.request.group_by;
        if by != GroupBy::Syscall {
            bail!("--by {} takes BTF tracepoints and task storage: Linux 5.11 with BTF", by.id());
        }
        if told.offsets.is_none() && told.request.scope.takes_btf() {
            bail!("without kernel BTF only one process can be measured: give its PID with -p");
        }
        let (mut ebpf, diagnostics) = load::load(load::RAW_OBJECT, told)?;
        load::set_knobs(&mut ebpf, detail::NO_PARTS)?;
        // Before 5.12 there is no compare-exchange, nor does one program preempt another.
        let exchange = preflight::kernel_is_at_least(5, 12);
        let sys_exit = if exchange { "sys_exit_cmpxchg" } else { "sys_exit" };
        let mut programs = vec![
            Hook::raw("process_exec", "sched_process_exec"),
            Hook::raw("process_exit", "sched_process_exit"),
            Hook::raw(sys_exit, "sys_exit"),
            Hook::raw("sys_enter", "sys_enter"),
        ];
        if told.offsets.is_some() {
            programs.insert(0, Hook::raw("process_fork", "sched_process_fork"));
        }
        for hook in &programs {
            hook.load(&mut ebpf, None)?;
        }
        let mut links = Vec::new();
        for hook in programs {
            // Without BTF a child cannot be recognised when it is forked. The threads that exist
            // now are entered instead; any other thread is younger. `process_exit` is attached
            // before, so that a thread which dies meanwhile is not left in the map for long.
            if hook.tracepoint() == "sys_exit" && told.offsets.is_none() {
                load::enter_threads(&mut ebpf, told.scope.id)?;
            }
            links.push(hook.attach(&mut ebpf)?);
        }
        let hooks = Hooks::Raw { because, tells_abi: told.offsets.is_some() };
        Self::attached(ebpf, links, diagnostics, hooks)
    }

    fn attached(
        ebpf: Ebpf,
        links: Vec<Attached>,
        diagnostics: Option<Diagnostics>,
        hooks: Hooks,
    ) -> Result<Self> {
        let cpus = possible_cpus()?;
        let maps = Maps::open(&ebpf, cpus)?;
        let detail = DetailControl::new(&ebpf, cpus, !matches!(hooks, Hooks::Raw { .. }))?;
        give_back_memory();
        Ok(Self {
            links,
            ebpf,
            maps,
            diagnostics,
            hooks,
            attached_at_ns: monotonic_ns(),
            detail,
            open_calls: None,
            groups: None,
            final_misses: None,
        })
    }

    /// Which hooks are in use.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// When the probes were attached, ns of CLOCK_MONOTONIC.
    pub fn attached_at_ns(&self) -> u64 {
        self.attached_at_ns
    }

    /// What has been recorded so far. Call it at least every two seconds: the kernel's bucket
    /// counters wrap at 2^32 calls.
    pub fn snapshot(&mut self) -> (u64, Vec<KindSample>, LedgerSample) {
        // The ledger last: what the histograms count, it counts as well.
        let at_ns = monotonic_ns();
        let kinds = self.maps.kinds();
        let counters = self.maps.counters();
        let program_misses = self.final_misses.unwrap_or_else(|| self.program_misses());
        (at_ns, kinds, LedgerSample { counters, program_misses })
    }

    /// Detaches the programs, waits until none of them is running any more, and unloads them; what
    /// was recorded stays readable and no longer changes.
    pub fn detach(&mut self) {
        if let Some(groups) = &mut self.groups {
            // Nothing is recorded from here on, and who dies still leaves behind what was
            // recorded of it.
            close_last(&mut self.links, SYSCALL_HOOKS);
            groups.settle();
        }
        let all = self.links.len();
        close_last(&mut self.links, all);
        self.open_calls = None;
        let misses = self.program_misses();
        self.final_misses.get_or_insert(misses);
        for (_, program) in self.ebpf.programs_mut() {
            // What was never loaded has nothing to unload, and says so.
            let _ = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::TracePoint(program) => program.unload(),
                Program::RawTracePoint(program) => program.unload(),
                Program::Iter(program) => program.unload(),
                _ => Ok(()),
            };
        }
    }

    /// What the programs had to say since the last time; only those loaded to be verbose say
    /// anything.
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
    /// When these hooks cannot, or the kernel refuses to attach again.
    pub fn set_detail(&mut self, level: Detail) -> Result<()> {
        self.detail.set(level, &mut self.ebpf, &mut self.links)
    }

    /// Begins to measure what the programs cost. While that goes on, every program on the host pays
    /// for the kernel's statistics: let it be brief.
    ///
    /// # Errors
    /// When the kernel does not let its statistics be switched on: that takes CAP_SYS_ADMIN.
    pub fn begin_cost(&self) -> Result<CostMeasurement> {
        CostMeasurement::begin(self.running())
    }

    /// What the programs have cost since `began`.
    pub fn end_cost(&self, began: CostMeasurement) -> ProgramCost {
        began.end(self.running())
    }

    /// The programs that are loaded and hooked. Iterators run when we ask them to.
    fn running(&self) -> impl Iterator<Item = &ProgramFd> {
        self.ebpf
            .programs()
            .filter(|(_, program)| !matches!(program, Program::Iter(_)))
            // One that was never loaded is made for another kernel than this.
            .filter_map(|(_, program)| program.fd().ok())
    }

    /// The calls that are open now, in no particular order; `None` where this kernel cannot list
    /// them, and once the programs are detached.
    pub fn open_calls(&self) -> Option<Vec<OpenCallSample>> {
        let records: Vec<InFlight> = bpf::run_iterator(self.open_calls.as_ref()?.as_fd()).ok()?;
        Some(records.iter().filter_map(OpenCallSample::from_record).collect())
    }

    /// The calls by who made them; `None` where that was not asked for.
    ///
    /// # Errors
    /// When the kernel does not let its maps be read.
    pub fn groups(&mut self) -> Result<Option<GroupsSample>> {
        self.groups.as_mut().map(Groups::read).transpose()
    }

    /// How many followed children live.
    pub fn children(&self) -> u64 {
        self.maps.counters()[Counter::Children as usize]
    }

    /// Kernel memory of the maps, bytes, as the kernel accounts for it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn map_bytes(&self) -> Result<u64> {
        maps::accounted_bytes(&self.ebpf)
    }

    fn program_misses(&self) -> Option<u64> {
        self.running().map(|program| bpf::recursion_misses(program.as_fd())).sum()
    }
}

// SAFETY: integers only.
unsafe impl bpf::Record for InFlight {}

impl OpenCallSample {
    fn from_record(record: &InFlight) -> Option<Self> {
        let (abi, nr) = kind::unpack(record.kind)?;
        Some(Self {
            thread: ThreadName {
                tid: record.ids.tid,
                pid: record.ids.tgid,
                comm: scope::name(record.ids.comm),
            },
            abi,
            nr,
            entered_at_ns: (record.entered_at != 0).then_some(record.entered_at),
            args: record.args,
            runnable: record.runnable != 0,
        })
    }
}

/// Where the running kernel keeps what the programs read.
fn kernel_offsets() -> Result<Offsets> {
    let bytes = fs::read(kernel_btf::VMLINUX)
        .with_context(|| format!("no kernel BTF in {}", kernel_btf::VMLINUX))?;
    kernel_btf::offsets(&bytes)
}

/// Detaches `count` programs, and waits until none of them is running any more.
fn close_last(links: &mut Vec<Attached>, count: usize) {
    // `sys_enter` first, which was attached last: no enter without its exit here either.
    for _ in 0..count {
        links.pop();
    }
    // Programs run inside an RCU read-side section; this call returns after all that began
    // before it have ended (membarrier(2), MEMBARRIER_CMD_GLOBAL).
    // SAFETY: takes three integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
}

/// Kernels before 5.11 charge BPF memory to this limit. Where it cannot be lifted, loading says so.
fn lift_memlock_limit() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Parsing the kernel's BTF takes some 30 MiB for a moment, which the allocator would keep.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer; may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// CPUs that may ever be online: what per-CPU arrays are sized by.
fn possible_cpus() -> Result<u32> {
    let cpus =
        aya::util::nr_cpus().map_err(|(path, error)| anyhow!("cannot read {path}: {error}"))?;
    match u32::try_from(cpus) {
        Ok(cpus) if cpus > 0 => Ok(cpus),
        _ => bail!("the kernel names {cpus} possible CPUs"),
    }
}

/// Now, ns of CLOCK_MONOTONIC: the clock of `bpf_ktime_get_ns`.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the place given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
