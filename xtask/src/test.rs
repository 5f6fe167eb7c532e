//! Runs every test and counts them in the last line.

use std::{
    io::{BufRead, BufReader, Write},
    ops::AddAssign,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    runner,
    sh::{self, Privilege},
};

const KERNEL_TARGET: [&str; 6] =
    ["--package", "syscost", "--features", "kernel-tests", "--test", "kernel"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the tests against the live kernel
    #[arg(long, conflicts_with = "no_kernel")]
    kernel: bool,
    /// Only the tests that need no root
    #[arg(long)]
    no_kernel: bool,
    /// Print the names of the tests and run none
    #[arg(long)]
    list: bool,
    /// Only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Runs the tests that are asked for. Fails also if kernel tests are among them and there is no root.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let &Args { kernel: only_kernel, no_kernel, list, ref filters } = args;
    if list {
        return print_names(only_kernel, no_kernel, filters);
    }
    let mut counts = Counts::default();
    if !only_kernel {
        counts += count(test_command().arg("--").args(filters))?;
    }
    let privilege = if no_kernel { Privilege::None } else { acquire_root()? };
    let mut kernel_missing = false;
    if privilege == Privilege::None {
        let skipped = list_kernel_tests(filters)?;
        counts.skipped += skipped;
        kernel_missing = !no_kernel && skipped > 0;
        let why = if no_kernel { "as asked" } else { "they need root, and sudo gives none" };
        println!("\n{skipped} kernel tests were not run: {why}");
        if kernel_missing {
            println!("run this as root, or leave them out with --no-kernel");
        }
    } else {
        counts += run_kernel_tests(privilege, filters)?;
    }

    println!("\n{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    let good = counts.failed == 0 && !kernel_missing;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// A test that said so was skipped, which libtest counts as passed.
    pub(crate) fn skip_one(&mut self) {
        self.skipped += 1;
        self.passed = self.passed.saturating_sub(1);
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
pub(crate) fn parse_result(line: &str) -> Option<Counts> {
    let (_, result) = line.split_once("test result: ")?;
    let mut counts = Counts::default();
    for part in result.split(['.', ';']) {
        let mut words = part.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
        match words.next() {
            Some("passed") => counts.passed = number,
            Some("failed") => counts.failed = number,
            Some("ignored") => counts.skipped = number,
            _ => {}
        }
    }
    Some(counts)
}

/// Whether a line is a test's word that it cannot run here (`tests/kernel/harness.rs`).
pub(crate) fn skipped_here(line: &str) -> bool {
    line.starts_with("skipped here: ")
}

fn test_command() -> Command {
    let mut cargo = sh::cargo();
    // Everything is to be counted, also after the first target that fails.
    cargo.args(["test", "--no-fail-fast"]);
    cargo
}

/// How the kernel tests get root; asks for a password if it takes one.
fn acquire_root() -> Result<Privilege> {
    let privilege = sh::privilege();
    if privilege == Privilege::Sudo {
        println!("\nthe kernel tests need root: asking sudo");
        // Asked here, as cargo would start the tests with the question in between their lines.
        if !sh::status(Command::new("sudo").arg("--validate"))?.success() {
            return Ok(Privilege::None);
        }
    }
    Ok(privilege)
}

fn run_kernel_tests(privilege: Privilege, filters: &[String]) -> Result<Counts> {
    let mut cargo = test_command();
    if privilege == Privilege::Sudo {
        runner::install(&mut cargo)?;
    }
    // One at a time: they count what the whole machine does.
    count(cargo.args(KERNEL_TARGET).args(["--", "--test-threads=1"]).args(filters))
}

fn list_kernel_tests(filters: &[String]) -> Result<u64> {
    Ok(names(&KERNEL_TARGET, filters)?.len() as u64)
}

/// Prints which tests there are, and runs none.
fn print_names(only_kernel: bool, no_kernel: bool, filters: &[String]) -> Result<ExitCode> {
    let mut all = Vec::new();
    if !only_kernel {
        all.extend(names(&[], filters)?);
    }
    if !no_kernel {
        all.extend(names(&KERNEL_TARGET, filters)?);
    }
    all.iter().for_each(|name| println!("{name}"));
    Ok(ExitCode::SUCCESS)
}

/// The names of the tests of a target, or of all that need no root.
fn names(target: &[&str], filters: &[String]) -> Result<Vec<String>> {
    let mut cargo = test_command();
    cargo.args(target).args(["--", "--list", "--format=terse"]).args(filters);
    let list = sh::capture(&mut cargo)?;
    Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Runs a test command, showing its output as it comes, and sums up its results.
fn count(command: &mut Command) -> Result<Counts> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start `cargo test`")?;
    let stdout = child.stdout.take().context("`cargo test` has no output")?;
    let (mut counts, mut skipped) = (Counts::default(), 0);
    let mut reader = BufReader::new(stdout);
    let (mut line, mut out) = (Vec::new(), std::io::stdout());
    while reader.read_until(b'\n', &mut line)? > 0 {
        out.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        if let Some(result) = parse_result(&text) {
            counts += result;
        } else if skipped_here(&text) {
            skipped += 1;
        }
        line.clear();
    }
    (0..skipped).for_each(|_| counts.skip_one());
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        // It did not build, or a test process died before it could count.
        println!("\n`cargo test` failed outside the tests ({status}): counted as one failure");
        counts.failed = 1;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 2 ignored; 0 measured; 7 filtered \
                    out; finished in 0.01s\n";
        assert_eq!(parse_result(line), Some(Counts { passed: 12, failed: 3, skipped: 2 }));
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(parse_result("test parse_result ... ok\n"), None);
    }
}
