//! How many instructions each contender costs, in an emulator that counts them. `cargo xtask bench
//! --instructions` starts this there, and reads the lines that it prints.

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use syscost::{probe::Probe, request::Request};

use crate::{
    contender::{CONTENDERS, Contender},
    options::Options,
    worker::Worker,
};

/// What it takes to attach to a process.
pub(crate) const ATTACH: &str = "attach";

/// Prints a line for each contender that is there: `instructions WORK ID UNTRACED TRACED NAME…`.
pub(crate) fn print(options: &Options) -> Result<()> {
    let wanted =
        |contender: &&Contender| options.wants(contender.id) && contender.missing().is_none();
    let mut left: Vec<&Contender> = CONTENDERS.iter().filter(wanted).collect();
    while let Some(first) = left.first().copied() {
        // To attach takes the emulator seconds, so that all kinds of work have one tracer.
        let (same, others) = left.into_iter().partition(|other| other.tracer == first.tracer);
        left = others;
        match count(first, &same) {
            Ok(()) => {}
            // A peer that does not run here is no reason to know nothing of the others.
            Err(error) if first.peer().is_some() => {
                println!("no instructions of {}: {error:#}", first.id);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot measure {}", first.id));
            }
        }
    }
    if options.wants(ATTACH) {
        println!("instructions {ATTACH} {ATTACH} 0 {} until attached to a process", attach()?);
    }
    Ok(())
}

/// Prints the lines of `contenders`, all of which have the same tracer as `one`.
fn count(one: &Contender, contenders: &[&Contender]) -> Result<()> {
    let worker = &mut Worker::start(one.work)?;
    let instructions = |worker: &mut Worker| -> Result<Vec<f64>> {
        let each = contenders.iter().map(|contender| {
            // Once to make warm what is set up at the first time.
            worker.instructions(contender.work)?;
            worker.instructions(contender.work)
        });
        each.collect()
    };
    let before = instructions(worker)?;
    let traced = one.settled(worker, instructions)?;
    let after = instructions(worker)?;
    for (index, contender) in contenders.iter().enumerate() {
        let Contender { id, name, work, .. } = contender;
        // The kernel does more in a program's first moments than later.
        let (untraced, traced) = (before[index].min(after[index]), traced[index]);
        println!("instructions {} {id} {untraced} {traced} {name}", work.word());
    }
    Ok(())
}

/// CPU time of this process while it attaches to itself, which is instructions here. The time that the
/// kernel lets it wait is not in it.
fn attach() -> Result<i64> {
    let cpu_ns = || -> Result<i64> {
        let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
    };
    let before = cpu_ns()?;
    let probe = Probe::attach(&Request::process(std::process::id()))?;
    let after = cpu_ns()?;
    drop(probe);
    Ok(after - before)
}
