//! The kernel tests on other kernels than this machine's: emulated, two CPUs each.
//!
//! Nothing is installed. Kernels and tools are Debian packages, unpacked under the target folder; the
//! programs are linked statically and go into an initrd, beside a shell that starts them.

pub(crate) mod arch;
pub(crate) mod build;
pub(crate) mod initrd;
pub(crate) mod machine;
pub(crate) mod packages;
mod verifier;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;

use crate::{
    sh,
    test::{Counts, parse_result, skipped_here},
};
use arch::Arch;
use build::{Programs, build};
use machine::{End, Machine, Pace, Patience, Said};
use packages::{Emulator, Package};

/// A kernel to test on.
struct Kernel {
    label: &'static str,
    arch: Arch,
    package: Package,
    /// The hooks that this kernel must have, see `tests/kernel/harness.rs`.
    hooks: &'static str,
    /// Hooks where it skips program runs when threads preempt each other, which the numbers then say.
    may_lose: &'static str,
    /// Tests that are not run, because they need every call to be counted by such hooks.
    without: &'static [&'static str],
}

/// The oldest kernel that is supported, two in wide use, one where programs can be preempted, and
/// another processor.
static KERNELS: [Kernel; 5] = [
    Kernel {
        label: "5.10",
        arch: Arch::Amd64,
        package: Package::numbered("linux-image-5.10.0-", "-cloud-amd64", Arch::Amd64),
        // No task storage for tracing programs, and no compare-exchange.
        hooks: "raw",
        may_lose: "",
        without: &[],
    },
    Kernel {
        label: "6.1",
        arch: Arch::Amd64,
        package: Package::numbered("linux-image-6.1.0-", "-cloud-amd64", Arch::Amd64),
        hooks: "btf,raw",
        may_lose: "",
        without: &[],
    },
    Kernel {
        label: "6.12",
        arch: Arch::Amd64,
        package: Package::numbered("linux-image-6.12.", "+deb13-cloud-amd64", Arch::Amd64),
        hooks: "btf,raw",
        may_lose: "",
        without: &[],
    },
    Kernel {
        label: "7.x",
        arch: Arch::Amd64,
        package: Package::numbered("linux-binary-7.", "+deb14-cloud-amd64", Arch::Amd64),
        hooks: "perf",
        may_lose: "btf,raw",
        // Who may not read what perf's tracepoints are called has none of them, nor has a kernel
        // without BTF.
        without: &[
            "weather::a_kernel_without_btf",
            "reuse::without_kernel_btf",
            "privileges::cap_bpf_and_cap_perfmon_are_enough",
            "privileges::diagnostics_need_no_more_than_that",
        ],
    },
    Kernel {
        label: "6.1-arm64",
        arch: Arch::Arm64,
        package: Package::numbered("linux-image-6.1.0-", "-cloud-arm64", Arch::Arm64),
        hooks: "btf,raw",
        may_lose: "",
        // The same on every processor, and tested on this kernel's other one.
        without: &["budget::", "filters::", "privileges::", "screen::", "takeover::", "weather::"],
    },
];

/// Tests of what is the same on every kernel: output, text from outside, the terminal. Each starts
/// programs several times, which takes seconds where they are emulated.
const SAME_EVERYWHERE: [&str; 16] = [
    "output::",
    "hostile::",
    "causes::",
    "memory::",
    "screen::a_command",
    "screen::a_dumb",
    "screen::a_resize",
    "screen::a_second",
    "screen::a_stop",
    "screen::a_terminal",
    "screen::ctrl_c_reaches",
    "screen::no_color",
    "screen::of_what",
    "screen::once_the",
    "screen::signals",
    "screen::without_utf8",
];

/// How long to wait for a machine. Each test says when it begins and ends, and the slowest takes a
/// minute: silence for longer than this means that the machine is stuck, whereas one that goes on
/// talking may only have little of the processor it is emulated on. The whole is bounded all the same.
const PATIENCE: Patience =
    Patience { silence: Duration::from_secs(300), whole: Duration::from_secs(2400) };

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kernel; may be given several times
    #[arg(long = "kernel", value_name = "LABEL")]
    #[arg(value_parser = PossibleValuesParser::new(KERNELS.iter().map(|kernel| kernel.label)))]
    labels: Vec<String>,
    /// Record how many instructions the verifier looked at, instead of comparing with the record
    #[arg(long)]
    accept: bool,
    /// Only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Runs the kernel tests on the kernels that are asked for, and compares the verifier's work.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let &Args { ref labels, accept, ref filters } = args;
    let mut wanted: Vec<&'static Kernel> = KERNELS.iter().collect();
    wanted.retain(|kernel| labels.is_empty() || labels.iter().any(|label| label == kernel.label));

    let folder = sh::target_dir()?.join("kernels");
    let mut machines = Vec::new();
    for arch in [Arch::Amd64, Arch::Arm64] {
        if wanted.iter().any(|kernel| kernel.arch == arch) {
            machines.push(Inside::prepare(arch, &folder, &wanted)?);
        }
    }
    let outcomes = run_all(&wanted, &folder, &machines, filters)?;
    let mut good = true;
    println!(
        "\n{:<10}{:<10}{:>8}{:>8}{:>8}{:>9}",
        "kernel", "hooks", "passed", "failed", "skipped", "seconds"
    );
    for outcome in &outcomes {
        let Counts { passed, failed, skipped } = outcome.counts;
        let seconds = outcome.took.as_secs();
        let kernel = outcome.kernel;
        println!(
            "{:<10}{:<10}{passed:>8}{failed:>8}{skipped:>8}{seconds:>9}{}",
            kernel.label,
            kernel.hooks,
            if outcome.ended_well { "" } else { "  FAILED" }
        );
        good &= outcome.ended_well;
    }
    // With a filter, only some of the programs may have been loaded.
    if filters.is_empty() || accept {
        let counts = outcomes.iter().flat_map(|outcome| outcome.verified.clone()).collect();
        good &= verifier::compare(counts, accept)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The package of the kernel `label`, which stands for its folder as well.
pub(crate) fn package(label: &str) -> Result<Package> {
    let kernel = KERNELS.iter().find(|kernel| kernel.label == label);
    kernel.map(|kernel| kernel.package).with_context(|| format!("there is no kernel `{label}`"))
}

/// What came of the tests on one kernel.
struct Outcome {
    kernel: &'static Kernel,
    counts: Counts,
    /// The machine fell silent before the tests had run to their end.
    stuck: bool,
    /// They ran to their end, and none failed.
    ended_well: bool,
    took: Duration,
    verified: Vec<verifier::Count>,
}

/// What all machines of an architecture have in common.
struct Inside {
    arch: Arch,
    emulator: Emulator,
    busybox: PathBuf,
    programs: Programs,
}

impl Inside {
    fn prepare(arch: Arch, folder: &Path, kernels: &[&'static Kernel]) -> Result<Self> {
        let busybox = format!("busybox-{}", arch.debian());
        let mut packages: Vec<(String, Package)> = kernels
            .iter()
            .filter(|kernel| kernel.arch == arch)
            .map(|kernel| (kernel.label.to_owned(), kernel.package))
            .collect();
        packages.push((busybox.clone(), Package::busybox(arch)));
        packages::fetch(folder, &packages)?;
        Ok(Self {
            arch,
            emulator: packages::emulator(folder, arch)?,
            busybox: packages::file_in(&folder.join(busybox), "busybox")?,
            programs: build(arch, folder, ["--test", "kernel"])?,
        })
    }
}

/// Runs the tests on all kernels, as many at a time as there are processors for them: each machine
/// takes one.
fn run_all(
    kernels: &[&'static Kernel],
    folder: &Path,
    machines: &[Inside],
    filters: &[String],
) -> Result<Vec<Outcome>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, SeqCst);
            let Some(kernel) = kernels.get(index) else { return Ok(()) };
            let inside = machines.iter().find(|inside| inside.arch == kernel.arch);
            let inside = inside.context("nothing is prepared for this kernel")?;
            let mut outcome = run_on(kernel, folder, inside, filters)?;
            // An emulator that hangs says nothing about the tests; one that does so twice does.
            if outcome.stuck {
                println!("{:>9} | once more", kernel.label);
                outcome = run_on(kernel, folder, inside, filters)?;
            }
            outcomes.lock().expect("no other thread panics").insert(index, outcome);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..processors.min(kernels.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("it does not panic"))
    })?;
    Ok(outcomes.into_inner().expect("all are done").into_values().collect())
}

fn run_on(
    kernel: &'static Kernel,
    folder: &Path,
    inside: &Inside,
    filters: &[String],
) -> Result<Outcome> {
    let label = kernel.label;
    let begin = Instant::now();
    let image = packages::file_in(&folder.join(label), "vmlinuz")?;
    let programs = &inside.programs;
    let initrd = folder.join(format!("{label}.initrd"));
    let mut files = initrd::Initrd::default();
    files.add("/init", 0o755, init(kernel, filters).into_bytes());
    files.add("/bin/busybox", 0o755, fs::read(&inside.busybox)?);
    files.add("/kernel-tests", 0o755, fs::read(&programs.first)?);
    for program in &programs.others {
        files.add(&program.to_string_lossy(), 0o755, fs::read(program)?);
    }
    fs::write(&initrd, files.finish())
        .with_context(|| format!("cannot write {}", initrd.display()))?;

    let mut outcome = Outcome {
        kernel,
        counts: Counts::default(),
        stuck: false,
        ended_well: false,
        took: Duration::ZERO,
        verified: Vec::new(),
    };
    let (mut verdict, mut skipped) = (None, 0);
    let mut machine = Machine::start(&inside.emulator, &image, &initrd, Pace::Free, PATIENCE)?;
    let end = loop {
        let line = match machine.next() {
            Said::Line(line) => line,
            Said::NoMore(end) => break end,
        };
        println!("{label:>9} | {line}");
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
    };
    (0..skipped).for_each(|_| outcome.counts.skip_one());
    if verdict.is_none() {
        println!("{label:>9} | not at the end of the tests: {}", end.describe());
    }
    outcome.stuck = verdict.is_none() && end == End::Silent;
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
fn init(kernel: &Kernel, filters: &[String]) -> String {
    let hooks = kernel.hooks;
    let may_lose = kernel.may_lose;
    let mut args: String = filters.iter().map(|filter| format!(" '{filter}'")).collect();
    let left_out = kernel.without.iter().chain(&SAME_EVERYWHERE);
    args.extend(left_out.map(|test| format!(" --skip {test}")));
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
