//! The daemon's own appetite: the real program, attached to a busy worker.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{stats::spread, worker::Worker};

pub(crate) struct Appetite {
    /// From starting the program to its first line of data, ms.
    pub first_sample_ms: f64,
    /// VmRSS after that, MiB.
    pub resident_mib: f64,
    /// CPU time at one sample a second, percent of one core.
    pub cpu_pct: f64,
}

/// Starts the program `starts` times, and watches the last one for `watch`.
pub(crate) fn measure(starts: usize, watch: Duration) -> Result<Appetite> {
    let mut first_samples = Vec::new();
    for _ in 0..starts {
        first_samples.push(first_sample_ms()?);
    }
    let (resident_mib, cpu_pct) = at_one_hertz(watch)?;
    Ok(Appetite { first_sample_ms: spread(&first_samples).median, resident_mib, cpu_pct })
}

fn first_sample_ms() -> Result<f64> {
    let mut worker = Worker::start()?;
    worker.ns_per_call(1)?;
    let begin = Instant::now();
    let mut syscost = syscost(worker.pid(), &["--json", "-i", "10ms"])?;
    let mut line = String::new();
    BufReader::new(syscost.stdout.take().context("no stdout")?).read_line(&mut line)?;
    let elapsed = begin.elapsed();
    syscost.kill()?;
    syscost.wait()?;
    ensure!(line.contains("syscost.stat/1"), "syscost printed {line:?}");
    Ok(elapsed.as_secs_f64() * 1e3 - 10.0)
}

fn at_one_hertz(watch: Duration) -> Result<(f64, f64)> {
    let mut worker = Worker::start()?;
    let mut syscost = syscost(worker.pid(), &["--json", "-i", "1s"])?;
    let pid = syscost.id() as i32;
    let stdout = syscost.stdout.take().context("no stdout")?;
    let lines = std::thread::spawn(move || BufReader::new(stdout).lines().count());
    worker.ns_per_call(2_000_000)?;
    let before = cpu_ns(pid)?;
    let begin = Instant::now();
    while begin.elapsed() < watch {
        worker.ns_per_call(100_000)?;
    }
    let elapsed_ns = begin.elapsed().as_nanos() as f64;
    let used_ns = (cpu_ns(pid)? - before) as f64;
    let status = procfs::process::Process::new(pid)?.status()?;
    let resident_kib = status.vmrss.context("no VmRSS")?;
    syscost.kill()?;
    syscost.wait()?;
    ensure!(lines.join().is_ok_and(|lines| lines > 0), "syscost printed nothing");
    Ok((resident_kib as f64 / 1024.0, used_ns * 100.0 / elapsed_ns))
}

/// CPU time of all threads, ns: the first number of `schedstat`, finer than the ticks of `stat`.
fn cpu_ns(pid: i32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += schedstat.split(' ').next().context("empty schedstat")?.parse::<u64>()?;
    }
    Ok(sum)
}

fn syscost(pid: u32, args: &[&str]) -> Result<std::process::Child> {
    Command::new(env!("CARGO_BIN_EXE_syscost"))
        .args(["stat", "-p", &pid.to_string()])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start syscost")
}
