//! Calls by who made them: `--by process|thread|cgroup|comm`.

use std::fs;

use serde_json::Value;

use crate::{
    cgroup::Cgroup,
    harness::{Measured, Stat, Target, run, skipped, syscost, task_storage},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_syscost-target");

/// Whether this kernel can; the test returns if not.
fn can_group() -> bool {
    let can = task_storage();
    if !can {
        skipped("groups take Linux 5.11 with BTF");
    }
    can
}

fn groups(measured: &Measured) -> &Vec<Value> {
    measured.0["groups"].as_array().expect("groups")
}

/// The calls of each group, fewest first.
fn counts(measured: &Measured) -> Vec<u64> {
    let mut counts: Vec<_> =
        groups(measured).iter().map(|group| group["count"].as_u64().unwrap()).collect();
    counts.sort_unstable();
    counts
}

/// Nothing is lost, and both ways to add the calls up come to the same.
fn assert_adds_up(measured: &Measured) {
    measured.assert_exact();
    assert_same_sums(measured);
}

fn assert_same_sums(measured: &Measured) {
    for field in ["count", "errors", "total_ns"] {
        let sum = |rows: &Value| -> u64 {
            rows.as_array().unwrap().iter().map(|row| row[field].as_u64().unwrap()).sum()
        };
        assert_eq!(sum(&measured.0["groups"]), sum(&measured.0["syscalls"]), "{field}");
    }
}

#[test]
fn a_group_for_each_process_of_a_tree() {
    if !can_group() {
        return;
    }
    let mut target = Target::start(&["tree", "2", "3", "25"]);
    let stat = Stat::attach(target.pid(), &["-f", "-e", "getppid", "--by", "process"]);
    let pid = target.pid();
    target.work();
    target.end();
    let measured = stat.finish();
    assert_adds_up(&measured);
    // 1 + 3 + 9 processes, all of them dead by now.
    assert_eq!(counts(&measured), [25; 13]);
    assert_eq!(measured.0["by"], "process");
    assert!(groups(&measured).iter().all(|group| group["comm"] == "syscost-target"));
    assert!(groups(&measured).iter().any(|group| group["pid"] == pid));
}

#[test]
fn a_group_for_each_thread_dead_or_alive() {
    if !can_group() {
        return;
    }
    let mut target = Target::start(&["calls", "4", "500"]);
    // By now its threads are dead and it lives; then it is dead as well.
    for ended_first in [false, true] {
        let stat = Stat::attach(
            target.pid(),
            &["-e", "getppid,getpgid", "--by", "thread", "--sort", "name"],
        );
        target.work();
        let measured = if ended_first {
            target.end();
            stat.finish()
        } else {
            stat.stop()
        };
        assert_adds_up(&measured);
        assert_eq!(counts(&measured), [550; 4]);
        assert!(groups(&measured).iter().all(|group| group["errors"] == 50));
        target = Target::start(&["calls", "4", "500"]);
    }
}

#[test]
fn threads_that_come_and_go_between_readings_are_all_in() {
    if !can_group() {
        return;
    }
    for by in ["process", "thread"] {
        let mut target = Target::start(&["churn", "3000", "7"]);
        let args = ["-e", "getppid", "--by", by, "-i", "10ms"];
        let stat = Stat::attach(target.pid(), &args);
        target.work();
        target.end();
        let intervals = stat.finish_intervals();
        // A reading while threads die, at least: how many there is time for is the machine's.
        assert!(intervals.len() > 1);
        let last = &intervals.last().unwrap().0;
        assert_eq!(last["exact"], true, "{:#}", last["ledger"]);
        let calls: u64 = intervals.iter().flat_map(counts).sum();
        assert_eq!(calls, 21_000, "{by}");
        // Each thread is in one interval or goes over from one to the next.
        let rows: usize = intervals.iter().map(|interval| groups(interval).len()).sum();
        match by {
            "process" => assert!(rows <= intervals.len()),
            _ => assert!((3000..=3000 + intervals.len()).contains(&rows), "{rows}"),
        }
    }
}

#[test]
fn a_process_keeps_its_calls_when_another_thread_executes_a_program() {
    if !can_group() {
        return;
    }
    let mut target = Target::start(&["exec-from-thread"]);
    let pid = target.pid();
    let stat = Stat::attach(pid, &["--by", "process"]);
    target.begin();
    assert_eq!(target.line(), "ready");
    target.work();
    target.end();
    let measured = stat.finish();
    assert_adds_up(&measured);
    assert_eq!(groups(&measured).len(), 1);
    assert_eq!(groups(&measured)[0]["pid"], pid);
}

#[test]
fn a_group_for_each_name() {
    if !can_group() {
        return;
    }
    let script = format!("{PROGRAM} tree 1 3 10 & {PROGRAM} calls 2 100; wait");
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended = run(syscost()
        .args(["stat", "--json", "--by", "comm", "-e", "getppid,execve", "-o"])
        .arg(file.path())
        .args(["--", "sh", "-c", &script]));
    assert!(ended.status.success(), "{}", ended.stderr);
    let text = fs::read_to_string(file.path()).unwrap();
    let measured = Measured(serde_json::from_str(&text).unwrap());
    assert_adds_up(&measured);
    let of = |name: &str| {
        groups(&measured).iter().find(|group| group["comm"] == name).map(|group| &group["count"])
    };
    // Four processes by fork, two by the shell, which has executed `sh` itself: an execve returns
    // under the new name. The shell may ask for its parent's PID, too.
    assert_eq!(of("syscost-target").unwrap(), 4 * 10 + 200 + 2);
    assert!(of("sh").unwrap().as_u64().unwrap() >= 1);
}

#[test]
fn a_group_for_each_cgroup() {
    if !can_group() {
        return;
    }
    let name = format!("syscost-test-by-{}", std::process::id());
    let Some(outer) = Cgroup::at_top(&name) else {
        return skipped("no cgroup2 hierarchy to make a cgroup in");
    };
    let inner = outer.below("inner");
    let mut targets =
        [Target::start(&["calls", "2", "100"]), Target::start(&["calls", "1", "1000"])];
    outer.take(targets[0].pid());
    inner.take(targets[1].pid());
    let args = ["--cgroup", outer.path(), "-e", "getppid", "--by", "cgroup", "--sort", "calls"];
    let stat = Stat::start(&args);
    targets.iter_mut().for_each(Target::work);
    targets.into_iter().for_each(Target::end);
    let measured = stat.stop();
    assert_adds_up(&measured);
    let rows: Vec<_> =
        groups(&measured).iter().map(|group| (&group["cgroup"], &group["count"])).collect();
    let [first, second] = [format!("/{name}/inner"), format!("/{name}")].map(Value::from);
    assert_eq!(rows, [(&first, &Value::from(1000)), (&second, &Value::from(200))]);
}

#[test]
fn the_whole_host_by_process_without_the_tracer() {
    if !can_group() {
        return;
    }
    let mut target = Target::start(&["calls", "2", "1000"]);
    let stat = Stat::start(&["-a", "--by", "process"]);
    let (tracer, pid) = (stat.pid().as_raw(), target.pid());
    target.work();
    let measured = stat.stop();
    target.end();
    assert!(measured.misses() == Some(0));
    assert_same_sums(&measured);
    let of = |pid: i64| groups(&measured).iter().find(|group| group["pid"] == pid);
    assert!(of(pid.into()).unwrap()["count"].as_u64().unwrap() >= 2200);
    assert!(of(tracer.into()).is_none());
    // kthreadd waits, too, but in no call.
    let in_flight = measured.0["in_flight"].as_array().unwrap();
    assert!(in_flight.iter().all(|call| call["pid"] != 2), "{in_flight:?}");
}

#[test]
fn groups_that_find_no_room_are_added_up_as_others() {
    if !can_group() {
        return;
    }
    let mut target = Target::start(&["churn", "50", "7"]);
    let args = ["-e", "getppid", "--by", "thread", "--max-groups", "11"];
    let stat = Stat::attach(target.pid(), &args);
    target.work();
    target.end();
    let measured = stat.finish();
    // No call is lost; only whose they were is not known of all.
    measured.assert_consistent();
    assert_same_sums(&measured);
    assert_eq!(measured.count("getppid"), 350);
    assert_eq!(measured.ledger("groups_full"), 40);
    assert_eq!(measured.0["exact"], false);
    let other: Vec<_> = groups(&measured).iter().filter(|group| group["other"] == true).collect();
    assert_eq!(other.len(), 1);
    assert_eq!(other[0]["count"], 280);
    assert_eq!(groups(&measured).len(), 11);
}

#[test]
fn older_kernels_say_what_they_lack() {
    let ended = run(syscost()
        .args(["stat", "--hooks", "raw", "--by", "process", "-p"])
        .arg(std::process::id().to_string()));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("--by process takes BTF tracepoints"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    // Adding up by syscall is no grouping.
    let ended = run(syscost()
        .args(["stat", "--hooks", "raw", "--by", "syscall", "-d", "20ms", "-p"])
        .arg(std::process::id().to_string()));
    assert!(ended.status.success(), "{}", ended.stderr);
}
