//! The daemon's own appetite: the real program, attached to a busy worker.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{requirement, stats::spread, work::Work, worker::Worker};

/// What `--only` takes.
pub(crate) const ID: &str = "daemon";

/// How long it is watched at one sample a second.
const WATCH: Duration = Duration::from_secs(10);

/// Measures and prints; `starts` is how often the program is started. `false` when a requirement is
/// missed.
pub(crate) fn run(starts: usize) -> Result<bool> {
    let mut first_samples = Vec::new();
    for _ in 0..starts {
        first_samples.push(first_sample_ms()?);
    }
    let mut met =
        requirement::print("start to first sample", spread(&first_samples).median, 250.0, "ms");
    let of_process = at_one_hertz(|pid| vec!["-p".to_owned(), pid.to_string()])?;
    let of_host = at_one_hertz(|_| vec!["-a".to_owned()])?;
    let resident = of_process.resident_mib.max(of_host.resident_mib);
    met &= requirement::print("resident memory after attaching", resident, 30.0, "MiB");
    let unit = "% of one core";
    met &= requirement::print("daemon at 1 Hz, of a process", of_process.cpu_pct, 0.5, unit);
    met &= requirement::print("daemon at 1 Hz, of the host", of_host.cpu_pct, 0.5, unit);
    Ok(met)
}

/// From starting the program to its first line of data, ms.
fn first_sample_ms() -> Result<f64> {
    let worker = Worker::start(Work::Calls)?;
    let begin = Instant::now();
    let mut syscost = syscost(&["-p", &worker.pid().to_string(), "-i", "10ms"])?;
    let mut line = String::new();
    BufReader::new(syscost.stdout.take().context("no stdout")?).read_line(&mut line)?;
    let elapsed = begin.elapsed();
    syscost.kill()?;
    syscost.wait()?;
    ensure!(line.contains("syscost.stat/1"), "syscost printed {line:?}");
    Ok(elapsed.as_secs_f64() * 1e3 - 10.0)
}

struct Appetite {
    /// VmRSS once attached.
    resident_mib: f64,
    /// CPU time of all its threads.
    cpu_pct: f64,
}

/// `target` makes the arguments that say whose calls, out of the worker's PID.
fn at_one_hertz(target: impl FnOnce(u32) -> Vec<String>) -> Result<Appetite> {
    let mut worker = Worker::start(Work::Mix)?;
    let target = target(worker.pid());
    let mut args: Vec<&str> = target.iter().map(String::as_str).collect();
    args.extend(["-i", "1s"]);
    let mut syscost = syscost(&args)?;
    let pid = syscost.id() as i32;
    let stdout = syscost.stdout.take().context("no stdout")?;
    let lines = std::thread::spawn(move || BufReader::new(stdout).lines().count());
    // What it takes to start is not what it takes to run.
    busy_for(&mut worker, Duration::from_secs(2))?;
    let before = cpu_ns(pid)?;
    let watched = busy_for(&mut worker, WATCH)?;
    let used_ns = (cpu_ns(pid)? - before) as f64;
    let status = procfs::process::Process::new(pid)?.status()?;
    let resident_kib = status.vmrss.context("no VmRSS")?;
    syscost.kill()?;
    syscost.wait()?;
    let lines = lines.join().unwrap_or_default();
    ensure!(lines as u64 >= WATCH.as_secs(), "syscost printed only {lines} lines");
    Ok(Appetite {
        resident_mib: resident_kib as f64 / 1024.0,
        cpu_pct: used_ns * 100.0 / watched.as_nanos() as f64,
    })
}

fn busy_for(worker: &mut Worker, at_least: Duration) -> Result<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < at_least {
        worker.ns(Work::Mix.batch())?;
    }
    Ok(begin.elapsed())
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

fn syscost(args: &[&str]) -> Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_syscost"))
        .args(["stat", "--json"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start syscost")
}
