//! Starts the overhead benchmark as root.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    runner,
    sh::{self, Privilege},
};

/// `cargo xtask bench`; the arguments are the benchmark's own.
pub(crate) fn run(args: &[&str]) -> Result<ExitCode> {
    let args = args.strip_prefix(&["--"]).unwrap_or(args);
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
