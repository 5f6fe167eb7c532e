//! What is checked besides tests.

use std::process::ExitCode;

use anyhow::Result;

use crate::{sh, sources, walls};

/// Formatting, lints, documentation, walls, stale objects; the first that fails ends it.
pub(crate) fn run() -> Result<ExitCode> {
    sh::run(sh::cargo().args(["fmt", "--all", "--", "--check"]))?;
    // The kernel side compiles for its own target only.
    let mut clippy = sh::cargo();
    clippy.args(["clippy", "--workspace", "--exclude", "syscost-ebpf", "--all-targets"]);
    sh::run(clippy.args(["--all-features", "--", "-D", "warnings"]))?;
    sh::run(sh::cargo().args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))?;
    walls::check()?;
    sources::check()?;
    eprintln!("the kernel objects are those of these sources");
    Ok(ExitCode::SUCCESS)
}
