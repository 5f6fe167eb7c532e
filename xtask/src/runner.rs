//! Starts a program cargo built (tests, benches) as root. Cargo calls it; nobody types it.
//!
//! Cargo itself stays unprivileged, so the target folder stays the user's own.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::sh;

/// The hidden command's name.
pub(crate) const COMMAND: &str = "run-as-root";

/// Makes a cargo command start what it builds through sudo.
pub(crate) fn install(cargo: &mut Command) -> Result<()> {
    let exe = env::current_exe().context("cannot find xtask's own program file")?;
    // An array, so that a path with spaces stays one word; `cfg(all())` is every target.
    cargo.arg("--config").arg(format!("target.'cfg(all())'.runner=[{exe:?}, {COMMAND:?}]"));
    Ok(())
}

/// Replaces this process by `sudo env KEEP=… PROGRAM ARGS`.
pub(crate) fn run(args: &[&str]) -> Result<ExitCode> {
    let Some((program, args)) = args.split_first() else { bail!("{COMMAND}: no program given") };
    // sudo drops the environment; cargo's part of it is what tests find their files by.
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
