//! Starts targets and syscost, and reads what syscost measures. No step sleeps for a fixed time: each waits for a line
//! that says that it is done, and fails with a message if the line does not come (`running.rs`).

use std::{
    io::Write,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use syscost::request::HookChoice;

pub(crate) use crate::{
    programs::{await_unloaded, loaded, programs_of, programs_with},
    running::{Ended, comes_about, eventually, run},
};
use crate::{running::Running, turn};

/// The kinds of hooks that this kernel must have. Numbers that are exact must be exact by each kind. `btf` and `raw`,
/// unless SYSCOST_TEST_HOOKS says otherwise, as `cargo xtask kernels` does for each kernel. The tests do not find out
/// which kinds there are: a kind that stopped working would then be left out unnoticed.
pub(crate) fn hooks() -> Vec<String> {
    // Nearly every test begins with this.
    turn::take();
    let said = std::env::var("SYSCOST_TEST_HOOKS").unwrap_or_else(|_| "btf,raw".to_owned());
    said.split(',').map(str::to_owned).collect()
}

/// The kinds of hooks that see context switches. If there are none, the test is counted as skipped, and returns.
pub(crate) fn seeing_hooks() -> Vec<String> {
    let seeing: Vec<_> = hooks().into_iter().filter(|hooks| hooks != "raw").collect();
    if seeing.is_empty() {
        skipped("parts of latencies take Linux 5.12 with BTF");
    }
    seeing
}

/// Whether programs of this kernel have task storage (Linux 5.11 or newer). All hooks but the raw ones need it.
pub(crate) fn task_storage() -> bool {
    hooks().iter().any(|hooks| hooks != "raw")
}

/// The value of `--hooks` as syscost's library has it.
pub(crate) fn choice(hooks: &str) -> HookChoice {
    match hooks {
        "btf" => HookChoice::Btf,
        "perf" => HookChoice::Perf,
        "raw" => HookChoice::Raw,
        _ => panic!("no hooks {hooks}"),
    }
}

/// How many exits without an enter this many new threads or processes make. On x86, each returns from its parent's call;
/// on arm64 none does (`ret_from_fork`).
pub(crate) fn newborn_exits(children: u64) -> u64 {
    if cfg!(target_arch = "x86_64") { children } else { 0 }
}

/// Whether this is an emulated machine of `cargo xtask kernels`, which is small and slow.
pub(crate) fn emulated() -> bool {
    std::env::var_os("SYSCOST_TEST_EMULATED").is_some()
}

/// Prints a line at once. What a test prints in the usual way is shown only if it fails.
pub(crate) fn announce(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{line}").expect("stdout takes it");
}

/// Has the test counted as skipped by `cargo xtask`. The test then returns.
pub(crate) fn skipped(why: &str) {
    announce(&format!("skipped here: {why}"));
}

/// A running `syscost-target`, see `tests/programs/target`.
pub(crate) struct Target(Running);

impl Target {
    /// Starts it in a mode, and waits until it prints "ready".
    pub(crate) fn start(mode: &[&str]) -> Self {
        Self::start_by(&mut Command::new(env!("CARGO_BIN_EXE_syscost-target")), mode)
    }

    /// The same, by a command that names the program.
    pub(crate) fn start_by(command: &mut Command, mode: &[&str]) -> Self {
        let mut target = Self::spawn_by(command, mode);
        assert_eq!(target.line(), "ready");
        target
    }

    pub(crate) fn spawn(mode: &[&str]) -> Self {
        Self::spawn_by(&mut Command::new(env!("CARGO_BIN_EXE_syscost-target")), mode)
    }

    /// The same, by a command that names the program.
    pub(crate) fn spawn_by(command: &mut Command, mode: &[&str]) -> Self {
        Self(Running::start(command.args(mode).stdin(Stdio::piped()).stdout(Stdio::piped())))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    pub(crate) fn line(&mut self) -> String {
        self.0.line("a line").expect("the target speaks")
    }

    /// Lets it do its work, and waits until it prints "done".
    pub(crate) fn work(&mut self) {
        self.begin();
        assert_eq!(self.line(), "done");
    }

    /// Lets it begin its work.
    pub(crate) fn begin(&mut self) {
        self.0.write("g\n");
    }

    /// Lets it exit, and waits for that.
    pub(crate) fn end(mut self) {
        self.0.close_stdin();
        self.0.wait();
    }
}

/// A running `syscost stat --json`, attached.
pub(crate) struct Stat(Running);

impl Stat {
    pub(crate) fn attach(pid: u32, args: &[&str]) -> Self {
        Self::attach_by(&mut syscost(), pid, args)
    }

    /// The same, by a command that names the program.
    pub(crate) fn attach_by(command: &mut Command, pid: u32, args: &[&str]) -> Self {
        let pid = pid.to_string();
        Self::start_by(command, &[&["-p", &pid], args].concat())
    }

    /// Attaches to the targets that `args` name.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_by(&mut syscost(), args)
    }

    /// The same, by a command that names the program.
    pub(crate) fn start_by(command: &mut Command, args: &[&str]) -> Self {
        let mut running = Running::start(
            command
                .args(["stat", "--json"])
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut said = String::new();
        while !said.contains("attached to ") {
            let line = running.error_line("\"attached to\"");
            said += &line.unwrap_or_else(|| panic!("syscost ended: {said}"));
        }
        Self(running)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.pid() as i32)
    }

    /// Waits until it ends by itself, and returns its only interval.
    pub(crate) fn finish(self) -> Measured {
        let mut all = self.finish_intervals();
        assert_eq!(all.len(), 1, "one object: {all:?}");
        all.remove(0)
    }

    /// Waits until it ends by itself, and returns the intervals that are left.
    pub(crate) fn finish_intervals(mut self) -> Vec<Measured> {
        let text = self.0.rest();
        let status = self.0.wait();
        let notes = self.0.rest_of_errors();
        assert!(status.success(), "{status}: {notes}");
        assert_eq!(notes, "", "syscost has printed a message");
        text.lines().map(Measured::parse).collect()
    }

    /// Waits until it ends, well or not. Returns what it has printed, and its status.
    pub(crate) fn end(&mut self) -> (String, std::process::ExitStatus) {
        let text = self.0.rest();
        (text, self.0.wait())
    }

    /// Waits for the next interval.
    pub(crate) fn interval(&mut self) -> Measured {
        Measured::parse(&self.0.line("the next interval").expect("it goes on"))
    }

    /// Ends it as Ctrl-C would.
    pub(crate) fn stop(self) -> Measured {
        kill(self.pid(), Signal::SIGINT).expect("it is there");
        self.finish()
    }

    pub(crate) fn kill(mut self) {
        self.0.kill();
    }
}

/// Runs `test` with each of `hooks`, and up to twice more if it fails. For comparisons with the scheduler's accounts:
/// these leave out the moments in which a hypervisor takes a CPU away, which `/proc/stat` does not always show.
pub(crate) fn undisturbed(hooks: Vec<String>, test: impl Fn(&String)) {
    for hooks in hooks {
        let run = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&hooks)));
        if run().is_err() && run().is_err() {
            test(&hooks);
        }
    }
}

/// Measures a target in `mode` from "ready" to its end.
pub(crate) fn measure(mode: &[&str], hooks: &str) -> Measured {
    let mut target = Target::start(mode);
    let stat = Stat::attach(target.pid(), &["--hooks", hooks]);
    target.work();
    target.end();
    stat.finish()
}

/// A `syscost.stat/1` object.
#[derive(Debug)]
pub(crate) struct Measured(pub Value);

impl Measured {
    /// Reads a line of JSON.
    pub(crate) fn parse(line: &str) -> Self {
        let value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let measured = Self(value);
        measured.assert_no_contradiction();
        measured
    }

    /// No check of the program itself has failed: its numbers agree wherever they are counted twice.
    fn assert_no_contradiction(&self) {
        for loss in self.0["losses"].as_array().expect("an array") {
            let kind = loss["kind"].as_str().expect("a name");
            assert!(!kind.starts_with("check_"), "{}", loss["text"]);
        }
    }

    /// The row of a native call, if it has one.
    pub(crate) fn row(&self, name: &str) -> Option<&Value> {
        self.rows().find(|row| row["name"] == name && row["abi"] != "i386")
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Value> {
        self.0["syscalls"].as_array().expect("an array").iter()
    }

    /// How many calls were counted of `name`; 0 when it has no row.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.row(name).map_or(0, |row| row["count"].as_u64().expect("a count"))
    }

    pub(crate) fn errors(&self, name: &str) -> u64 {
        self.row(name).map_or(0, |row| row["errors"].as_u64().expect("a count"))
    }

    pub(crate) fn ledger(&self, counter: &str) -> u64 {
        self.0["ledger"][counter].as_u64().unwrap_or_else(|| panic!("no {counter} in the ledger"))
    }

    /// The program runs that the kernel has skipped; `None` where it does not count them.
    pub(crate) fn misses(&self) -> Option<u64> {
        let misses = &self.0["ledger"]["program_misses"];
        assert!(misses.is_u64() || misses.is_null(), "{misses}");
        // Kernels from 5.12 on count them. Of the older ones, only 5.10 is tested.
        assert_eq!(misses.is_u64(), task_storage());
        misses.as_u64()
    }

    /// Nothing was lost, every row is consistent in itself, and the ledger adds up.
    pub(crate) fn assert_exact(&self) {
        assert_eq!(self.0["exact"], true, "{:#}", self.0["ledger"]);
        self.assert_consistent();
    }

    pub(crate) fn assert_consistent(&self) {
        let mut matched = 0;
        for row in self.rows() {
            let number = |field: &str| row[field].as_u64().unwrap_or_else(|| panic!("{field}"));
            assert_bounded(row, "histogram", number("count"), number("total_ns"));
            let order = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(number);
            assert!(order.is_sorted(), "{row:#}");
            assert_parts_consistent(row);
            matched += number("count");
        }
        assert_eq!(self.ledger("matched"), matched);
        let accounted =
            ["matched", "filtered", "in_flight", "ended_without_exit", "discarded", "exits_missed"]
                .map(|counter| self.ledger(counter))
                .iter()
                .sum::<u64>();
        assert_eq!(self.ledger("enters"), accounted, "{:#}", self.0["ledger"]);
    }
}

/// The names of the parts of a latency, as JSON has them.
pub(crate) const PARTS: [&str; 3] = ["on_cpu", "runq", "blocked"];

/// Asserts that the parts of a row agree with each other and with its latencies.
fn assert_parts_consistent(row: &Value) {
    let number = |field: &str| row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"));
    let known = number("parts_known");
    assert!(known <= number("count"), "{row:#}");
    if known == 0 {
        for part in PARTS {
            for what in ["ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "histogram"] {
                assert!(row[format!("{part}_{what}")].is_null(), "{part}_{what} in {row:#}");
            }
        }
        return;
    }
    for part in PARTS {
        let sum = number(&format!("{part}_ns"));
        assert_bounded(row, &format!("{part}_histogram"), known, sum);
        let quantile = |quantile: &str| number(&format!("{part}_{quantile}_ns"));
        assert!(["p50", "p90", "p99", "p999"].map(quantile).is_sorted(), "{row:#}");
        for at in ["p50", "p90", "p99", "p999"].iter().filter(|_| known == number("count")) {
            assert!(quantile(at) <= number(&format!("{at}_ns")), "{part} {at} in {row:#}");
        }
        assert!(quantile("p999") <= number("max_ns"), "{row:#}");
    }
    let sum: u64 = PARTS.iter().map(|part| number(&format!("{part}_ns"))).sum();
    assert!(sum <= number("total_ns"), "{row:#}");
    if known == number("count") {
        assert_eq!(sum, number("total_ns"), "{row:#}");
    }
}

/// Asserts that a sum lies within the bounds that its histogram gives. Both count the same calls.
fn assert_bounded(row: &Value, histogram: &str, calls: u64, sum_ns: u64) {
    let sum = |f: &dyn Fn(u64, u64) -> u64| -> u64 {
        buckets(&row[histogram]).map(|(low, high, count)| f(low, high) * count).sum()
    };
    assert_eq!(sum(&|_, _| 1), calls, "{histogram} of {row:#}");
    assert!(sum(&|low, _| low) <= sum_ns, "{histogram} of {row:#}");
    // The last bucket has no upper bound. Its `hi_ns` is the longest latency there is.
    assert!(sum(&|_, high| high) >= sum_ns, "{histogram} of {row:#}");
}

/// Of each bucket: its lower and upper bound, and how many calls it has counted.
pub(crate) fn buckets(histogram: &Value) -> impl Iterator<Item = (u64, u64, u64)> {
    histogram.as_array().expect("an array").iter().map(|bucket| {
        let get = |field: &str| bucket[field].as_u64().expect("a number");
        (get("lo_ns"), get("hi_ns"), get("count"))
    })
}

/// A command that starts syscost as from a shell, but without the machine's calibration.
pub(crate) fn syscost() -> Command {
    syscost_at(Path::new(env!("CARGO_BIN_EXE_syscost")))
}

/// The same, of a copy of the program.
pub(crate) fn syscost_at(path: &Path) -> Command {
    turn::take();
    let mut command = Command::new(path);
    command.env_remove("NO_COLOR").env(CALIBRATION.0, CALIBRATION.1);
    // SAFETY: only a system call between fork and exec.
    unsafe {
        // As in a shell: nohup, which may have started the tests, ignores the signal.
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        });
    }
    command
}

/// The environment variable by which syscost finds no calibration.
pub(crate) const CALIBRATION: (&str, &str) = ("SYSCOST_CALIBRATION", "/nonexistent/calibration");

/// Whether a tool is installed.
pub(crate) fn installed(tool: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| Path::new(&folder).join(tool).is_file())
}

/// The capabilities in a `/proc/PID/status`: the inheritable, permitted, effective, bounding and ambient set.
pub(crate) fn capabilities(status: &str) -> [u64; 5] {
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|field| {
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let value = value.unwrap_or_else(|| panic!("no {field} in {status}"));
        u64::from_str_radix(value.trim(), 16).expect("a hexadecimal number")
    })
}

/// The capabilities that an attached syscost may keep: CAP_BPF on kernels that need it for telling the skipped runs, and
/// none on others.
pub(crate) fn may_be_kept() -> u64 {
    let version = procfs::sys::kernel::Version::current().expect("it has a version");
    if (version.major, version.minor) < (6, 0) { 1 << 39 } else { 0 }
}

/// Asserts that no thread of an attached syscost has a capability beyond `may_be_kept`, or can get one by executing a
/// program. Returns the `/proc/PID/status` of its first thread.
pub(crate) fn assert_nothing_left(pid: Pid) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    for task in tasks {
        let path = task.expect("it runs").path().join("status");
        let status = std::fs::read_to_string(path).expect("it runs");
        let [inheritable, permitted, effective, _, ambient] = capabilities(&status);
        assert_eq!([inheritable, ambient], [0; 2], "{status}");
        assert_eq!(permitted, effective, "{status}");
        assert_eq!(effective & !may_be_kept(), 0, "{status}");
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    }
    std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs")
}
