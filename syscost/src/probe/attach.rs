//! Attaching: which hooks to use, and the steps from a request to attached programs.

use std::{cell::RefCell, collections::HashSet, thread};

use anyhow::{Context, Result, anyhow, bail};
use aya::Ebpf;
use syscost_common::config::Offsets;

use super::{
    attached::Probe,
    bpf::Tasks,
    clock::monotonic_ns,
    cpu_states,
    cpu_time::CpuTimes,
    cpus::possible_cpus,
    detail::{self, DetailControl},
    grace::GracePeriod,
    groups::Groups,
    hooks::{Conditions, Hook, Iterator, Phase},
    interruption::BlockedSignals,
    kernel_btf::KernelBtf,
    link::Link,
    load::{self, LoadPlan},
    maps::Maps,
    memory,
    namespace::Namespace,
    object::{BTF_OBJECT, RAW_OBJECT},
    open_calls::OpenCalls,
    peers, pending_flag, preemption, privileges,
    programs::load_all,
    reader::Reader,
    scope::Resolved,
    stopped, target_map,
    targets::{IsThere, Targets},
};
use crate::{
    group::GroupBy,
    proc,
    request::{HookChoice, Hooks, Request},
    scope::Scope,
};

impl Probe {
    /// Loads the programs and attaches them to what `request` asks for.
    ///
    /// # Errors
    /// When the kernel refuses: missing privileges, missing features, no memory.
    pub fn attach(request: &Request) -> Result<Self> {
        Self::attach_to(request, &|_| true)
    }

    /// The same, where a given process or thread may have ended already: `is_there` is asked once its end would be
    /// seen.
    ///
    /// # Errors
    /// As [`Probe::attach`].
    pub fn attach_to(request: &Request, is_there: IsThere<'_>) -> Result<Self> {
        // Before our own programs are there.
        let other_tracers = peers::count();
        privileges::require()?;
        let _blocked = BlockedSignals::all();
        lift_memlock_limit();
        let probe = Attaching::prepare(request, is_there)?.with_best_hooks()?;
        memory::give_back();
        Ok(Self { other_tracers, ..probe })
    }
}

/// What is known before an object is loaded. Attaching is tried with several kinds of hooks, one after the other.
struct Attaching<'a> {
    request: &'a Request,
    is_there: IsThere<'a>,
    kernel: KernelBtf,
    /// Refreshed while the targets are looked up.
    namespace: RefCell<Option<Namespace>>,
    resolved: Resolved,
    /// `None` without kernel BTF.
    offsets: Option<Offsets>,
    programs: preemption::Programs,
}

impl<'a> Attaching<'a> {
    fn prepare(request: &'a Request, is_there: IsThere<'a>) -> Result<Self> {
        // Meanwhile the library asks the kernel for its features, which it would do when it first loads something.
        let kernel = thread::scope(|scope| {
            let _ = thread::Builder::new().spawn_scoped(scope, aya::features);
            KernelBtf::read()
        });
        let namespace = Namespace::own(&kernel)?;
        let resolved = request.scope.resolve(namespace.as_ref())?;
        let (targets, room) = (resolved.targets.len(), request.room.targets);
        if targets > room as usize {
            bail!("{targets} targets are too many: at most {room}");
        }
        // One trial attaches its program before the other one detaches its programs: the kernel waits for a grace
        // period of RCU when a tracepoint gets its first program soon after another one has lost its last.
        let pending = pending_flag::Trial::begin(&kernel);
        let programs = preemption::programs_by(&kernel);
        let signal_flag = pending.bit();
        let offsets = kernel.offsets.as_ref().ok();
        let offsets = offsets.map(|offsets| Offsets { signal_flag, ..*offsets });
        let namespace = RefCell::new(namespace);
        Ok(Self { request, is_there, kernel, namespace, resolved, offsets, programs })
    }

    /// Attaches the hooks that were asked for, or the best ones that this kernel takes.
    fn with_best_hooks(&self) -> Result<Probe> {
        match self.request.hooks {
            HookChoice::Raw => self.with_raw("forced by --hooks raw".to_owned()),
            HookChoice::Btf => self.with_btf(Hooks::Btf { because: None }),
            HookChoice::Perf => self.with_btf(Hooks::Perf),
            HookChoice::Auto => {
                let mut because = None;
                if self.programs.preempted {
                    match self.with_btf(Hooks::Perf) {
                        Ok(probe) => return Ok(probe),
                        Err(why) => because = Some(format!("{why:#}")),
                    }
                }
                self.with_btf(Hooks::Btf { because }).or_else(|why| {
                    self.with_raw(format!("{why:#}"))
                        .with_context(|| format!("BTF tracepoints: {why:#}; raw tracepoints"))
                })
            }
        }
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            threads: matches!(self.request.scope, Scope::Thread(_) | Scope::Threads(_)),
            groups: self.request.group_by != GroupBy::Syscall,
            preempted: self.programs.preempted,
            exchange: self.programs.exchange,
            kernel_btf: self.offsets.is_some(),
        }
    }

    fn plan(&self, preempted: bool) -> LoadPlan<'_> {
        let Self { request, resolved, offsets, .. } = self;
        LoadPlan { request, resolved, offsets: *offsets, preempted }
    }

    /// With the programs of the BTF object: at BTF tracepoints, or at those of perf where there are any.
    fn with_btf(&self, hooks: Hooks) -> Result<Probe> {
        self.kernel.offsets.as_ref().map_err(|why| anyhow!("{why:#}"))?;
        // Perf's tracepoints keep preemption off.
        let plan = self.plan(self.programs.preempted && hooks != Hooks::Perf);
        let kernel = &self.kernel;
        let (loaded, btf) = while_loading(|| load::load(BTF_OBJECT, &plan), || kernel.attachable());
        let (mut ebpf, diagnostics) = loaded.map_err(|error| {
            // The kernel itself only says "invalid argument".
            let old = !privileges::kernel_is_at_least(5, 12);
            if old {
                anyhow!("no task storage, or no atomic fetch-and-add, for programs before 5.12")
            } else {
                error
            }
        })?;
        let btf = btf?;
        let conditions = self.conditions();
        let to_attach = Hook::to_attach(&hooks, conditions);
        // The verifier is about to take memory as well, which counts in a cgroup.
        memory::give_back();
        load_all(&mut ebpf, &to_attach, Iterator::to_load(conditions), Some(&btf))?;
        drop(btf);
        cpu_states::set_on_all_cpus(&ebpf, detail::FIRST)?;
        let scope = &self.request.scope;
        let tasks = match scope {
            Scope::Process(pid) => Tasks::OfProcess(*pid),
            // The tid of the one thread may change.
            Scope::Thread(thread) => Tasks::OfProcess(thread.tgid),
            _ => Tasks::All,
        };
        let open_calls = OpenCalls::link(&mut ebpf, tasks)?;
        let cpus = possible_cpus()?;
        let groups = match self.request.group_by {
            GroupBy::Syscall => None,
            by => Some(Groups::open(&mut ebpf, by, self.request.room.groups, cpus, tasks)?),
        };
        let can_list = open_calls.can_be_listed();
        let stopped_before = if can_list { HashSet::new() } else { stopped::in_calls(scope) };
        let mut cpu_times = CpuTimes::open(&ebpf, cpus)?;
        // After context switches and ends are seen, so that no slice is missed; before the first call is.
        let note_running = |ebpf: &mut Ebpf| -> Result<()> {
            cpu_times.note_running(ebpf, tasks);
            Ok(())
        };
        let (links, targets) = self.attach(&to_attach, &mut ebpf, note_running)?;
        let maps = Maps::open(&ebpf, cpus)?;
        let detail = DetailControl::new(&ebpf, cpus, true)?;
        let attached_at_ns = monotonic_ns();
        cpu_times.begin();
        // The first listing notes calls that were interrupted before the hooks saw them.
        let stopped_in_calls =
            if open_calls.list().is_some() { 0 } else { stopped_in_calls(scope, &stopped_before) };
        let reader = Reader {
            open_calls,
            groups,
            cpu_times: Some(cpu_times),
            stopped_in_calls,
            ..Reader::new(maps, targets)
        };
        Ok(Probe {
            links,
            ebpf,
            reader,
            diagnostics,
            hooks,
            attached_at_ns,
            detail,
            grace_period: GracePeriod::prepare(),
            other_tracers: None,
        })
    }

    /// With raw tracepoints.
    fn with_raw(&self, because: String) -> Result<Probe> {
        let by = self.request.group_by;
        if by != GroupBy::Syscall {
            bail!("--by {} takes BTF tracepoints and task storage: Linux 5.12 with BTF", by.id());
        }
        let scope = &self.request.scope;
        if self.offsets.is_none() && scope.takes_btf() {
            bail!("without kernel BTF only one process can be measured: give its PID with -p");
        }
        let forced = self.request.hooks == HookChoice::Raw;
        let hooks = Hooks::Raw { because, forced, tells_abi: self.offsets.is_some() };
        let (mut ebpf, diagnostics) = load::load(RAW_OBJECT, &self.plan(self.programs.preempted))?;
        cpu_states::set_on_all_cpus(&ebpf, detail::NO_PARTS)?;
        let to_attach = Hook::to_attach(&hooks, self.conditions());
        load_all(&mut ebpf, &to_attach, std::iter::empty(), None)?;
        let stopped_before = stopped::in_calls(scope);
        let enter_threads = |ebpf: &mut Ebpf| match self.offsets {
            Some(_) => Ok(()),
            // Without BTF a child cannot be recognised when it is forked. The threads that exist now are entered
            // instead, and any other thread is younger. Thread exits are seen already, so that a thread that dies
            // meanwhile does not stay in the map for long.
            None => load::enter_threads(ebpf, self.resolved.scope.id),
        };
        let (links, targets) = self.attach(&to_attach, &mut ebpf, enter_threads)?;
        let stopped_in_calls = stopped_in_calls(scope, &stopped_before);
        let cpus = possible_cpus()?;
        let maps = Maps::open(&ebpf, cpus)?;
        let detail = DetailControl::new(&ebpf, cpus, false)?;
        let attached_at_ns = monotonic_ns();
        let reader = Reader { stopped_in_calls, ..Reader::new(maps, targets) };
        Ok(Probe {
            links,
            ebpf,
            reader,
            diagnostics,
            hooks,
            attached_at_ns,
            detail,
            grace_period: GracePeriod::prepare(),
            other_tracers: None,
        })
    }

    /// Attaches `hooks`, whose programs are loaded, phase by phase. Once lives are seen, looks at the targets again.
    /// Calls `before_calls` before calls are seen.
    fn attach(
        &self,
        hooks: &[Hook],
        ebpf: &mut Ebpf,
        before_calls: impl FnOnce(&mut Ebpf) -> Result<()>,
    ) -> Result<(Vec<Link>, Targets)> {
        let mut parents = Vec::new();
        if self.resolved.scope.follow != 0 {
            target_map::note_forks(ebpf, true)?;
            parents = proc::parents()?;
        }
        let mut links = Vec::new();
        let mut attach = |phase: Phase, ebpf: &mut Ebpf| -> Result<()> {
            for hook in hooks.iter().filter(|hook| hook.phase == phase) {
                links.push(Link::attach(*hook, ebpf)?);
            }
            Ok(())
        };
        attach(Phase::Lives, ebpf)?;
        let targets = Targets::check(
            ebpf,
            &self.plan(self.programs.preempted),
            &parents,
            self.namespace.borrow_mut().as_mut(),
            self.is_there,
        )?;
        attach(Phase::InsideCalls, ebpf)?;
        before_calls(ebpf)?;
        attach(Phase::Calls, ebpf)?;
        Ok((links, targets))
    }
}

/// What `load` and `other` return. `other` runs in a thread of its own, where one can be started.
fn while_loading<L, O: Send>(load: impl FnOnce() -> L, other: impl Fn() -> O + Sync) -> (L, O) {
    thread::scope(|scope| {
        let helper = thread::Builder::new().spawn_scoped(scope, &other).ok();
        let loaded = load();
        let other = match helper {
            Some(helper) => helper.join().expect("it does not panic"),
            None => other(),
        };
        (loaded, other)
    })
}

/// How many threads were stopped in a call `before` the hooks were attached, or are now: threads may have gone on, or
/// been stopped, meanwhile.
fn stopped_in_calls(scope: &Scope, before: &HashSet<u32>) -> u64 {
    stopped::in_calls(scope).union(before).count() as u64
}

/// Kernels before 5.11 charge BPF memory to this limit. Where it cannot be lifted, loading says so.
fn lift_memlock_limit() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}
