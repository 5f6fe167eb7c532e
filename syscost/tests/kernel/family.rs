//! `-f`: the children that exist when attaching, and those that are forked meanwhile.

use std::process::Command;

use nix::unistd::Pid;

use crate::{
    harness::{CALIBRATION, Stat, Target, emulated, eventually, hooks, installed, skipped},
    programs::{hooks_of, programs_of},
};

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
        let pid = target.pid().to_string();
        let stat = Stat::start_by(&mut slowly(3000), &["-p", &pid, "--hooks", &hooks, "-f"]);
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert!(measured.ledger("newborn_exits") > 0, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 0, "{hooks}");
    }
}

/// Many calls end between the moments when exits and when enters are seen, and no thread has more than one open.
#[test]
fn a_thread_has_one_call_open_at_attach() {
    const THREADS: u64 = 40;
    if !installed("strace") {
        return skipped("strace is not installed");
    }
    for hooks in hooks() {
        let mut target = Target::start(&["naps", &THREADS.to_string(), "1000000", "200"]);
        target.begin();
        let pid = target.pid().to_string();
        let args = ["-p", &pid, "--hooks", &hooks, "-d", "50ms"];
        let measured = Stat::start_by(&mut slowly(3000), &args).finish();
        measured.assert_exact();
        let open = measured.ledger("open_at_attach");
        assert!(open <= THREADS + 1, "{hooks}: {open}");
    }
}

/// Their parents exist when the first hook is attached, and are gone before the children of the target are found.
#[test]
fn children_whose_parents_exit_while_attaching_are_measured() {
    const PARENTS: u64 = 100;
    if !installed("strace") {
        return skipped("strace is not installed");
    }
    for hooks in hooks() {
        let mut target = Target::spawn(&["orphans", &PARENTS.to_string(), "3"]);
        let pid = target.pid().to_string();
        assert_eq!(target.line(), "ready");
        let stat = std::thread::scope(|scope| {
            let attaching = scope.spawn(|| {
                Stat::start_by(&mut slowly(3000), &["-p", &pid, "--hooks", &hooks, "-f"])
            });
            eventually("the first hooks are attached", || {
                // Not those two that only try how the kernel calls programs.
                let attaches = |pid| programs_of(pid).len() > 4 && hooks_of(pid) >= 2;
                measurers_of(&pid).any(attaches)
            });
            target.begin();
            attaching.join().expect("it attaches")
        });
        assert_eq!(target.line(), "there");
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), PARENTS * 3, "{hooks}");
    }
}

/// The program itself, with every bpf(2) call of it delayed by `us` µs.
fn slowly(us: u32) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "-e", "trace=bpf", "-e"])
        .arg(format!("inject=bpf:delay_enter={us}"))
        .arg(env!("CARGO_BIN_EXE_syscost"))
        .env(CALIBRATION.0, CALIBRATION.1);
    command
}

/// The processes of this program that are told to measure `pid`.
fn measurers_of(pid: &str) -> impl Iterator<Item = Pid> {
    let wanted = format!("syscost\0stat\0--json\0-p\0{pid}\0");
    std::fs::read_dir("/proc").expect("it can be read").filter_map(move |entry| {
        let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
        (line.contains(&wanted) && !line.starts_with("strace")).then(|| Pid::from_raw(process))
    })
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
        let first = Pid::from_raw(target.pid() as i32);
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
