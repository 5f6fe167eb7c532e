//! Runs the kernel tests on other kernels than this machine's, in emulated machines with two CPUs.
//!
//! Nothing is installed. Kernels and tools are Debian packages, unpacked under the target folder; the
//! programs are linked statically and go into an initrd, beside a shell that starts them.

pub(crate) mod arch;
pub(crate) mod build;
pub(crate) mod initrd;
mod kernel_side;
pub(crate) mod machine;
pub(crate) mod packages;
mod table;
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
use table::{DIFFERS, DIFFERS_BY_HOOKS, KERNELS, Kernel, SAME_EVERYWHERE};

/// How long to wait for a machine. Each test prints a line when it ends, and the slowest takes a minute. A machine that
/// prints nothing for longer than this is stuck. One that goes on printing may only have a small share of the CPU, so
/// that it has more time as a whole.
const PATIENCE: Patience =
    Patience { silence: Duration::from_secs(300), whole: Duration::from_secs(2400) };

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kernel; may be given several times
    #[arg(long = "kernel", value_name = "LABEL")]
    #[arg(value_parser = PossibleValuesParser::new(KERNELS.iter().map(|kernel| kernel.label)))]
    labels: Vec<String>,
    /// Every test on every kernel. Without this, all tests run on the oldest and the newest kernel if the kernel side
    /// has changed, and otherwise the tests of what differs between kernels
    #[arg(long)]
    all: bool,
    /// Record what is found: how many instructions the verifier looked at, and, if all tests have passed on the oldest
    /// and the newest kernel, that they have
    #[arg(long)]
    accept: bool,
    /// Only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Which tests run on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selection {
    /// All but the tests of what is the same everywhere.
    All,
    /// The tests of what differs between kernels.
    Differing,
    /// The tests whose names contain one of these.
    Named(Vec<String>),
}

/// Runs the kernel tests on the kernels that are asked for, and compares the verifier's work.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let &Args { ref labels, all, accept, ref filters } = args;
    let is_tested = kernel_side::is_tested()?;
    let select = |kernel: &Kernel| match filters.as_slice() {
        [] if all || kernel.thorough && !is_tested => Selection::All,
        [] => Selection::Differing,
        filters => Selection::Named(filters.to_vec()),
    };
    let is_wanted =
        |kernel: &&Kernel| labels.is_empty() || labels.iter().any(|label| label == kernel.label);
    let wanted: Vec<(&'static Kernel, Selection)> =
        KERNELS.iter().filter(is_wanted).map(|kernel| (kernel, select(kernel))).collect();

    let folder = sh::target_dir()?.join("kernels");
    let mut machines = Vec::new();
    for arch in [Arch::Amd64, Arch::Arm64] {
        let kernels: Vec<&'static Kernel> = wanted.iter().map(|(kernel, _)| *kernel).collect();
        if kernels.iter().any(|kernel| kernel.arch == arch) {
            machines.push(Inside::prepare(arch, &folder, &kernels)?);
        }
    }
    let outcomes = run_all(&wanted, &folder, &machines)?;
    let mut good = true;
    println!(
        "\n{:<10}{:<10}{:<11}{:>8}{:>8}{:>8}{:>9}",
        "kernel", "hooks", "tests", "passed", "failed", "skipped", "seconds"
    );
    for outcome in &outcomes {
        let Counts { passed, failed, skipped } = outcome.counts;
        let seconds = outcome.took.as_secs();
        let kernel = outcome.kernel;
        println!(
            "{:<10}{:<10}{:<11}{passed:>8}{failed:>8}{skipped:>8}{seconds:>9}{}",
            kernel.label,
            kernel.hooks,
            outcome.selection.describe(),
            if outcome.ended_well { "" } else { "  FAILED" }
        );
        good &= outcome.ended_well;
    }
    // With a filter, only some of the programs may have been loaded.
    if filters.is_empty() || accept {
        let counts = outcomes.iter().flat_map(|outcome| outcome.verified.clone()).collect();
        good &= verifier::compare(counts, accept)?;
    }
    let ran_all = |kernel: &Kernel| {
        outcomes.iter().any(|outcome| {
            outcome.kernel.label == kernel.label && outcome.selection == Selection::All
        })
    };
    if good && KERNELS.iter().filter(|kernel| kernel.thorough).all(ran_all) {
        if accept {
            kernel_side::record()?;
        } else if !is_tested {
            println!("all tests pass with the changed kernel side; --accept would record that");
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The package of the kernel `label`. Its folder is called after the label.
pub(crate) fn package(label: &str) -> Result<Package> {
    let kernel = KERNELS.iter().find(|kernel| kernel.label == label);
    kernel.map(|kernel| kernel.package).with_context(|| format!("there is no kernel `{label}`"))
}

impl Selection {
    /// The runs of the tests on `kernel`: with which hooks, and which tests. An empty list of names means all.
    fn runs(&self, kernel: &Kernel) -> Vec<(&'static str, Vec<String>)> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let best_hooks = kernel.hooks.split(',').next().unwrap_or_default();
        match self {
            Self::All => vec![(kernel.hooks, Vec::new())],
            Self::Differing => {
                vec![(kernel.hooks, owned(&DIFFERS_BY_HOOKS)), (best_hooks, owned(&DIFFERS))]
            }
            Self::Named(filters) => vec![(kernel.hooks, filters.clone())],
        }
    }

    /// For the table of results.
    fn describe(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Differing => "differing",
            Self::Named(_) => "named",
        }
    }
}

/// The results of the tests on one kernel.
struct Outcome {
    kernel: &'static Kernel,
    selection: Selection,
    counts: Counts,
    /// The machine printed nothing for too long, and had not finished the tests.
    stuck: bool,
    /// The tests were finished, and none failed.
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
            programs: build(arch, folder, ["--test", "kernel"], "emulated")?,
        })
    }
}

/// Runs the tests on all kernels. As many machines run at a time as there are CPUs: each keeps one busy.
fn run_all(
    kernels: &[(&'static Kernel, Selection)],
    folder: &Path,
    machines: &[Inside],
) -> Result<Vec<Outcome>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, SeqCst);
            let Some((kernel, selection)) = kernels.get(index) else { return Ok(()) };
            let inside = machines.iter().find(|inside| inside.arch == kernel.arch);
            let inside = inside.context("nothing is prepared for this kernel")?;
            let mut outcome = run_on(kernel, selection, folder, inside)?;
            // An emulator hangs now and then, whatever the tests do. Twice in a row, it is the tests.
            if outcome.stuck {
                println!("{:>9} | once more", kernel.label);
                outcome = run_on(kernel, selection, folder, inside)?;
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
    selection: &Selection,
    folder: &Path,
    inside: &Inside,
) -> Result<Outcome> {
    let label = kernel.label;
    let begin = Instant::now();
    let image = packages::file_in(&folder.join(label), "vmlinuz")?;
    let programs = &inside.programs;
    let initrd = folder.join(format!("{label}.initrd"));
    let mut files = initrd::Initrd::default();
    files.add("/init", 0o755, init(kernel, selection).into_bytes());
    files.add("/bin/busybox", 0o755, fs::read(&inside.busybox)?);
    files.add("/kernel-tests", 0o755, fs::read(&programs.first)?);
    for program in &programs.others {
        files.add(&program.to_string_lossy(), 0o755, fs::read(program)?);
    }
    fs::write(&initrd, files.finish())
        .with_context(|| format!("cannot write {}", initrd.display()))?;

    let mut outcome = Outcome {
        kernel,
        selection: selection.clone(),
        counts: Counts::default(),
        stuck: false,
        ended_well: false,
        took: Duration::ZERO,
        verified: Vec::new(),
    };
    let (mut verdict, mut skipped, mut there_are) = (None, 0, 0);
    let mut machine = Machine::start(&inside.emulator, &image, &initrd, Pace::Free, PATIENCE)?;
    let end = loop {
        let line = match machine.next() {
            Said::Line(line) => line,
            Said::NoMore(end) => break end,
        };
        println!("{label:>9} | {line}");
        if let Some(result) = parse_result(&line) {
            there_are = total(&line, &result);
            outcome.counts += result;
        } else if skipped_here(&line) {
            skipped += 1;
        } else if let Some(code) = line.strip_prefix(VERDICT) {
            verdict = Some(code.trim() == "0");
        } else if let Some(count) = verifier::Count::parse(label, &line) {
            outcome.verified.push(count);
        }
    };
    if !matches!(selection, Selection::Named(_)) {
        let Counts { passed, failed, .. } = outcome.counts;
        outcome.counts.skipped = there_are.saturating_sub(passed + failed);
    }
    (0..skipped).for_each(|_| outcome.counts.skip_one());
    if verdict.is_none() {
        println!("{label:>9} | not at the end of the tests: {}", end.describe());
    }
    outcome.stuck = verdict.is_none() && end == End::Silent;
    outcome.ended_well = verdict == Some(true) && outcome.counts.failed == 0;
    outcome.took = begin.elapsed();
    Ok(outcome)
}

/// How many tests there are, by a line of results: `…; 1 ignored; …; 3 filtered out; …`, and what `parse_result` reads.
fn total(line: &str, ran: &Counts) -> u64 {
    let filtered =
        line.split(';').find_map(|part| part.trim().strip_suffix(" filtered out")?.parse().ok());
    ran.passed + ran.failed + ran.skipped + filtered.unwrap_or(0)
}

const VERDICT: &str = "the tests ended with ";

/// The script that the emulated machine starts.
fn init(kernel: &Kernel, selection: &Selection) -> String {
    let may_lose = kernel.may_lose;
    // Where the kernel skips program runs, another test's processes would make it skip more.
    let threads = if may_lose.is_empty() { 2 } else { 1 };
    let left_out: String = kernel
        .without
        .iter()
        .chain(&SAME_EVERYWHERE)
        .map(|name| format!(" --skip {name}"))
        .collect();
    let runs: String = selection.runs(kernel).iter().fold(String::new(), |runs, (hooks, names)| {
        let names: String = names.iter().map(|name| format!(" '{name}'")).collect();
        runs + &format!(
            "SYSCOST_TEST_HOOKS={hooks} /kernel-tests --test-threads={threads}{names}{left_out} || failed=1\n"
        )
    });
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
ifconfig lo up
mkdir -p /tmp
chmod 1777 /tmp
ln -s /proc/self/fd/1 /dev/stdout
export PATH=/bin HOME=/tmp SYSCOST_TEST_EMULATED=1 SYSCOST_TEST_MAY_LOSE={may_lose}
echo \"Linux $(uname -r)\"
failed=0
{runs}echo \"{VERDICT}$failed\"
poweroff -f
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(label: &str) -> &'static Kernel {
        KERNELS.iter().find(|kernel| kernel.label == label).unwrap()
    }

    #[test]
    fn what_differs_runs_by_all_hooks_or_by_the_best() {
        let runs = Selection::Differing.runs(kernel("6.12"));
        let by: Vec<_> = runs.iter().map(|(hooks, names)| (*hooks, names.len())).collect();
        assert_eq!(by, [("btf,raw", DIFFERS_BY_HOOKS.len()), ("btf", DIFFERS.len())]);
        assert_eq!(Selection::All.runs(kernel("6.12")), [("btf,raw", Vec::new())]);
        assert_eq!(Selection::Differing.runs(kernel("5.10"))[1].0, "raw");
    }

    #[test]
    fn the_script_names_the_tests_and_leaves_out_what_cannot_pass() {
        let script = init(kernel("7.x"), &Selection::Named(vec!["a::b".to_owned()]));
        assert!(script.contains(
            "SYSCOST_TEST_HOOKS=perf /kernel-tests --test-threads=1 'a::b' --skip weather::a"
        ));
        assert_eq!(script.matches("/kernel-tests").count(), 1);
    }

    #[test]
    fn tests_that_were_left_out_are_counted() {
        let line = "test result: ok. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; x";
        assert_eq!(total(line, &parse_result(line).unwrap()), 11);
    }
}
