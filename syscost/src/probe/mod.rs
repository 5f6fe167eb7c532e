//! The kernel border: loads the programs, attaches them, reads what they wrote.
//!
//! The only module that imports aya. Knows no model and no view.

mod assembler;
mod bpf;
mod cells;
mod clock;
mod cost;
mod cpu_time;
mod cpus;
mod detail;
mod diagnostics;
mod family;
mod fold;
mod grace;
mod groups;
mod hook;
mod interruption;
mod kernel_btf;
mod load;
mod maps;
mod memory;
mod namespace;
mod peers;
mod pending_flag;
mod preemption;
pub mod preflight;
mod scope;
mod stopped;
mod tally;
mod targets;

use std::{
    cell::RefCell,
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Btf, Ebpf, Endianness,
    programs::{Iter, Program, ProgramFd},
};
use syscost_common::{
    config::Offsets, in_flight::InFlight, kind, ledger::Counter, open_call::RETURNED_LATE,
};

use crate::{
    group::GroupBy,
    proc,
    request::{HookChoice, Hooks, Request},
    sample::{
        CpuSample, Detail, DetailSample, GroupsSample, KindSample, LedgerSample, OpenCallSample,
        SkippedRuns, ThreadName,
    },
    scope::Scope,
};
use bpf::Tasks;
use cpu_time::CpuTimes;
use cpus::possible_cpus;
use detail::DetailControl;
use diagnostics::Diagnostics;
use grace::GracePeriod;
use groups::Groups;
use hook::{Attached, Hook};
use interruption::BlockedSignals;
use kernel_btf::KernelBtf;
use load::Told;
use maps::Maps;
use namespace::Namespace;
use scope::Resolved;
use targets::Targets;

pub(crate) use clock::monotonic_ns;
pub use cost::{CostMeasurement, ProgramCost};
pub use maps::map_bytes_at_most;
pub use targets::IsThere;

/// The programs, attached to the kernel. Dropping it detaches them.
pub struct Probe {
    links: Vec<Attached>,
    ebpf: Ebpf,
    maps: Maps,
    diagnostics: Option<Diagnostics>,
    hooks: Hooks,
    attached_at_ns: u64,
    detail: DetailControl,
    grace_period: GracePeriod,
    targets: Targets,
    /// The CPU time of what is measured, where context switches are seen.
    cpu_times: Option<CpuTimes>,
    other_tracers: Option<u32>,
    /// The iterator over open calls, where there can be one.
    open_calls: Option<OwnedFd>,
    /// What was left when recording had stopped and the programs were detached; `None` until then.
    left: Option<Left>,
    /// Threads that were stopped in a call at attach and whose registers were not read: see
    /// [`stopped::in_calls`].
    stopped_in_calls: u64,
    /// The calls by who made them, where that was asked for.
    groups: Option<Groups>,
    /// What [`Probe::program_misses`] said last, once the programs are gone.
    final_misses: Option<SkippedRuns>,
}

/// How many of the hooks, those attached last, are the ones that record calls.
const SYSCALL_HOOKS: usize = 2;

impl Probe {
    /// Loads the programs and attaches them to what `request` asks for.
    ///
    /// # Errors
    /// When the kernel refuses: missing privileges, missing features, no memory.
    pub fn attach(request: &Request) -> Result<Self> {
        Self::attach_to(request, &|_| true)
    }

    /// The same. `is_there` tells, once ends are seen, which of those that were given have ended before.
    ///
    /// # Errors
    /// As [`Probe::attach`].
    pub fn attach_to(request: &Request, is_there: IsThere<'_>) -> Result<Self> {
        // Before its own are there.
        let other_tracers = peers::count();
        let probe = Self::attach_hooks(request, is_there)?;
        Ok(Self { other_tracers, ..probe })
    }

    fn attach_hooks(request: &Request, is_there: IsThere<'_>) -> Result<Self> {
        preflight::require_privileges()?;
        let _blocked = BlockedSignals::all();
        lift_memlock_limit();
        let kernel = KernelBtf::read();
        let namespace = Namespace::own(&kernel)?;
        let Resolved { scope, targets, id } = request.scope.resolve(namespace.as_ref())?;
        let room = request.room.targets;
        if targets.len() > room as usize {
            bail!("{} targets are too many: at most {room}", targets.len());
        }
        let preempted = preemption::programs_by(&kernel).preempted;
        let signal_flag = pending_flag::bit(&kernel);
        let known = |offsets: &Offsets| Offsets { signal_flag, ..*offsets };
        let mut told = Told { request, scope, targets, id, offsets: None, preempted };
        let around = Around { namespace: RefCell::new(namespace), is_there, kernel };
        let btf = |told: &mut Told<'_>, hooks: Hooks| {
            told.preempted = preempted && hooks != Hooks::Perf;
            let offsets = around.kernel.offsets.as_ref();
            told.offsets = Some(known(offsets.map_err(|why| anyhow!("{why:#}"))?));
            Self::attach_btf(told, hooks, &around)
        };
        let raw = |told: &mut Told<'_>, because: String| {
            told.preempted = preempted;
            told.offsets = around.kernel.offsets.as_ref().ok().map(known);
            Self::attach_raw(told, because, &around)
        };
        match request.hooks {
            HookChoice::Raw => raw(&mut told, "forced by --hooks raw".to_owned()),
            HookChoice::Btf => btf(&mut told, Hooks::Btf { because: None }),
            HookChoice::Perf => btf(&mut told, Hooks::Perf),
            HookChoice::Auto => {
                let mut because = None;
                if preempted {
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

    fn attach_btf(told: &Told<'_>, hooks: Hooks, around: &Around<'_>) -> Result<Self> {
        let (mut ebpf, diagnostics) = load::load(load::BTF_OBJECT, told).map_err(|error| {
            // The kernel itself only says "invalid argument".
            let old = !preflight::kernel_is_at_least(5, 12);
            if old {
                anyhow!("no task storage, or no atomic fetch-and-add, for programs before 5.12")
            } else {
                error
            }
        })?;
        let btf = attachable_btf(&around.kernel)?;
        // Thread exit before fork, so that each child that is taken in is taken out when it ends; fork before
        // calls, so that every thread born from then on is known to be; exit before enter, so that no
        // enter stays without its exit.
        let fork = if preemption::programs().preempted {
            Hook::btf("wakeup_new", "sched_wakeup_new")
        } else {
            Hook::btf("process_fork", "sched_process_fork")
        };
        // Before any call is seen, so that every switch inside one is.
        let wakeup = Hook::btf("sched_wakeup", "sched_wakeup");
        let switch = Hook::btf("sched_switch", "sched_switch");
        // Before any call is seen, so that a handler's calls are told from a restart.
        let signal = Hook::btf("signal_deliver", "signal_deliver");
        let mut programs = match hooks {
            // Only BTF tracepoints hand over tasks that do not run. These run with interrupts off, so
            // that nothing preempts them.
            Hooks::Perf => vec![
                Hook::perf("exit_perf", "sched", "sched_process_exit"),
                fork,
                wakeup,
                switch,
                signal,
                Hook::perf("sys_exit_perf", "raw_syscalls", "sys_exit"),
                Hook::perf("sys_enter_perf", "raw_syscalls", "sys_enter"),
            ],
            _ => vec![
                Hook::btf("process_exit", "sched_process_exit"),
                fork,
                wakeup,
                switch,
                signal,
                Hook::btf("sys_exit", "sys_exit"),
                Hook::btf("sys_enter", "sys_enter"),
            ],
        };
        // Exec can change the tid of a thread.
        if matches!(told.request.scope, Scope::Thread(_) | Scope::Threads(_)) {
            programs.insert(
                0,
                match hooks {
                    Hooks::Perf => Hook::perf("exec_perf", "sched", "sched_process_exec"),
                    _ => Hook::btf("process_exec", "sched_process_exec"),
                },
            );
        }
        let mut to_load = vec![Hook::iterator("open_calls")];
        to_load.extend_from_slice(&programs);
        let mut loaded = hook::load_all(&mut ebpf, &to_load, Some(&btf)).into_iter();
        // This one is not for every kernel: bpf_task_pt_regs is there since 5.15.
        let _ = loaded.next();
        loaded.collect::<Result<()>>()?;
        load::set_settings(&mut ebpf, detail::FIRST)?;
        let tasks = match told.request.scope {
            Scope::Process(pid) => Tasks::OfProcess(pid),
            // Not the one thread: its tid may change.
            Scope::Thread(thread) => Tasks::OfProcess(thread.tgid),
            _ => Tasks::All,
        };
        let open_calls = match load::typed::<Iter>(&mut ebpf, "open_calls")?.fd() {
            Ok(program) => Some(
                bpf::link_task_iterator(program.as_fd(), tasks)
                    .context("cannot link the iterator over open calls")?,
            ),
            Err(_) => None,
        };
        let mut groups = None;
        if told.request.group_by != GroupBy::Syscall {
            let program: &mut Iter = load::typed(&mut ebpf, "thread_totals")?;
            interruption::retried(|| program.load("task", &btf))
                .context("cannot load the iterator over threads")?;
            let Request { group_by, room, .. } = told.request;
            let cpus = possible_cpus()?;
            groups = Some(Groups::open(&mut ebpf, *group_by, room.groups, cpus, tasks)?);
        }
        // Without it, CPU time is known from each CPU's first context switch on.
        let _ = cpu_time::load_iterator(&mut ebpf, &btf);
        drop(btf);
        let scope = &told.request.scope;
        let stopped_before =
            if open_calls.is_none() { stopped::in_calls(scope) } else { HashSet::new() };
        let mut cpu_times = CpuTimes::open(&ebpf, possible_cpus()?)?;
        // Once switches and targets are known, so that no slice is missed, and before the window begins.
        let note_running = |ebpf: &mut Ebpf| cpu_times.note_running(ebpf, tasks);
        let (links, targets) = around.attach(programs, &mut ebpf, told, note_running)?;
        let probe = Self::attached(ebpf, links, targets, diagnostics, hooks)?;
        cpu_times.begin();
        // The first reading finds the calls that were interrupted unseen.
        let was_read = open_calls
            .as_ref()
            .is_some_and(|link| bpf::run_iterator::<InFlight>(link.as_fd()).is_ok());
        let stopped_in_calls = if was_read { 0 } else { stopped_in_calls(scope, &stopped_before) };
        Ok(Self { open_calls, stopped_in_calls, groups, cpu_times: Some(cpu_times), ..probe })
    }

    fn attach_raw(told: &Told<'_>, because: String, around: &Around<'_>) -> Result<Self> {
        let by = told.request.group_by;
        if by != GroupBy::Syscall {
            bail!("--by {} takes BTF tracepoints and task storage: Linux 5.12 with BTF", by.id());
        }
        if told.offsets.is_none() && told.request.scope.takes_btf() {
            bail!("without kernel BTF only one process can be measured: give its PID with -p");
        }
        let (mut ebpf, diagnostics) = load::load(load::RAW_OBJECT, told)?;
        load::set_settings(&mut ebpf, detail::NO_PARTS)?;
        // Where there is no compare-exchange, no program preempts another.
        let sys_exit =
            if preemption::programs().exchange { "sys_exit_cmpxchg" } else { "sys_exit" };
        let mut programs = vec![
            Hook::raw("process_exit", "sched_process_exit"),
            Hook::raw("process_exec", "sched_process_exec"),
            Hook::raw("signal_deliver", "signal_deliver"),
            Hook::raw(sys_exit, "sys_exit"),
            Hook::raw("sys_enter", "sys_enter"),
        ];
        if told.offsets.is_some() {
            programs.insert(1, Hook::raw("process_fork", "sched_process_fork"));
        }
        hook::load_all(&mut ebpf, &programs, None).into_iter().collect::<Result<()>>()?;
        let scope = &told.request.scope;
        let stopped_before = stopped::in_calls(scope);
        let (links, targets) = around.attach(programs, &mut ebpf, told, |_| {})?;
        let forced = told.request.hooks == HookChoice::Raw;
        let hooks = Hooks::Raw { because, forced, tells_abi: told.offsets.is_some() };
        let stopped_in_calls = stopped_in_calls(scope, &stopped_before);
        let probe = Self::attached(ebpf, links, targets, diagnostics, hooks)?;
        Ok(Self { stopped_in_calls, ..probe })
    }

    fn attached(
        ebpf: Ebpf,
        links: Vec<Attached>,
        targets: Targets,
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
            grace_period: GracePeriod::prepare(),
            targets,
            cpu_times: None,
            other_tracers: None,
            open_calls: None,
            left: None,
            stopped_in_calls: 0,
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
        let at_ns = monotonic_ns();
        let kinds = self.maps.kinds();
        let mut counters = self.maps.counters_with(&kinds);
        counters[Counter::TargetsFull as usize] += self.targets.without_room();
        counters[Counter::RestartsGuessed as usize] += self.stopped_in_calls;
        let program_misses = self.final_misses.unwrap_or_else(|| self.program_misses());
        let recording = kinds.unfinished;
        (at_ns, kinds.kinds, LedgerSample { counters, recording, program_misses })
    }

    /// Ends the measurement at once: calls that end from now on are not recorded, though the programs
    /// stay attached until [`Probe::detach`]. Returns when that was, ns of CLOCK_MONOTONIC. A program
    /// may still be recording a call that has ended before; after detaching none is.
    pub fn stop(&mut self) -> u64 {
        self.detail.stop();
        self.settle_cpu_time();
        monotonic_ns()
    }

    /// Detaches the programs, waits until none of them is running any more, and unloads them; what
    /// was recorded stays readable and no longer changes.
    pub fn detach(&mut self) {
        // Nothing is recorded from here on, and who dies still leaves behind what was recorded of it.
        close_last(&mut self.links, SYSCALL_HOOKS);
        self.settle_cpu_time();
        if let Some(groups) = &mut self.groups {
            self.grace_period.wait();
            groups.settle();
        }
        let all = self.links.len();
        close_last(&mut self.links, all);
        self.grace_period.wait();
        self.maps.read_anew();
        self.left = self.list_open_calls().map(|records| Left::of(&records));
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
        let (before, after) = (self.detail.sees_switches(), detail::sees_switches(level));
        if let Some(cpu_times) = &mut self.cpu_times
            && !before
            && after
        {
            cpu_times.resume();
        }
        if let Some(cpu_times) = &mut self.cpu_times
            && !after
        {
            // What runs on after that is not known: too little rather than too much.
            cpu_times.pause();
        }
        self.detail.set(level, &mut self.ebpf, &mut self.links)
    }

    /// How many other BPF programs were at the hooks where calls are measured, just before these were
    /// attached; `None` where that could not be told.
    pub fn other_tracers(&self) -> Option<u32> {
        self.other_tracers
    }

    /// CPU time of what is measured since attaching; `None` where these hooks do not see context
    /// switches.
    pub fn cpu_time(&mut self) -> Option<CpuSample> {
        let missed = self.slices_missed();
        self.cpu_times.as_mut().map(|cpu_times| cpu_times.read(missed))
    }

    /// What is used from here on is not counted.
    fn settle_cpu_time(&mut self) {
        let missed = self.slices_missed();
        if let Some(cpu_times) = &mut self.cpu_times {
            cpu_times.settle(missed);
        }
    }

    fn slices_missed(&self) -> u64 {
        self.maps.counter(Counter::SlicesMissed)
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
        let records = self.list_open_calls()?;
        Some(records.iter().filter_map(OpenCallSample::from_record).collect())
    }

    fn list_open_calls(&self) -> Option<Vec<InFlight>> {
        bpf::run_iterator(self.open_calls.as_ref()?.as_fd()).ok()
    }

    /// The calls that were open at [`Probe::stop`], which was at `at_ns`. `listed` was read just after it. Some of
    /// these may have been recorded: their programs had begun to, just before. Others had returned before they were
    /// listed, or their programs had only begun to note them. All of that is known once the programs are detached.
    pub fn open_at_end(&self, mut listed: Vec<OpenCallSample>, at_ns: u64) -> Vec<OpenCallSample> {
        if let Some(left) = &self.left {
            left.settle(&mut listed, at_ns);
        }
        listed
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
        self.targets.children()
    }

    /// How many of the processes, or the threads, that were given live.
    pub fn targets_left(&self) -> u64 {
        self.targets.left()
    }

    /// Whether a task of theirs held a ring of io_uring's at attach; `false` where tasks cannot be listed.
    pub fn held_ring(&self) -> bool {
        self.targets.held_ring()
    }

    /// Where threads are measured, how often a first thread's tid has become that of another thread of its
    /// process, by an exec, on the whole host.
    pub fn leaders_replaced(&self) -> u64 {
        self.targets.leaders_replaced()
    }

    /// Kernel memory of the maps, bytes, as the kernel accounts for it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn map_bytes(&self) -> Result<u64> {
        maps::accounted_bytes(&self.ebpf)
    }

    fn program_misses(&self) -> SkippedRuns {
        let each = self.running().map(|program| bpf::recursion_misses(program.as_fd()));
        each.fold(SkippedRuns::NotCounted, SkippedRuns::and)
    }
}

/// What attaching takes beside the programs.
struct Around<'a> {
    namespace: RefCell<Option<Namespace>>,
    is_there: IsThere<'a>,
    kernel: KernelBtf,
}

impl Around<'_> {
    /// Attaches `programs` in their order. Between those that see threads begin, exec and end and the others,
    /// settles which targets there are. Calls `before_calls` before those that see calls.
    fn attach(
        &self,
        programs: Vec<Hook>,
        ebpf: &mut Ebpf,
        told: &Told<'_>,
        mut before_calls: impl FnMut(&mut Ebpf),
    ) -> Result<(Vec<Attached>, Targets)> {
        let mut parents = Vec::new();
        if told.scope.follow != 0 {
            load::note_forks(ebpf, true)?;
            parents = proc::parents()?;
        }
        let mut links = Vec::new();
        let mut targets = None;
        for hook in programs {
            if targets.is_none() && !hook.sees_lives() {
                let mut namespace = self.namespace.borrow_mut();
                let settled =
                    Targets::settle(ebpf, told, &parents, namespace.as_mut(), self.is_there)?;
                targets = Some(settled);
            }
            if hook.tracepoint() == "sys_exit" {
                // Without BTF a child cannot be recognised when it is forked. The threads that exist
                // now are entered instead; any other thread is younger. `process_exit` is attached
                // before, so that a thread which dies meanwhile is not left in the map for long.
                if told.offsets.is_none() {
                    load::enter_threads(ebpf, told.scope.id)?;
                }
                before_calls(ebpf);
            }
            links.push(hook.attach(ebpf)?);
        }
        Ok((links, targets.context("no program for `sys_exit`")?))
    }
}

// SAFETY: integers only.
unsafe impl bpf::Record for InFlight {}

/// How many threads were stopped in a call `before` the probes were attached, or are now: they may have gone
/// on, or been stopped, meanwhile.
fn stopped_in_calls(scope: &Scope, before: &HashSet<u32>) -> u64 {
    stopped::in_calls(scope).union(before).count() as u64
}

/// The threads of which something was kept when the programs were detached, and their calls that are not
/// recorded.
struct Left {
    threads: HashSet<u32>,
    /// Thread and begin.
    unrecorded: HashSet<(u32, u64)>,
    /// The same calls.
    calls: Vec<OpenCallSample>,
}

impl Left {
    fn of(records: &[InFlight]) -> Self {
        let call = |record: &InFlight| (record.ids.tid, record.entered_at & !RETURNED_LATE);
        Self {
            threads: records.iter().map(|record| record.ids.tid).collect(),
            unrecorded: records.iter().map(call).collect(),
            calls: records.iter().filter_map(OpenCallSample::at_end).collect(),
        }
    }

    /// Whether the call that thread `tid` began at `entered_at` was not recorded. Of a thread that has ended
    /// meanwhile it was not.
    fn may_have(&self, tid: u32, entered_at: u64) -> bool {
        self.unrecorded.contains(&(tid, entered_at)) || !self.threads.contains(&tid)
    }

    /// Takes from `listed` what was recorded, and adds what is missing. The measurement ended at `at_ns`.
    fn settle(&self, listed: &mut Vec<OpenCallSample>, at_ns: u64) {
        let call = |call: &OpenCallSample| Some((call.thread.tid, call.entered_at_ns?));
        listed.retain(|open| call(open).is_none_or(|(tid, at_ns)| self.may_have(tid, at_ns)));
        let known: HashSet<_> = listed.iter().filter_map(call).collect();
        let missing =
            self.calls.iter().filter(|left| call(left).is_some_and(|left| !known.contains(&left)));
        listed.extend(missing.cloned());
        // A program that had begun before the end may have read the clock after it.
        for open in listed {
            open.entered_at_ns = open.entered_at_ns.map(|entered_at| entered_at.min(at_ns));
        }
    }
}

impl OpenCallSample {
    /// `None` for a call that has returned, or of a number that there is not.
    fn from_record(record: &InFlight) -> Option<Self> {
        (record.entered_at & RETURNED_LATE == 0).then(|| Self::of_kind(record))?
    }

    /// Of a call that was seen entering and is not recorded, after the end of the measurement. If it has returned
    /// since then, what its thread does is of another one.
    fn at_end(record: &InFlight) -> Option<Self> {
        let entered_at = record.entered_at & !RETURNED_LATE;
        if entered_at == 0 {
            return None;
        }
        let call = Self::of_kind(&InFlight { entered_at, ..*record })?;
        match entered_at == record.entered_at {
            true => Some(call),
            false => Some(Self { args: None, runnable: None, interrupted: false, ..call }),
        }
    }

    /// `None` where there is no such number.
    fn of_kind(record: &InFlight) -> Option<Self> {
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
            sampled_out: record.sampled_out != 0,
            args: Some(record.args),
            runnable: Some(record.runnable != 0),
            interrupted: record.interrupted != 0,
        })
    }
}

/// The kernel's BTF, as far as attaching takes it.
fn attachable_btf(kernel: &KernelBtf) -> Result<Btf> {
    let bytes = kernel.attachable.as_ref().map_err(|why| anyhow!("{why:#}"));
    let btf = bytes.and_then(|bytes| Ok(Btf::parse(bytes, Endianness::default())?));
    // The verifier is about to take some as well, which counts in a cgroup.
    give_back_memory();
    btf.context("cannot read the kernel's BTF")
}

/// Detaches `count` programs; they may still be running.
fn close_last(links: &mut Vec<Attached>, count: usize) {
    // `sys_enter` first, which was attached last: no enter without its exit here either.
    for _ in 0..count {
        links.pop();
    }
}

/// Kernels before 5.11 charge BPF memory to this limit. Where it cannot be lifted, loading says so.
fn lift_memlock_limit() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Reading the kernel's BTF takes several MiB for a moment, which the allocator would keep.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer; may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use syscost_common::in_flight::ThreadIds;

    use super::*;

    #[test]
    fn what_was_recorded_after_all_was_not_open_at_the_end() {
        let record = |tid, entered_at| InFlight {
            ids: ThreadIds { tid, ..ThreadIds::default() },
            entered_at,
            ..InFlight::default()
        };
        // Open still, returned, recorded, in another call.
        let records =
            [record(1, 10), record(2, 20 | RETURNED_LATE), record(3, RETURNED_LATE), record(4, 45)];
        let left = Left::of(&records);
        let calls = [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)];
        let open = calls.map(|(tid, entered_at)| left.may_have(tid, entered_at));
        assert_eq!(open, [true, true, false, false, true], "and one of a thread that has ended");

        let listed = OpenCallSample::from_record(&record(3, 30)).unwrap();
        let mut calls = vec![listed, OpenCallSample::from_record(&record(1, 10)).unwrap()];
        left.settle(&mut calls, 42);
        let open: Vec<_> = calls
            .iter()
            .map(|call| (call.thread.tid, call.entered_at_ns, call.args.is_some()))
            .collect();
        let noted_late = (4, Some(42), true);
        assert_eq!(open, [(1, Some(10), true), (2, Some(20), false), noted_late]);
    }
}
