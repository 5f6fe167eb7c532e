//! Calls by who made them: `--by process|thread|cgroup|comm`.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use serde_json::Value;
use syscost::{
    filter::Filter,
    group::GroupBy,
    probe::{Probe, Snapshot},
    request::Request,
    sample::{GroupKey, GroupSample, KindSample},
};

use crate::{
    cgroup::Cgroup,
    harness::{Measured, Stat, Target, emulated, run, skipped, syscost, task_storage},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_syscost-target");

/// Whether this kernel can; the test returns if not.
fn can_group() -> bool {
    let can = task_storage();
    if !can {
        skipped("groups take Linux 5.12 with BTF");
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

/// Calls that end between the reading of the groups and that of the syscalls are what they differ by.
#[test]
fn in_each_interval_groups_and_syscalls_differ_by_what_is_said() {
    if !can_group() {
        return;
    }
    for by in ["process", "thread", "comm"] {
        let mut target = Target::start(&["spin", "2"]);
        let mut stat = Stat::attach(target.pid(), &["--by", by, "-i", "20ms"]);
        target.work();
        let (mut before, mut calls) = (0, 0);
        let mut next = |interval: &Measured| {
            let sum = counts(interval).iter().sum::<u64>() as i64;
            let all = interval.rows().map(|row| row["count"].as_i64().unwrap()).sum::<i64>();
            let behind = interval.0["groups_behind"].as_i64().unwrap();
            assert_eq!(sum + behind, all + before, "{by}");
            (before, calls) = (behind, calls + all);
        };
        for _ in 0..30 {
            next(&stat.interval());
        }
        target.begin();
        let numbers = target.line();
        assert_eq!(target.line(), "done");
        target.end();
        for interval in stat.finish_intervals() {
            next(&interval);
        }
        assert_eq!(before, 0, "nothing is behind in the end");
        let made: i64 = numbers.split(' ').map(|number| number.parse::<i64>().unwrap()).sum();
        assert!(calls >= made, "{calls} of {made}");
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
    assert_same_sums(&measured);
    assert_eq!(measured.count("getppid"), 350);
    assert_eq!(measured.ledger("groups_full"), 40);
    measured.assert_exact();
    assert_eq!(measured.0["losses"], serde_json::json!([]));
    let other: Vec<_> = groups(&measured).iter().filter(|group| group["other"] == true).collect();
    assert_eq!(other.len(), 1);
    assert_eq!(other[0]["count"], 280);
    assert_eq!(other[0]["threads"], 40);
    assert_eq!(groups(&measured).len(), 11);
}

#[test]
fn every_dead_process_counts_once_however_many_there_are() {
    if !can_group() {
        return;
    }
    // Many more than there is room for, with and without looking at them while they live. `wait4` is the
    // parent's, which lives on, and has as many.
    let cases = if emulated() {
        vec![(200, "50", None), (200, "50", Some("20ms"))]
    } else {
        vec![(2_000, "50", None), (2_000, "50", Some("20ms")), (17_000, "16384", Some("200ms"))]
    };
    for (children, room, interval) in cases {
        let mut target = Target::start(&["forks", &children.to_string(), "4"]);
        let args = ["-f", "-e", "getppid,wait4", "--by", "process", "--max-groups", room];
        let interval: Vec<_> = interval.iter().flat_map(|interval| ["-i", *interval]).collect();
        let stat = Stat::attach(target.pid(), &[&args[..], &interval].concat());
        let pid = target.pid();
        target.work();
        target.end();
        let windows = stat.finish_intervals();
        let room: u64 = room.parse().unwrap();
        let (mut calls, mut of_parent) = (0, 0);
        for window in &windows {
            assert_eq!(window.0["exact"], true, "{:#}", window.0["ledger"]);
            calls += counts(window).iter().sum::<u64>();
            let parent = groups(window).iter().find(|group| group["pid"] == pid);
            of_parent += parent.map_or(0, |parent| parent["count"].as_u64().unwrap());
        }
        assert_eq!(calls, children * 5, "room {room}, {interval:?}");
        let last = windows.last().unwrap();
        let merged = last.ledger("groups_full");
        // The parent has found no room either, after all its children.
        assert_eq!(merged, children + 1 - (room - 1), "room {room}, {interval:?}");
        let other = groups(last).iter().find(|group| group["other"] == true);
        if interval.is_empty() {
            let other = other.expect("merged");
            assert_eq!(other["threads"], merged);
            assert_adds_up(last);
            assert_eq!(other["count"], (children - (room - 1)) * 4 + children);
        } else {
            // The last window may be one in which nothing was merged.
            assert!(other.is_none_or(|other| other["threads"] == merged), "{other:?}");
            // Those calls of it that were seen while it lived stay its own.
            assert!(of_parent > 0 && of_parent <= children, "{of_parent}");
        }
    }
}

#[test]
fn readings_while_threads_die_lose_and_double_nothing() {
    if !can_group() {
        return;
    }
    for by in [GroupBy::Process, GroupBy::Thread, GroupBy::Comm] {
        let threads: u64 = if emulated() { 300 } else { 5_000 };
        let mut target = Target::start(&["churn", &threads.to_string(), "6"]);
        let request = Request { group_by: by, ..Request::process(target.pid()) };
        let mut probe = Probe::attach(&request).unwrap();
        target.begin();
        let mut last = (0, 0);
        let mut readings = 0;
        let cpus = std::thread::available_parallelism().unwrap().get() as u64;
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(target.line(), "done");
                ended.store(true, SeqCst);
            });
            while !ended.load(SeqCst) {
                let groups = probe.groups().unwrap().unwrap();
                let sum = |get: fn(&GroupSample) -> u64| groups.groups.iter().map(get).sum::<u64>();
                let now = (sum(|group| group.calls), sum(|group| group.total_ns));
                assert!(now.0 >= last.0 && now.1 >= last.1, "{by:?}: {last:?}, then {now:?}");
                last = now;
                readings += 1;
                // All that was in the groups is in the syscalls, which are read later. Each CPU may be in
                // the middle of a call, which is added to its thread first.
                let Snapshot { kinds, .. } = probe.snapshot();
                let recorded = kinds.iter().map(KindSample::calls).sum::<u64>();
                assert!(recorded + cpus >= now.0, "{recorded} of {}", now.0);
            }
        });
        assert!(readings > 1);
        probe.detach();
        let Snapshot { kinds, .. } = probe.snapshot();
        let groups = probe.groups().unwrap().unwrap().groups;
        let calls: u64 = kinds.iter().map(KindSample::calls).sum();
        let total_ns: u64 = kinds.iter().map(|kind| kind.sum_ns).sum();
        assert_eq!(groups.iter().map(|group| group.calls).sum::<u64>(), calls, "{by:?}");
        assert_eq!(groups.iter().map(|group| group.total_ns).sum::<u64>(), total_ns, "{by:?}");
        assert!(calls >= threads * 6, "{calls}");
        target.end();
    }
}

#[test]
fn threads_have_names_of_their_own() {
    if !can_group() {
        return;
    }
    for ended_first in [false, true] {
        let mut target = Target::start(&["named", "3", "20"]);
        let args = ["-e", "getppid", "--by", "thread"];
        let stat = Stat::attach(target.pid(), &args);
        target.work();
        let measured = if ended_first {
            target.end();
            stat.finish()
        } else {
            stat.stop()
        };
        assert_adds_up(&measured);
        let mut names: Vec<_> =
            groups(&measured).iter().map(|group| group["comm"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["thread-0", "thread-1", "thread-2"]);
    }
}

#[test]
fn a_process_that_takes_another_name_leaves_its_calls_behind() {
    if !can_group() {
        return;
    }
    let mut target = Target::start(&["renamed", "30"]);
    let only = Filter::everything().with_calls("getppid").unwrap();
    let request =
        Request { group_by: GroupBy::Comm, filter: only, ..Request::process(target.pid()) };
    let mut probe = Probe::attach(&request).unwrap();
    let mut found = || {
        let groups = probe.groups().unwrap().unwrap().groups;
        let mut found: Vec<_> = groups
            .into_iter()
            .map(|group| match group.key {
                GroupKey::Comm(name) => (name, group.calls),
                other => panic!("{other:?}"),
            })
            .collect();
        found.sort();
        found
    };
    let row = |name: &str, calls| (name.to_owned(), calls);
    target.work();
    assert_eq!(found(), [row("first", 30)]);
    target.work();
    assert_eq!(found(), [row("first", 30), row("second", 30)]);
    target.work();
    assert_eq!(found(), [row("first", 60), row("second", 30)]);
    target.work();
    target.end();
    assert_eq!(found(), [row("first", 60), row("second", 30)]);
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
