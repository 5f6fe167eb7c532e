//! The kernel tests on other kernels than this machine's: emulated, two CPUs each.
//!
//! Nothing is installed. Kernels and tools are Debian packages, unpacked under the target folder; the
//! programs are linked statically and go into an initrd, beside a shell that starts them.

mod initrd;
mod machine;
mod packages;
mod verifier;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    sh,
    test::{Counts, parse_result, skipped_here},
};
use machine::Machine;
use packages::Package;

/// A kernel to test on.
struct Kernel {
    label: &'static str,
    package: Package,
    /// The hooks that this kernel must have, see `tests/kernel/harness.rs`.
    hooks: &'static str,
    /// Hooks where it skips program runs when threads preempt each other, which the numbers then say.
    may_lose: &'static str,
    /// Tests that are not run, because they need every call to be counted by such hooks.
    without: &'static [&'static str],
}

/// The oldest kernel that is supported, two in wide use, and one where programs can be preempted.
const KERNELS: [Kernel; 4] = [
    Kernel {
        label: "5.10",
        package: Package::numbered("linux-image-5.10.0-", "-cloud-amd64"),
        // No task storage for tracing programs, and no compare-exchange.
        hooks: "raw",
        may_lose: "",
        without: &[],
    },
    Kernel {
        label: "6.1",
        package: Package::numbered("linux-image-6.1.0-", "-cloud-amd64"),
        hooks: "btf,raw",
        may_lose: "",
        without: &[],
    },
    Kernel {
        label: "6.12",
        package: Package::numbered("linux-image-6.12.", "+deb13-cloud-amd64"),
        hooks: "btf,raw",
        may_lose: "",
        without: &[],
    },
    Kernel {
        label: "7.x",
        package: Package::numbered("linux-binary-7.", "+deb14-cloud-amd64"),
        hooks: "perf",
        may_lose: "btf,raw",
        // Who may not read what perf's tracepoints are called has none of them, nor has a kernel
        // without BTF.
        without: &[
            "weather::a_kernel_without_btf",
            "privileges::cap_bpf_and_cap_perfmon_are_enough",
            "privileges::diagnostics_need_no_more_than_that",
        ],
    },
];

/// A kernel that has not powered off by then is stuck; the slowest takes a third of it.
const TIME_LIMIT: Duration = Duration::from_secs(300);

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// `cargo xtask kernels [--kernel LABEL]… [--accept] [FILTER…]`
pub(crate) fn run(args: &[&str]) -> Result<ExitCode> {
    let (mut labels, mut accept, mut filters) = (Vec::new(), false, Vec::new());
    let mut args = args.iter();
    while let Some(&arg) = args.next() {
        match arg {
            "--kernel" => labels.push(*args.next().context("--kernel needs a label")?),
            "--accept" => accept = true,
            "--" => {}
            option if option.starts_with('-') => {
                eprintln!("xtask: `kernels` has no option `{option}`; see `cargo xtask help`");
                return Ok(ExitCode::from(2));
            }
            filter => filters.push(filter),
        }
    }
    if let Some(unknown) = labels.iter().find(|label| KERNELS.iter().all(|k| k.label != **label)) {
        let known = KERNELS.map(|kernel| kernel.label).join(", ");
        bail!("there is no kernel `{unknown}` here, only {known}");
    }
    let mut wanted: Vec<&Kernel> = KERNELS.iter().collect();
    wanted.retain(|kernel| labels.is_empty() || labels.contains(&kernel.label));

    let folder = sh::target_dir()?.join("kernels");
    let mut packages: Vec<(&str, &Package)> =
        wanted.iter().map(|kernel| (kernel.label, &kernel.package)).collect();
    packages.push(("busybox", &packages::BUSYBOX));
    packages::fetch(&folder, &packages)?;
    let emulator = packages::emulator(&folder)?;
    let programs = build()?;

    let mut outcomes = Vec::new();
    for kernel in wanted {
        let mut outcome = run_on(kernel, &folder, &emulator, &programs, &filters)?;
        // An emulator that hangs says nothing about the tests; one that does so twice does.
        if !outcome.ended {
            println!("{:>5} | once more", kernel.label);
            outcome = run_on(kernel, &folder, &emulator, &programs, &filters)?;
        }
        outcomes.push(outcome);
    }
    let mut good = true;
    println!(
        "\n{:<8}{:<10}{:>8}{:>8}{:>8}{:>9}",
        "kernel", "hooks", "passed", "failed", "skipped", "seconds"
    );
    for outcome in &outcomes {
        let Counts { passed, failed, skipped } = outcome.counts;
        let seconds = outcome.took.as_secs();
        let kernel = outcome.kernel;
        println!(
            "{:<8}{:<10}{passed:>8}{failed:>8}{skipped:>8}{seconds:>9}{}",
            kernel.label,
            kernel.hooks,
            if outcome.ended_well { "" } else { "  FAILED" }
        );
        good &= outcome.ended_well;
    }
    if filters.is_empty() {
        let counts = outcomes.iter().flat_map(|outcome| outcome.verified.clone()).collect();
        good &= verifier::compare(counts, accept)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of the tests on one kernel.
struct Outcome {
    kernel: &'static Kernel,
    counts: Counts,
    /// The tests ran to their end.
    ended: bool,
    /// And none failed.
    ended_well: bool,
    took: Duration,
    verified: Vec<verifier::Count>,
}

/// What runs inside.
struct Programs {
    tests: PathBuf,
    /// The tests know these by their absolute paths.
    others: Vec<PathBuf>,
}

fn build() -> Result<Programs> {
    let folder = sh::target_dir()?.join("static");
    let mut cargo = sh::cargo();
    // The emulated machine has no libraries.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    cargo.args(["test", "--no-run", "--release", "--target", TARGET, "--target-dir"]).arg(&folder);
    cargo.args(["--package", "syscost", "--features", "kernel-tests", "--test", "kernel"]);
    let messages = sh::capture(cargo.args(["--message-format", "json-render-diagnostics"]))?;
    let executables: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| line.split_once(r#""executable":""#)?.1.split_once('"'))
        .map(|(path, _)| PathBuf::from(path))
        .collect();
    let is_test = |path: &Path| path.parent().is_some_and(|parent| parent.ends_with("deps"));
    let (tests, others): (Vec<_>, Vec<_>) = executables.into_iter().partition(|path| is_test(path));
    let [tests] = tests.try_into().ok().context("cargo built no kernel tests, or several")?;
    Ok(Programs { tests, others })
}

fn run_on(
    kernel: &'static Kernel,
    folder: &Path,
    emulator: &packages::Emulator,
    programs: &Programs,
    filters: &[&str],
) -> Result<Outcome> {
    let label = kernel.label;
    let begin = Instant::now();
    let image = packages::file_in(&folder.join(label), "vmlinuz")?;
    let busybox = packages::file_in(&folder.join("busybox"), "busybox")?;
    let initrd = folder.join(format!("{label}.initrd"));
    let mut files = initrd::Initrd::default();
    files.add("/init", 0o755, init(kernel, filters).into_bytes());
    files.add("/bin/busybox", 0o755, fs::read(busybox)?);
    files.add("/kernel-tests", 0o755, fs::read(&programs.tests)?);
    for program in &programs.others {
        files.add(&program.to_string_lossy(), 0o755, fs::read(program)?);
    }
    fs::write(&initrd, files.finish())
        .with_context(|| format!("cannot write {}", initrd.display()))?;

    let mut outcome = Outcome {
        kernel,
        counts: Counts::default(),
        ended: false,
        ended_well: false,
        took: Duration::ZERO,
        verified: Vec::new(),
    };
    let (mut verdict, mut skipped) = (None, 0);
    let mut machine = Machine::start(emulator, &image, &initrd, TIME_LIMIT)?;
    while let Some(line) = machine.line() {
        println!("{label:>5} | {line}");
        if let Some(result) = parse_result(&line) {
            outcome.counts += result;
            if filters.is_empty() {
                outcome.counts.skipped += left_out(&line);
            }
        } else if skipped_here(&line) {
            skipped += 1;
        } else if let Some(code) = line.strip_prefix(VERDICT) {
            verdict = Some(code.trim() == "0");
        } else if let Some(count) = verifier::Count::parse(label, &line) {
            outcome.verified.push(count);
        }
    }
    (0..skipped).for_each(|_| outcome.counts.skip_one());
    if verdict.is_none() {
        println!("{label:>5} | the machine did not get to the end of the tests");
    }
    outcome.ended = verdict.is_some();
    outcome.ended_well = verdict == Some(true) && outcome.counts.failed == 0;
    outcome.took = begin.elapsed();
    Ok(outcome)
}

/// Reads `…; 3 filtered out; …` in the line of results.
fn left_out(line: &str) -> u64 {
    line.split(';')
        .find_map(|part| part.trim().strip_suffix(" filtered out")?.parse().ok())
        .unwrap_or(0)
}

const VERDICT: &str = "the tests ended with ";

/// The first program of the emulated machine.
fn init(kernel: &Kernel, filters: &[&str]) -> String {
    let hooks = kernel.hooks;
    let may_lose = kernel.may_lose;
    let mut args: String = filters.iter().map(|filter| format!(" '{filter}'")).collect();
    args.extend(kernel.without.iter().map(|test| format!(" --skip {test}")));
    format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tracefs tracefs /sys/kernel/tracing
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mkdir -p /tmp
chmod 1777 /tmp
ln -s /proc/self/fd/1 /dev/stdout
export PATH=/bin HOME=/tmp SYSCOST_TEST_HOOKS={hooks} SYSCOST_TEST_EMULATED=1 SYSCOST_TEST_MAY_LOSE={may_lose}
echo \"Linux $(uname -r)\"
/kernel-tests --test-threads=1{args}
echo \"{VERDICT}$?\"
poweroff -f
"
    )
}
