//! What tracing costs: added ns per call and per context switch, over untraced ones, of syscost and
//! of everything it is compared with. `cargo xtask bench` runs it; it needs root.
//!
//! A worker process pinned to one CPU times its work in small pieces, whose median is what was
//! measured. Medians and quartiles in the tables are over rounds that each have everything once;
//! ratios are taken per round. Knows nothing of syscost but its public parts.

mod clock;
mod contender;
mod daemon;
mod floor;
mod instructions;
mod options;
mod peer;
mod requirement;
mod rounds;
mod stats;
mod table;
mod work;
mod worker;

use std::{env, fs, process::ExitCode};

use anyhow::{Result, ensure};
use clap::Parser;
use options::Options;

fn main() -> ExitCode {
    let has = |flag: &str| env::args().any(|arg| arg == flag);
    if has("--worker") {
        worker::serve();
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` and the like run this without meaning it.
    if !has("--bench") {
        return ExitCode::SUCCESS;
    }
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and prints; `false` when a requirement is missed.
fn run(options: &Options) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "attaching to processes needs root (try sudo)");
    if options.instructions {
        instructions::print(options)?;
        return Ok(true);
    }
    println!("{}\n", machine());
    let measured = rounds::measure(options)?;
    table::print(&measured);
    let mut met = requirement::print_ratios(&measured);
    if options.wants(daemon::ID) {
        met &= daemon::run(options.starts())?;
    }
    Ok(met)
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
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
