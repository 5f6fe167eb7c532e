//! What tracing costs: added ns per call, over an untraced one, of syscost and of everything it is
//! compared with. `cargo xtask bench` runs it; it needs root.
//!
//! A worker process pinned to one CPU times batches of `getppid`, the cheapest call that the C
//! library does not cache. Every round measures every contender once, in turn, right after an
//! untraced batch of its own, so that a noisy moment hits all alike; medians and quartiles are
//! over the rounds. Ratios are taken per round. Knows nothing of syscost but its public parts.

mod contender;
mod daemon;
mod stats;
mod worker;

use std::{env, io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use contender::Contender;
use stats::{quartiles, spread};
use worker::Worker;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--worker") {
        worker::serve();
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` and the like run this without meaning it.
    if !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; `false` when a requirement is not met.
fn run(args: &[String]) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "attaching to processes needs root (try sudo)");
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let rounds = if has("--quick") { 7 } else { 21 };
    let contenders = if has("--no-peers") { Contender::own() } else { Contender::all() };

    println!("{}\n", machine());
    let mut untraced = Vec::new();
    let mut added: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    let progress = std::io::stderr().is_terminal();
    let mut worker = Worker::start()?;
    worker.ns_per_call(worker::BATCH)?;
    for round in 0..rounds {
        for (index, contender) in contenders.iter().enumerate() {
            // Peers that take seconds to attach and tens of µs a call need fewer rounds.
            if contender.is_slow() && round % 3 != 0 {
                continue;
            }
            let before = worker.ns_per_call(worker::BATCH)?;
            let traced = match contender.measure(&mut worker) {
                Ok(traced) => traced,
                // A peer may be broken here; that is no reason to know nothing of the others.
                Err(error) if contender.is_slow() => {
                    eprintln!("\r{}: not measured: {error:#}", contender.name());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let after = worker.ns_per_call(worker::BATCH)?;
            let alone = before.min(after);
            untraced.push(alone);
            added[index].push(traced - alone);
            if progress {
                eprint!("\rround {}/{rounds}: {:<40}", round + 1, contender.name());
            }
        }
    }
    if progress {
        eprintln!("\r{:60}", "");
    }

    let floor = index_of(&contenders, Contender::Floor);
    let empty = index_of(&contenders, Contender::Empty);
    println!("| per call | added ns (median) | quartiles | × two-clock floor |");
    println!("|---|---:|---:|---:|");
    let alone = spread(&untraced);
    println!("| untraced `getppid` | ({:.0}) | {} | |", alone.median, quartiles(alone));
    for (index, contender) in contenders.iter().enumerate() {
        if added[index].is_empty() {
            println!("| {} | – | | |", contender.name());
            continue;
        }
        let summary = spread(&added[index]);
        let ratio = summary.median / spread(&added[floor]).median;
        println!(
            "| {} | {:.0} | {} | {ratio:.2} |",
            contender.name(),
            summary.median,
            quartiles(summary),
        );
    }

    let target =
        stats::ratio(&added[index_of(&contenders, Contender::SyscostTarget)], &added[floor]);
    let bystander =
        stats::ratio(&added[index_of(&contenders, Contender::SyscostBystander)], &added[empty]);
    println!();
    let mut met = true;
    met &= requirement("target cost / two-clock floor", target, 1.35, "×");
    met &= requirement("bystander cost / empty pair", bystander, 1.25, "×");
    let daemon = daemon::measure(if has("--quick") { 5 } else { 11 }, Duration::from_secs(10))?;
    met &= requirement("start to first sample", daemon.first_sample_ms, 250.0, "ms");
    met &= requirement("resident memory after attaching", daemon.resident_mib, 30.0, "MiB");
    println!("{:<36} {:>8.3} % of one core", "daemon at 1 Hz", daemon.cpu_pct);
    Ok(met)
}

fn index_of(contenders: &[Contender], wanted: Contender) -> usize {
    contenders.iter().position(|contender| *contender == wanted).expect("is always measured")
}

fn requirement(what: &str, measured: f64, at_most: f64, unit: &str) -> bool {
    let met = measured <= at_most;
    let verdict = if met { "met" } else { "MISSED" };
    println!("{what:<36} {measured:>8.2} {unit} (at most {at_most} {unit}: {verdict})");
    met
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown CPU", |(_, model)| model.trim());
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{model}, {cpus} CPUs, Linux {}, clock source {}",
        read("/proc/sys/kernel/osrelease"),
        read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    )
}
