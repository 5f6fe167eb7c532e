//! Live per-syscall latency histograms of a running process.

use std::process::ExitCode;

use syscost::{
    cli::{self, exit},
    run,
};

fn main() -> ExitCode {
    let plan = match cli::run_parse(std::env::args_os()) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    match run::run(plan) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("syscost: {error:#}");
            ExitCode::from(exit::TRACING_FAILED)
        }
    }
}
