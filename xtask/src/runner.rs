//! Starts a program that cargo built (tests, benches) as root. Cargo calls it as a "runner".
//!
//! Cargo itself stays unprivileged, so that the files in the target folder belong to the user.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::sh;

/// The name of the command, which is not in the help.
pub(crate) const COMMAND: &str = "run-as-root";

/// Makes a cargo command start what it builds through sudo.
pub(crate) fn install(cargo: &mut Command) -> Result<()> {
    let exe = env::current_exe().context("cannot find xtask's own program file")?;
    // An array, so that a path with spaces stays one word; `cfg(all())` is every target.
    cargo.arg("--config").arg(format!("target.'cfg(all())'.runner=[{exe:?}, {COMMAND:?}]"));
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct Args {
    program: OsString,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Replaces this process by `sudo env KEEP=… PROGRAM ARGS`.
pub(crate) fn run(Args { program, args }: &Args) -> Result<ExitCode> {
    // sudo drops the environment. Tests find their files by the variables that cargo sets.
    let kept = env::vars_os().filter(|(name, _)| is_kept(&name.to_string_lossy()));
    let mut sudo = sh::as_root(sh::Privilege::Sudo, "env");
    for (mut pair, value) in kept {
        pair.push("=");
        pair.push(value);
        sudo.arg(pair);
    }
    Err(sudo.arg(program).args(args).exec()).context("cannot start sudo")
}

fn is_kept(name: &str) -> bool {
    // Not all of CARGO_*: a registry's token would show in the process list.
    let prefixes = ["CARGO_BIN_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_TARGET_"];
    let of_tests = ["RUST_", "INSTA_", "PROPTEST_", "SYSCOST_"];
    prefixes.iter().chain(&of_tests).any(|prefix| name.starts_with(prefix))
        || ["CI", "PATH", "TERM", "NO_COLOR", "TMPDIR"].contains(&name)
}
