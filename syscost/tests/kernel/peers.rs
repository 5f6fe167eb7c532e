//! Another tool, looking at the same work, counts the same.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

use syscost::{probe::Probe, request::Request};

use crate::{
    harness::{Stat, Target, choice, eventually, hooks, installed, skipped},
    running::Running,
};

/// Calls and errors per syscall.
type Counts = BTreeMap<String, (u64, u64)>;

const MODE: [&str; 3] = ["calls", "4", "500"];

#[test]
fn strace_counts_the_same() {
    if !installed("strace") {
        return skipped("strace is not installed");
    }
    let mut target = Target::start(&MODE);
    let stat = Stat::attach(target.pid(), &[]);
    target.work();
    target.end();
    let measured = stat.finish();
    measured.assert_exact();
    let ours: Counts = measured
        .rows()
        .map(|row| {
            let number = |field: &str| row[field].as_u64().unwrap();
            (row["name"].as_str().unwrap().to_owned(), (number("count"), number("errors")))
        })
        .collect();
    let theirs = by_strace();
    for name in ["getppid", "getpgid", "write"] {
        assert_eq!(ours.get(name), theirs.get(name), "{name}\n{ours:?}\n{theirs:?}");
    }
    assert_eq!(ours["getppid"], (2_000, 0));
    assert_eq!(ours["getpgid"], (200, 200));
}

#[test]
fn a_target_that_strace_traces_as_well_is_counted_exactly() {
    if !installed("strace") {
        return skipped("strace is not installed");
    }
    for hooks in hooks() {
        let mut target = Target::start(&MODE);
        let mut strace = attach_strace(&target, Path::new("/dev/null"));
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 2_000, "{hooks}");
        assert_eq!(measured.errors("getpgid"), 200);
        strace.wait();
    }
}

#[test]
fn calls_that_a_tracer_takes_away_are_none() {
    if !installed("strace") {
        return skipped("strace is not installed");
    }
    for hooks in hooks() {
        let mut target = Target::start(&MODE);
        let inject = ["--inject=getpgid:error=ESRCH"];
        let mut strace = attach_strace_with(&target, Path::new("/dev/null"), &inject);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getpgid"), 0, "{hooks}");
        assert_eq!(measured.count("out-of-range"), 0);
        assert_eq!(measured.ledger("orphan_exits"), 200);
        assert_eq!(measured.count("getppid"), 2_000);
        strace.wait();
    }
}

fn by_strace() -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("strace");
    let mut target = Target::start(&MODE);
    let mut strace = attach_strace(&target, &report);
    target.work();
    target.end();
    strace.wait();
    // "% time  seconds  usecs/call  calls  errors  syscall", where errors may be blank.
    std::fs::read_to_string(report)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (name, numbers) = words.split_last()?;
            let calls = numbers.get(3)?.parse().ok()?;
            let errors = numbers.get(4).map_or(Some(0), |errors| errors.parse().ok())?;
            Some(((*name).to_owned(), (calls, errors)))
        })
        .collect()
}

/// Attaches `strace -c` to all five threads of a target.
fn attach_strace(target: &Target, report: &Path) -> Running {
    attach_strace_with(target, report, &[])
}

fn attach_strace_with(target: &Target, report: &Path, args: &[&str]) -> Running {
    let strace = Running::start(
        Command::new("strace")
            .args(["-c", "-f", "-o"])
            .arg(report)
            .args(args)
            .args(["-p", &target.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null()),
    );
    eventually("strace is attached to all five threads", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", target.pid())).unwrap();
        let traced = tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
            .filter(|status| !status.contains("TracerPid:\t0\n"));
        traced.count() == 5
    });
    strace
}

#[test]
fn other_programs_at_the_same_hooks_are_counted() {
    let target = Target::start(&["busy"]);
    for hooks in hooks() {
        let request = Request { hooks: choice(&hooks), ..Request::process(std::process::id()) };
        let other = Probe::attach(&request).expect("it attaches");
        let measured = Stat::attach(target.pid(), &["--hooks", &hooks]).stop();
        let tracers = measured.0["other_tracers"].as_u64().expect("root may list them");
        // Its two, and those of anybody else.
        assert!(tracers >= 2, "{hooks}: {tracers}");
        drop(other);
    }
}
