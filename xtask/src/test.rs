//! Builds and runs tests, and counts them in the last line.

mod suites;

use std::{
    io::{BufRead, BufReader, Write},
    ops::AddAssign,
    process::{Command, ExitCode, Stdio},
    thread,
};

use anyhow::{Context, Result};

use crate::{
    runner,
    sh::{self, Privilege},
};
use suites::Suite;

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

/// Runs the tests that are asked for, and builds only the programs that have some. Fails also if kernel
/// tests are among them and there is no root.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let filters = &args.filters;
    let mut suites = suites::all(&sh::metadata()?)?;
    let is_named = |suite: &Suite| suite.selected(filters) > 0;
    // A test that a macro names is not in the list. Then cargo has to find it.
    if suites.iter().any(is_named) {
        suites.retain(is_named);
    }
    let (kernel, others): (Vec<_>, Vec<_>) = suites.into_iter().partition(|suite| suite.needs_root);
    let others = if args.kernel { Vec::new() } else { others };
    if args.list {
        let kernel = if args.no_kernel { Vec::new() } else { kernel };
        return print_names(&[others, kernel], filters);
    }

    let mut counts = Counts::default();
    if !others.is_empty() {
        counts += count(tests_of(&others).arg("--").args(filters))?;
    }
    if !args.kernel && filters.is_empty() {
        counts += count(sh::cargo().args(["test", "--doc"]).args(FEATURES))?;
    }
    let mut kernel_missing = false;
    if !kernel.is_empty() {
        let privilege = if args.no_kernel { Privilege::None } else { acquire_root()? };
        if privilege == Privilege::None {
            let left_out: usize = kernel.iter().map(|suite| suite.selected(filters)).sum();
            counts.skipped += left_out as u64;
            kernel_missing = !args.no_kernel;
            let why =
                if args.no_kernel { "as asked" } else { "they need root, and sudo gives none" };
            println!("\n{left_out} kernel tests were not run: {why}");
            if kernel_missing {
                println!("run this as root, or leave them out with --no-kernel");
            }
        } else {
            counts += run_kernel_tests(privilege, &kernel, filters)?;
        }
    }

    println!("\n{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    let good = counts.failed == 0 && !kernel_missing;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The full names of the kernel tests.
#[cfg(test)]
pub(crate) fn names_of_kernel_tests() -> Result<Vec<String>> {
    let suites = suites::all(&sh::metadata()?)?;
    Ok(suites.into_iter().filter(|suite| suite.needs_root).flat_map(|suite| suite.names).collect())
}

/// Results of tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Moves a test from passed to skipped: libtest counts tests that return early as passed.
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

/// Whether a test says in this line that it cannot run here (`skipped` in `tests/kernel/harness.rs`).
pub(crate) fn skipped_here(line: &str) -> bool {
    line.starts_with("skipped here: ")
}

/// The same features in each build: with another set, cargo compiles syscost a second time.
const FEATURES: [&str; 2] = ["--features", "syscost/kernel-tests"];

/// A cargo command that tests these suites. It names no package: cargo chooses the features of dependencies by
/// the packages that are named, and would compile some a second time.
fn tests_of(suites: &[Suite]) -> Command {
    let mut cargo = sh::cargo();
    // All suites are to be counted, also after the first that fails.
    cargo.args(["test", "--no-fail-fast"]).args(FEATURES);
    cargo.args(suites.iter().flat_map(|suite| &suite.target));
    cargo
}

/// Finds out how the kernel tests get root. Asks for a password if sudo needs one.
fn acquire_root() -> Result<Privilege> {
    let privilege = sh::privilege();
    if privilege == Privilege::Sudo {
        println!("\nthe kernel tests need root: asking sudo");
        // Asked before cargo starts the tests, so that the question is not between their lines.
        if !sh::status(Command::new("sudo").arg("--validate"))?.success() {
            return Ok(Privilege::None);
        }
    }
    Ok(privilege)
}

fn run_kernel_tests(privilege: Privilege, suites: &[Suite], filters: &[String]) -> Result<Counts> {
    let mut cargo = tests_of(suites);
    if privilege == Privilege::Sudo {
        runner::install(&mut cargo)?;
    }
    // The tests themselves see to it that some run alone (`tests/kernel/turn.rs`).
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
    count(cargo.arg("--").arg(format!("--test-threads={threads}")).args(filters))
}

/// Prints which tests these suites have, and runs none.
fn print_names(runs: &[Vec<Suite>], filters: &[String]) -> Result<ExitCode> {
    for suites in runs.iter().filter(|suites| !suites.is_empty()) {
        let mut cargo = tests_of(suites);
        cargo.args(["--", "--list", "--format=terse"]).args(filters);
        let list = sh::capture(&mut cargo)?;
        list.lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .for_each(|name| println!("{name}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a test command, shows its output as it comes, and adds up its results.
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
        // A program did not build, or ended before it could count.
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
