//! The measured process: this very program, run again with `--worker`.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdin, stdout},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::work::{Doer, Work};

/// Asked for in place of a time.
const INSTRUCTIONS: &str = "instructions";

/// A process on one CPU that times its work when asked to.
pub(crate) struct Worker {
    work: Work,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(work: Work) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the worker")?;
        let requests = child.stdin.take().context("the worker has no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("the worker has no stdout")?);
        let mut worker = Self { work, child, requests, answers };
        // Answers once it is on its CPU and has what it needs.
        worker.ns(work.batch())?;
        Ok(worker)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What each of `count` takes, ns.
    pub(crate) fn ns(&mut self, count: u32) -> Result<f64> {
        self.ask(&format!("{} {count}", self.work.word()))
    }

    /// How many instructions each piece of `work` takes.
    pub(crate) fn instructions(&mut self, work: Work) -> Result<f64> {
        self.ask(&format!("{} {INSTRUCTIONS}", work.word()))
    }

    fn ask(&mut self, request: &str) -> Result<f64> {
        writeln!(self.requests, "{request}").context("the worker is gone")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().with_context(|| format!("the worker said {answer:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker's side.
pub(crate) fn serve() {
    pin_to_last_cpu();
    let mut doer = Doer::default();
    for request in stdin().lines().map_while(Result::ok) {
        let (work, count) = parse(&request).expect("a kind of work, and how much of it");
        let each = match count {
            Some(count) => doer.ns(work, count),
            None => doer.instructions(work),
        };
        println!("{each}");
        stdout().flush().expect("someone listens");
    }
}

/// A kind of work, and how much of it is to be timed; `None`: its instructions are to be counted.
fn parse(request: &str) -> Option<(Work, Option<u32>)> {
    let (word, count) = request.split_once(' ')?;
    let count = if count == INSTRUCTIONS { None } else { Some(count.parse().ok()?) };
    Some((Work::from_word(word)?, count))
}

fn pin_to_last_cpu() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).expect("affinity can be read");
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.expect("one CPU is allowed")).expect("it is in the set");
    sched_setaffinity(this, &one).expect("affinity can be set");
}
