//! Starts targets and the real syscost, and brings both to known points. No sleeps: every step
//! waits for a line that says it is reached.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use aya::programs::ProgramInfo;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use syscost::probe::HookChoice;

/// The ways to hook that this kernel must have; whatever is exact must be exact by each of them.
/// Both, unless SYSCOST_TEST_HOOKS says otherwise, as `cargo xtask kernels` does for old kernels: it
/// is said and not found out, so that none goes missing unseen.
pub(crate) fn hooks() -> Vec<String> {
    let said = std::env::var("SYSCOST_TEST_HOOKS").unwrap_or_else(|_| "btf,raw".to_owned());
    said.split(',').map(str::to_owned).collect()
}

/// The hooks that see context switches. None: the test says so, and returns.
pub(crate) fn seeing_hooks() -> Vec<String> {
    let seeing: Vec<_> = hooks().into_iter().filter(|hooks| hooks != "raw").collect();
    if seeing.is_empty() {
        skipped("parts of latencies take Linux 5.11 with BTF");
    }
    seeing
}

/// Whether this kernel keeps storage with each task for programs, which takes Linux 5.11: all hooks
/// but the raw ones need it.
pub(crate) fn task_storage() -> bool {
    hooks().iter().any(|hooks| hooks != "raw")
}

/// What a program of ours calls these hooks.
pub(crate) fn choice(hooks: &str) -> HookChoice {
    match hooks {
        "btf" => HookChoice::Btf,
        "perf" => HookChoice::Perf,
        "raw" => HookChoice::Raw,
        _ => panic!("no hooks {hooks}"),
    }
}

/// How many exits without an enter `children` make, threads or processes, when they are born: on
/// x86 each leaves its parent's call, on arm64 none does (`ret_from_fork`).
pub(crate) fn newborn_exits(children: u64) -> u64 {
    if cfg!(target_arch = "x86_64") { children } else { 0 }
}

/// Whether this is one of the small, slow machines of `cargo xtask kernels`.
pub(crate) fn emulated() -> bool {
    std::env::var_os("SYSCOST_TEST_EMULATED").is_some()
}

/// Says something in the middle of a test that passes, where libtest would keep it to itself.
pub(crate) fn announce(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{line}").expect("someone listens");
}

/// Ends up in the account of skipped tests, which `cargo xtask` keeps; the test then returns.
pub(crate) fn skipped(why: &str) {
    announce(&format!("skipped here: {why}"));
}

/// A running `syscost-target`, see `tests/programs/target`.
pub(crate) struct Target {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Target {
    /// Starts it in a mode; it is at "ready".
    pub(crate) fn start(mode: &[&str]) -> Self {
        let mut target = Self::spawn(mode);
        assert_eq!(target.line(), "ready");
        target
    }

    pub(crate) fn spawn(mode: &[&str]) -> Self {
        Self::spawn_by(&mut Command::new(env!("CARGO_BIN_EXE_syscost-target")), mode)
    }

    /// The same, by a command that names the program.
    pub(crate) fn spawn_by(command: &mut Command, mode: &[&str]) -> Self {
        let mut child = command
            .args(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the target starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the target speaks");
        line.trim_end().to_owned()
    }

    /// Lets it do what it is there for, and waits until that is done.
    pub(crate) fn work(&mut self) {
        self.begin();
        assert_eq!(self.line(), "done");
    }

    /// Lets it begin.
    pub(crate) fn begin(&mut self) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(b"g\n").expect("the target listens");
    }

    /// Lets it exit, and waits for that.
    pub(crate) fn end(mut self) {
        drop(self.stdin.take());
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `syscost stat --json`, attached.
pub(crate) struct Stat {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Stat {
    pub(crate) fn attach(pid: u32, args: &[&str]) -> Self {
        Self::attach_by(&mut syscost(), pid, args)
    }

    /// The same, by a command that names the program.
    pub(crate) fn attach_by(command: &mut Command, pid: u32, args: &[&str]) -> Self {
        let pid = pid.to_string();
        Self::start_by(command, &[&["-p", &pid], args].concat())
    }

    /// Attached to whatever `args` name.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_by(&mut syscost(), args)
    }

    fn start_by(command: &mut Command, args: &[&str]) -> Self {
        let mut child = command
            .args(["stat", "--json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("syscost starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        while !said.contains("attached to ") {
            let before = said.len();
            stderr.read_line(&mut said).expect("syscost speaks");
            assert!(said.len() > before, "syscost ended: {said}");
        }
        Self { child, stderr }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Waits for it to end by itself.
    pub(crate) fn finish(self) -> Measured {
        let mut all = self.finish_intervals();
        assert_eq!(all.len(), 1, "one object: {all:?}");
        all.remove(0)
    }

    /// The same, of a measurement in intervals.
    pub(crate) fn finish_intervals(mut self) -> Vec<Measured> {
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().expect("a pipe");
        stdout.read_to_string(&mut text).expect("syscost prints text");
        let status = self.child.wait().expect("it can be waited for");
        let mut notes = String::new();
        self.stderr.read_to_string(&mut notes).expect("syscost prints text");
        assert!(status.success(), "{status}: {notes}");
        assert_eq!(notes, "", "syscost had something to say");
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        text.lines().map(parse).map(Measured).collect()
    }

    /// Ends it as Ctrl-C would.
    pub(crate) fn stop(self) -> Measured {
        kill(self.pid(), Signal::SIGINT).expect("it is there");
        self.finish()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Stat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

    /// The program runs that the kernel skipped, where it counts them.
    pub(crate) fn misses(&self) -> Option<u64> {
        let misses = &self.0["ledger"]["program_misses"];
        assert!(misses.is_u64() || misses.is_null(), "{misses}");
        // Kernels from 5.12 on do, and the oldest that is tested after 5.10 is one of them.
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

/// What a row says of its calls' parts agrees with itself and with the latencies.
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
        assert!(quantile("p999") <= number("max_ns"), "{row:#}");
    }
    let sum: u64 = PARTS.iter().map(|part| number(&format!("{part}_ns"))).sum();
    assert!(sum <= number("total_ns"), "{row:#}");
    if known == number("count") {
        assert_eq!(sum, number("total_ns"), "{row:#}");
    }
}

/// A sum was taken call by call, its histogram as well: they bound each other.
fn assert_bounded(row: &Value, histogram: &str, calls: u64, sum_ns: u64) {
    let sum = |f: &dyn Fn(u64, u64) -> u64| -> u64 {
        buckets(&row[histogram]).map(|(low, high, count)| f(low, high) * count).sum()
    };
    assert_eq!(sum(&|_, _| 1), calls, "{histogram} of {row:#}");
    assert!(sum(&|low, _| low) <= sum_ns, "{histogram} of {row:#}");
    // The last bucket is open, but says how long the longest call was that it can hold.
    assert!(sum(&|_, high| high) >= sum_ns, "{histogram} of {row:#}");
}

/// The least and the most that a bucket counts, and how many calls it has counted.
pub(crate) fn buckets(histogram: &Value) -> impl Iterator<Item = (u64, u64, u64)> {
    histogram.as_array().expect("an array").iter().map(|bucket| {
        let get = |field: &str| bucket[field].as_u64().expect("a number");
        (get("lo_ns"), get("hi_ns"), get("count"))
    })
}

/// The program itself, as a person would start it, but without colours or a home.
pub(crate) fn syscost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syscost"));
    command.env_remove("NO_COLOR");
    command
}

/// What a command printed and how it ended.
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

pub(crate) fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// How many of our programs are loaded into the kernel at the moment.
pub(crate) fn loaded_programs() -> usize {
    our_programs().len()
}

/// How many of our programs an attached syscost has: with task storage six on the hooks and the one
/// that lists open calls; without, four and one for exec.
pub(crate) fn programs_with(hooks: &str) -> usize {
    if hooks == "raw" { 5 } else { 7 }
}

/// The programs of ours that are loaded into the kernel, by name.
pub(crate) fn our_programs() -> Vec<(String, ProgramInfo)> {
    // The kernel keeps 15 characters of a name.
    const OURS: [&str; 14] = [
        "open_calls",
        "thread_totals",
        "sys_enter",
        "sys_enter_perf",
        "sys_exit_perf",
        "exit_perf",
        "sys_exit",
        "sys_exit_cmpxch",
        "sched_switch",
        "sched_wakeup",
        "process_fork",
        "wakeup_new",
        "process_exec",
        "process_exit",
    ];
    let named = |program: ProgramInfo| Some((program.name_as_str()?.to_owned(), program));
    aya::programs::loaded_programs()
        .filter_map(|program| named(program.ok()?))
        .filter(|(name, _)| OURS.contains(&name.as_str()))
        .collect()
}

/// The programs that a process holds, by their ids.
pub(crate) fn programs_of(pid: Pid) -> BTreeSet<u32> {
    std::fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .expect("it runs")
        .filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok())
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"))?;
            Some(id.trim().parse().expect("a number"))
        })
        .collect()
}

/// Waits until the kernel has none of these programs any more.
pub(crate) fn await_unloaded(programs: &BTreeSet<u32>) {
    eventually("all its programs are gone", || {
        !aya::programs::loaded_programs()
            .filter_map(Result::ok)
            .any(|program| programs.contains(&program.id()))
    });
}

/// Waits for something that must come about; how fast is not what is tested.
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(comes_about(holds), "never happened: {what}");
}

/// The same, for who can say more about what did not happen.
pub(crate) fn comes_about(mut holds: impl FnMut() -> bool) -> bool {
    // Where it is emulated on a busy machine, merely to start may take twenty seconds.
    let give_up = Instant::now() + Duration::from_secs(120);
    while !holds() {
        if Instant::now() >= give_up {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Whether a tool is installed.
pub(crate) fn installed(tool: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| Path::new(&folder).join(tool).is_file())
}

/// Of a `/proc/PID/status`: the inheritable, permitted, effective, bounding and ambient set.
pub(crate) fn capabilities(status: &str) -> [u64; 5] {
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|field| {
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let value = value.unwrap_or_else(|| panic!("no {field} in {status}"));
        u64::from_str_radix(value.trim(), 16).expect("a hexadecimal number")
    })
}

/// CAP_BPF where an older kernel tells of skipped runs for that only, else nothing: all that an
/// attached syscost may keep.
pub(crate) fn may_be_kept() -> u64 {
    let version = procfs::sys::kernel::Version::current().expect("it has a version");
    if (version.major, version.minor) < (6, 0) { 1 << 39 } else { 0 }
}

/// No thread of an attached syscost has a capability, or can get one by executing something.
/// Returns the status of its first thread.
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
