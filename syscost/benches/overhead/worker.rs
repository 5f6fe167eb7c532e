//! The measured process: this very program, run again with `--worker`.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdin, stdout},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Calls in a batch, of anything that costs less than a µs.
pub const BATCH: u32 = 200_000;

/// A process that times batches of calls when asked to.
pub struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start() -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the worker")?;
        let requests = child.stdin.take().context("the worker has no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("the worker has no stdout")?);
        Ok(Self { child, requests, answers })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The mean cost of a call, in a batch of `calls`.
    pub fn ns_per_call(&mut self, calls: u32) -> Result<f64> {
        writeln!(self.requests, "{calls}").context("the worker is gone")?;
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
pub fn serve() {
    pin_to_last_cpu();
    for request in stdin().lines().map_while(Result::ok) {
        let calls: u32 = request.parse().expect("a number of calls");
        let begin = Instant::now();
        for _ in 0..calls {
            // SAFETY: takes nothing and touches no memory.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        let answer = begin.elapsed().as_nanos() as f64 / f64::from(calls);
        println!("{answer}");
        stdout().flush().expect("someone listens");
    }
}

fn pin_to_last_cpu() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).expect("affinity can be read");
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.expect("one CPU is allowed")).expect("it is in the set");
    sched_setaffinity(this, &one).expect("affinity can be set");
}
