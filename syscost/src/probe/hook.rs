//! Programs and the tracepoints that they are attached to.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, Program, ProgramError, RawTracePoint, TracePoint,
        raw_trace_point::RawTracePointLink, tp_btf::BtfTracePointLink, trace_point::TracePointLink,
    },
};

use super::{interruption, load, memory};

/// A program of an object, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Hook {
    program: &'static str,
    tracepoint: &'static str,
    way: Way,
}

/// How the kernel calls the program.
#[derive(Clone, Copy)]
enum Way {
    Btf,
    Raw,
    /// As one of perf's; its category.
    Perf(&'static str),
    /// When user space reads, for each of the tasks that the iterator goes over.
    Iterator,
}

/// A hook and its attachment.
pub(super) struct Attached {
    hook: Hook,
    /// `None` while it is detached.
    link: Option<Link>,
}

impl Attached {
    pub(super) const fn tracepoint(&self) -> &'static str {
        self.hook.tracepoint
    }

    /// Detaches it. Returns while the program may still be running elsewhere.
    pub(super) fn detach(&mut self) {
        self.link = None;
    }

    /// Attaches it again, if it is not.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        if self.link.is_none() {
            self.link = Some(self.hook.link(ebpf)?);
        }
        Ok(())
    }
}

/// An attachment; closing it detaches.
#[expect(dead_code, reason = "held to be dropped")]
enum Link {
    Btf(BtfTracePointLink),
    Raw(RawTracePointLink),
    Perf(TracePointLink),
}

impl Hook {
    pub(super) const fn btf(program: &'static str, tracepoint: &'static str) -> Self {
        Self { program, tracepoint, way: Way::Btf }
    }

    pub(super) const fn raw(program: &'static str, tracepoint: &'static str) -> Self {
        Self { program, tracepoint, way: Way::Raw }
    }

    pub(super) const fn perf(
        program: &'static str,
        category: &'static str,
        tracepoint: &'static str,
    ) -> Self {
        Self { program, tracepoint, way: Way::Perf(category) }
    }

    /// An iterator over tasks, which is only to be loaded.
    pub(super) const fn iterator(program: &'static str) -> Self {
        Self { program, tracepoint: "task", way: Way::Iterator }
    }

    pub(super) const fn tracepoint(&self) -> &'static str {
        self.tracepoint
    }

    /// Whether the program sees threads begin, exec or end.
    pub(super) fn sees_lives(&self) -> bool {
        const LIVES: [&str; 4] =
            ["sched_process_exit", "sched_process_fork", "sched_wakeup_new", "sched_process_exec"];
        LIVES.contains(&self.tracepoint)
    }

    /// Loads `program`; `btf` is the kernel's, for those that take it.
    fn load(&self, program: &mut Program, btf: Option<&Btf>) -> Result<()> {
        let btf = || btf.context("no BTF to load with");
        match (self.way, program) {
            (Way::Btf, Program::BtfTracePoint(program)) => {
                let btf = btf()?;
                interruption::retried(|| program.load(self.tracepoint, btf))
            }
            (Way::Raw, Program::RawTracePoint(program)) => interruption::retried(|| program.load()),
            (Way::Perf(_), Program::TracePoint(program)) => {
                interruption::retried(|| program.load())
            }
            (Way::Iterator, Program::Iter(program)) => {
                let btf = btf()?;
                interruption::retried(|| program.load(self.tracepoint, btf))
            }
            _ => Err(ProgramError::UnexpectedProgramType),
        }
        .with_context(|| format!("cannot load the program for `{}`", self.tracepoint))
    }

    /// Attaches the program, which is loaded.
    pub(super) fn attach(self, ebpf: &mut Ebpf) -> Result<Attached> {
        Ok(Attached { hook: self, link: Some(self.link(ebpf)?) })
    }

    fn link(&self, ebpf: &mut Ebpf) -> Result<Link> {
        let Self { program, tracepoint, way } = *self;
        match way {
            Way::Btf => {
                let program: &mut BtfTracePoint = load::typed(ebpf, program)?;
                program.attach().and_then(|id| program.take_link(id)).map(Link::Btf)
            }
            Way::Raw => {
                let program: &mut RawTracePoint = load::typed(ebpf, program)?;
                program.attach(tracepoint).and_then(|id| program.take_link(id)).map(Link::Raw)
            }
            Way::Perf(category) => {
                let program: &mut TracePoint = load::typed(ebpf, program)?;
                program
                    .attach(category, tracepoint)
                    .and_then(|id| program.take_link(id))
                    .map(Link::Perf)
            }
            Way::Iterator => Err(ProgramError::UnexpectedProgramType),
        }
        .with_context(|| format!("cannot attach `{tracepoint}`"))
    }
}

/// How many programs are loaded at a time. More would save little: one program takes the verifier almost as long
/// as all others.
const AT_A_TIME: usize = 2;

/// With less memory, bytes, they are loaded one after the other. Meanwhile the verifier takes up to 32 MiB for
/// each, which newer kernels count in the cgroup.
const PLENTY: u64 = 96 << 20;

/// Loads the programs of `hooks`, some of them at the same time: most of the time until the first sample is the
/// verifier's. Returns what came of each, in the order of `hooks`.
///
/// All threads have ended when it returns, so that none keeps privileges that this one gives up later.
pub(super) fn load_all(ebpf: &mut Ebpf, hooks: &[Hook], btf: Option<&Btf>) -> Vec<Result<()>> {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let jobs: Vec<_> = hooks.iter().map(|hook| (hook, programs.remove(hook.program))).collect();
    let jobs = Mutex::new(jobs.into_iter().enumerate().collect::<Vec<_>>());
    let work = || {
        let mut loaded = Vec::new();
        loop {
            // From the end: the programs for system calls are the last ones, and take the longest.
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((at, (hook, program))) = job else { return loaded };
            let program =
                program.with_context(|| format!("object has no program {}", hook.program));
            loaded.push((at, program.and_then(|program| hook.load(program, btf))));
        }
    };
    let has_room = memory::limit().is_none_or(|limit| limit >= PLENTY);
    let at_a_time = if has_room { AT_A_TIME } else { 1 };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(at_a_time);
    let mut loaded = thread::scope(|scope| {
        // Where no thread can be started, there are fewer of them.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..threads).map_while(start).collect();
        let mut loaded = work();
        for helper in helpers {
            loaded.extend(helper.join().expect("loading does not panic"));
        }
        loaded
    });
    loaded.sort_unstable_by_key(|(at, _)| *at);
    loaded.into_iter().map(|(_, result)| result).collect()
}
