//! Live per-syscall latency histograms of a running process.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use syscost::{cli, exit, inherited, message, run};

fn main() -> ExitCode {
    inherited::ignore_file_size_limit();
    if let Err(error) = inherited::raise_stack_limit() {
        message::say(format!("{error:#}"));
        return ExitCode::from(exit::TRACING_FAILED);
    }
    let plan = match cli::run_parse(std::env::args_os()) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let code = match run::run(plan) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            message::say(format!("{error:#}"));
            ExitCode::from(exit::TRACING_FAILED)
        }
    };
    message::finish();
    code
}
