//! Starts the overhead benchmark: as root, or in an emulated machine.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Result, bail};

use crate::{
    instructions, runner,
    sh::{self, Privilege},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Count instructions instead of time, in an emulated machine (Debian; needs no root)
    #[arg(long)]
    instructions: bool,
    /// Record the numbers of instructions
    #[arg(long, requires = "instructions")]
    accept: bool,
    /// Options of the benchmark: --quick or --rounds N; --no-peers; --only NAME,…
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    args: Vec<OsString>,
}

/// Builds the benchmark and runs it with its own options.
pub(crate) fn run(Args { instructions, accept, args }: &Args) -> Result<ExitCode> {
    if *instructions {
        return instructions::run(*accept, args);
    }
    let privilege = sh::privilege();
    if privilege == Privilege::None {
        bail!("the benchmark loads programs into the kernel: run it as root, or install sudo");
    }
    sh::run(sh::cargo().args(["build", "--release", "--package", "syscost"]))?;
    let mut cargo = sh::cargo();
    cargo.arg("bench");
    if privilege == Privilege::Sudo {
        runner::install(&mut cargo)?;
    }
    cargo.args(["--package", "syscost", "--bench", "overhead", "--"]).args(args);
    Ok(sh::exit_code(sh::status(&mut cargo)?))
}
