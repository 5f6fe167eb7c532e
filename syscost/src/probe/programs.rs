//! Programs of an object into the kernel, several at a time: most of the time until the first sample is the
//! verifier's.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};

use super::{
    hooks::{Hook, Iterator, Way},
    interruption, memory,
};

/// How many programs are loaded at a time. More would save little: the verifier takes as long for the program at
/// `sys_exit` as for all others.
const AT_A_TIME: usize = 2;

/// With less memory than this, bytes, programs are loaded one after the other. The verifier takes up to 32 MiB for
/// a program, which newer kernels count in the cgroup.
const PLENTY: u64 = 96 << 20;

/// A program to load.
#[derive(Clone, Copy)]
enum Job {
    Hook(Hook),
    Iterator(Iterator),
}

impl Job {
    const fn name(&self) -> &'static str {
        match self {
            Self::Hook(hook) => hook.program,
            Self::Iterator(iterator) => iterator.program,
        }
    }

    const fn is_optional(&self) -> bool {
        matches!(self, Self::Iterator(Iterator { optional: true, .. }))
    }

    fn load(&self, program: &mut Program, btf: Option<&Btf>) -> Result<()> {
        let kernel = || btf.context("no BTF to load with");
        let loaded = match (self, program) {
            (Self::Hook(hook), Program::BtfTracePoint(program)) if hook.way == Way::Btf => {
                let kernel = kernel()?;
                interruption::retried(|| program.load(hook.tracepoint, kernel))
            }
            (Self::Hook(_), Program::RawTracePoint(program)) => {
                interruption::retried(|| program.load())
            }
            (Self::Hook(_), Program::TracePoint(program)) => {
                interruption::retried(|| program.load())
            }
            (Self::Iterator(_), Program::Iter(program)) => {
                let kernel = kernel()?;
                interruption::retried(|| program.load("task", kernel))
            }
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.with_context(|| match self {
            Self::Hook(hook) => format!("cannot load the program for `{}`", hook.tracepoint),
            Self::Iterator(iterator) => format!("cannot load the iterator `{}`", iterator.program),
        })
    }
}

/// Loads the programs of `hooks` and `iterators`. `btf`: the kernel's, for BTF tracepoints and iterators.
///
/// All threads that this starts have ended when it returns, so that none keeps privileges that are given up later.
///
/// # Errors
/// When the kernel refuses a program, unless that is optional: then the program has no descriptor afterwards.
pub(super) fn load_all(
    ebpf: &mut Ebpf,
    hooks: &[Hook],
    iterators: impl std::iter::Iterator<Item = Iterator>,
    btf: Option<&Btf>,
) -> Result<()> {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    // Jobs are taken from the end: the programs for system calls are the last hooks, and take the longest.
    let jobs = iterators.map(Job::Iterator).chain(hooks.iter().copied().map(Job::Hook));
    let jobs = jobs.map(|job| (job, programs.remove(job.name())));
    let jobs = Mutex::new(jobs.enumerate().collect::<Vec<_>>());
    let work = || -> Vec<(usize, anyhow::Error)> {
        let mut refused = Vec::new();
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((at, (job, program))) = job else { return refused };
            let program = program.with_context(|| format!("object has no program {}", job.name()));
            match program.and_then(|program| job.load(program, btf)) {
                Err(error) if !job.is_optional() => refused.push((at, error)),
                _ => {}
            }
        }
    };
    let has_room = memory::limit().is_none_or(|limit| limit >= PLENTY);
    let at_a_time = if has_room { AT_A_TIME } else { 1 };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(at_a_time);
    let refused = thread::scope(|scope| {
        // Where no thread can be started, there are fewer of them.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..threads).map_while(start).collect();
        let mut refused = work();
        for helper in helpers {
            refused.extend(helper.join().expect("loading does not panic"));
        }
        refused
    });
    // The same one however fast the threads were.
    let first = refused.into_iter().min_by_key(|(at, _)| *at);
    first.map_or(Ok(()), |(_, error)| Err(error))
}
