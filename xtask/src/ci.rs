//! The checks that are not tests.

use std::process::ExitCode;

use anyhow::Result;

use crate::{sh, sources, walls};

/// Checks formatting, lints, documentation, walls, and that the committed objects come from these sources. Ends at the
/// first failure.
pub(crate) fn run() -> Result<ExitCode> {
    sh::run(sh::cargo().args(["fmt", "--all", "--", "--check"]))?;
    // The kernel side compiles for the BPF target only.
    let mut clippy = sh::cargo();
    clippy.args(["clippy", "--workspace", "--exclude", "syscost-ebpf", "--all-targets"]);
    sh::run(clippy.args(["--all-features", "--", "-D", "warnings"]))?;
    sh::run(sh::cargo().args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))?;
    walls::check()?;
    sources::check()?;
    eprintln!("the kernel objects are those of these sources");
    Ok(ExitCode::SUCCESS)
}
