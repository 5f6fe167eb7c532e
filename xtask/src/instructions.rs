//! How many instructions tracing adds to a call, counted in an emulator whose nanosecond is one
//! instruction. Unlike time, that is the same in every run, whatever else this machine does.
//!
//! Instructions are not time: a call of another function or a cache miss costs more than an addition. `cargo xtask bench`
//! without `--instructions` has the time.

mod figure;
mod goal;
mod peer;
mod record;
mod table;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    kernels::{
        self,
        arch::Arch,
        build::{Programs, build},
        initrd::Initrd,
        machine::{Machine, Pace, Patience, Said},
        packages::{self, Emulator, Package},
    },
    sh,
};
use figure::Figure;
use peer::Peer;

/// The kernel that instructions are counted on.
const KERNEL: &str = "6.12";

/// How many times everything is measured, each time in a machine of its own.
const RUNS: usize = 2;

const PATIENCE: Patience =
    Patience { silence: Duration::from_secs(120), whole: Duration::from_secs(600) };

/// Counts and prints, and compares with the record; with `accept` rewrites that. `args`: the benchmark's own, such as
/// `--only NAME,…`. Fails when a figure has grown, a goal is missed, or two runs differ; on another
/// Linux than the record's it only says so.
pub(crate) fn run(accept: bool, args: &[OsString]) -> Result<ExitCode> {
    let args = args.iter().map(|arg| arg.to_str().context("an argument is not UTF-8"));
    let args: Vec<&str> = args.collect::<Result<_>>()?;
    let begin = Instant::now();
    let inside = Inside::prepare(&sh::target_dir()?.join("kernels"), &args)?;
    println!("prepared in {} s", begin.elapsed().as_secs());
    let counted = Instant::now();
    let runs: Vec<Run> = thread::scope(|scope| {
        let runs: Vec<_> = (0..RUNS)
            .map(|number| {
                scope.spawn({
                    let inside = &inside;
                    move || inside.count(number)
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("it does not panic")).collect::<Result<_>>()
    })?;
    println!("counted in {} s, {RUNS} times\n", counted.elapsed().as_secs());
    let (first, others) = runs.split_first().context("nothing was run")?;
    print!("Linux {}, emulated\n\n{}", first.linux, table::tables(&first.figures));
    let (verdicts, mut good) = goal::verdicts(&first.figures);
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    for other in others {
        for difference in figure::differences(&first.figures, &other.figures) {
            println!("{difference}");
            good &= difference.starts_with(peer::PROGRAM);
        }
    }
    let is_another = !accept && record::is_of_another(&first.linux);
    good &= record::compare(&first.linux, &first.figures, accept, !args.is_empty())?;
    let good = good || is_another;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a machine said.
struct Run {
    /// Its kernel's version.
    linux: String,
    figures: Vec<Figure>,
}

/// What the machines run.
struct Inside {
    emulator: Emulator,
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Inside {
    fn prepare(folder: &Path, args: &[&str]) -> Result<Self> {
        let arch = Arch::Amd64;
        let busybox = format!("busybox-{}", arch.debian());
        let wanted = [
            (KERNEL.to_owned(), kernels::package(KERNEL)?),
            (busybox.clone(), Package::busybox(arch)),
        ];
        packages::fetch(folder, &wanted)?;
        let busybox = packages::file_in(&folder.join(busybox), "busybox")?;
        let Programs { first: benchmark, .. } =
            build(arch, folder, ["--bench", "overhead"], "release")?;
        let peer = Peer::fetch(folder)
            .inspect_err(|error| println!("{} is left out: {error:#}", peer::PROGRAM))
            .ok();
        let mut files = Initrd::default();
        files.add("/init", 0o755, init(args).into_bytes());
        files.add("/bin/busybox", 0o755, fs::read(busybox)?);
        files.add("/benchmark", 0o755, fs::read(benchmark)?);
        for (path, file) in peer.iter().flat_map(|peer| &peer.files) {
            files.add(path, 0o755, fs::read(file)?);
        }
        let initrd = folder.join("instructions.initrd");
        fs::write(&initrd, files.finish())
            .with_context(|| format!("cannot write {}", initrd.display()))?;
        Ok(Self {
            emulator: packages::emulator(folder, arch)?,
            kernel: packages::file_in(&folder.join(KERNEL), "vmlinuz")?,
            initrd,
        })
    }

    /// Runs everything once. Only the first run shows what it says.
    fn count(&self, number: usize) -> Result<Run> {
        let mut machine =
            Machine::start(&self.emulator, &self.kernel, &self.initrd, Pace::Counted, PATIENCE)?;
        let mut run = Run { linux: String::new(), figures: Vec::new() };
        let mut code = None;
        let end = loop {
            let line = match machine.next() {
                Said::Line(line) => line,
                Said::NoMore(end) => break end,
            };
            if number == 0 {
                println!("{KERNEL:>9} | {line}");
            }
            if let Some(figure) = Figure::parse(&line) {
                run.figures.push(figure);
            } else if let Some(linux) = line.strip_prefix(LINUX) {
                run.linux = linux.to_owned();
            } else if let Some(verdict) = line.strip_prefix(VERDICT) {
                code = Some(verdict.trim() == "0");
            }
        };
        match code {
            Some(true) => Ok(run),
            Some(false) => bail!("the benchmark failed in the emulated machine"),
            None => bail!("not at the end of the benchmark: {}", end.describe()),
        }
    }
}

const LINUX: &str = "Linux ";
const VERDICT: &str = "the benchmark ended with ";

/// The first program of the emulated machine.
fn init(args: &[&str]) -> String {
    let args: String = args.iter().map(|arg| format!(" '{arg}'")).collect();
    format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t devtmpfs devtmpfs /dev
export PATH=/bin HOME=/tmp
echo \"{LINUX}$(uname -r)\"
/benchmark --bench --instructions{args}
echo \"{VERDICT}$?\"
poweroff -f
"
    )
}
