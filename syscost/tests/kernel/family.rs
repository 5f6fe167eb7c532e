//! `-f`: the children that exist when attaching, and those that are forked meanwhile.

use std::process::Command;

use crate::harness::{CALIBRATION, Stat, Target, emulated, hooks, installed, skipped};

#[test]
fn children_that_exist_are_measured_to_any_depth() {
    for hooks in hooks() {
        let mut target = Target::start(&["elders", "3", "3", "25"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-f"]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        // 1 + 3 + 9 + 27 processes.
        assert_eq!(measured.count("getppid"), 40 * 25, "{hooks}");
        // They were waiting for the gate, and the first one for a line.
        assert_eq!(measured.ledger("open_at_attach"), 40, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), 0, "{hooks}");
        assert_eq!(measured.ledger("ended_without_exit"), 40);
        assert_eq!(measured.0["target_exited"], true);
    }
}

#[test]
fn children_that_exist_are_not_measured_unasked() {
    for hooks in hooks() {
        let mut target = Target::start(&["elders", "1", "3", "25"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        assert_eq!(stat.finish().count("getppid"), 25, "{hooks}");
    }
}

#[test]
fn a_process_that_makes_no_calls_is_said_to_have_children() {
    for hooks in hooks() {
        let mut target = Target::start(&["elders", "1", "3", "25"]);
        let args = ["--hooks", &hooks, "-d", "300ms"];
        let measured = Stat::attach(target.pid(), &args).finish();
        assert_eq!(measured.ledger("matched"), 0, "{hooks}");
        assert_eq!(measured.0["why_empty"]["kind"], "only_children");
        assert_eq!(measured.0["why_empty"]["children"], 3);
        let measured = Stat::attach(target.pid(), &[&args[..], &["-f"]].concat()).finish();
        assert!(measured.0["why_empty"].is_null());
        target.work();
        target.end();
    }
}

#[test]
fn children_forked_while_attaching_are_measured_once_each() {
    let children: u64 = if emulated() { 300 } else { 2_000 };
    for hooks in hooks() {
        let mut target = Target::start(&["swarm", &children.to_string(), "3"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-f"]);
        target.begin();
        assert_eq!(target.line(), "grown");
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), (children + children / 10) * 3, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 0);
        // The first process, and its thread that waited for the line.
        assert_eq!(measured.ledger("ended_without_exit"), children + children / 10 + 2);
    }
}

/// Exits are seen before enters. A child that is forked in between makes calls of which only the exit is
/// seen; here that takes long.
#[test]
fn children_forked_before_enters_are_seen_make_no_orphans() {
    if !installed("strace") {
        return skipped("strace is not installed");
    }
    for hooks in hooks() {
        let mut target = Target::start(&["mayflies", "3"]);
        let mut slow = Command::new("strace");
        slow.args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "trace=bpf",
            "-e",
            "inject=bpf:delay_enter=3000",
        ])
        .arg(env!("CARGO_BIN_EXE_syscost"))
        .env(CALIBRATION.0, CALIBRATION.1);
        let pid = target.pid().to_string();
        let stat = Stat::start_by(&mut slow, &["-p", &pid, "--hooks", &hooks, "-f"]);
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert!(measured.ledger("newborn_exits") > 0, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 0, "{hooks}");
    }
}

/// Whoever is taken in while attaching is taken out when it ends: its PID may be another's soon.
#[test]
fn children_that_end_while_attaching_do_not_stay() {
    let times = if emulated() { 2 } else { 6 };
    for hooks in hooks().iter().flat_map(|hooks| (0..times).map(move |_| hooks)) {
        let mut target = Target::start(&["mayflies", "0"]);
        let stat = Stat::attach(target.pid(), &["--hooks", hooks, "-f"]);
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.0["target_exited"], true, "{hooks}");
    }
}

#[test]
fn the_measurement_ends_with_the_last_child_that_existed() {
    for hooks in hooks() {
        let target = Target::start(&["elders", "2", "2", "5"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-f"]);
        let first = nix::unistd::Pid::from_raw(target.pid() as i32);
        // Its children see its end of the gate close, and go on without it.
        nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL).unwrap();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 6 * 5, "{hooks}");
        assert_eq!(measured.0["target_exited"], true);
        target.end();
    }
}

#[test]
fn existing_children_that_find_no_room_are_told_of() {
    for hooks in hooks() {
        let mut target = Target::start(&["elders", "1", "20", "3"]);
        let args = ["--hooks", &hooks, "-f", "--max-targets", "15"];
        let stat = Stat::attach(target.pid(), &args);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_consistent();
        // One of the fifteen is the process itself.
        assert_eq!(measured.count("getppid"), 15 * 3, "{hooks}");
        assert_eq!(measured.ledger("targets_full"), 6);
        assert_eq!(measured.0["exact"], false);
    }
}
