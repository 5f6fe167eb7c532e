//! What latencies consist of: on a CPU, waiting for one, blocked. The three add up to the latency
//! (`Measured::assert_consistent`); here, each is where it must be, and agrees with the scheduler.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    harness::{
        Measured, PARTS, Stat, Target, announce, buckets, emulated, eventually, hooks, measure,
        seeing_hooks, skipped, undisturbed,
    },
    threads::{asleep_in, await_asleep_in, threads},
};

/// Nothing is lost, and of every call the parts are known.
fn assert_all_known(measured: &Measured) {
    measured.assert_exact();
    assert_eq!(measured.ledger("unparted"), 0);
    for row in measured.rows() {
        assert_eq!(row["parts_known"], row["count"], "{row:#}");
    }
}

fn ns(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row:#}"))
}

/// How many calls of a row have any of a part.
fn with_any(row: &Value, part: &str) -> u64 {
    buckets(&row[format!("{part}_histogram")])
        .filter(|(_, high, _)| *high > 0)
        .map(|(_, _, count)| count)
        .sum()
}

/// The parts of a row in milliseconds, for somebody who reads.
fn told(row: &Value) -> String {
    let ms = |field: &str| ns(row, field) as f64 / 1e6;
    let name = row["name"].as_str().expect("a name");
    format!(
        "{name}: {} calls, {:.3} ms = {:.3} on CPU + {:.3} in the run queue + {:.3} blocked",
        row["count"],
        ms("total_ns"),
        ms("on_cpu_ns"),
        ms("runq_ns"),
        ms("blocked_ns")
    )
}

#[test]
fn where_context_switches_are_not_seen_no_part_is_made_up() {
    let measured = measure(&["sleep", "5", "2"], "raw");
    // Kernels that preempt these programs skip some of their runs.
    if hooks().iter().any(|hooks| hooks == "raw") {
        measured.assert_exact();
        assert_eq!(measured.count("nanosleep"), 5);
    }
    assert_eq!(measured.ledger("unparted"), 0, "nothing is missing that could be there");
    // With none known, the harness demands null everywhere.
    assert!(measured.rows().all(|row| row["parts_known"] == 0));
}

#[test]
fn who_waits_for_nothing_is_blocked_for_no_time() {
    for hooks in seeing_hooks() {
        let measured = measure(&["zeros", "20"], &hooks);
        assert_all_known(&measured);
        let row = measured.row("readv").unwrap();
        announce(&format!("{hooks}, {}", told(row)));
        assert_eq!(row["count"], 20);
        assert_eq!(row["blocked_ns"], 0);
        assert_eq!(with_any(row, "on_cpu"), 20);
    }
}

#[test]
fn who_loses_the_cpu_inside_a_call_waits_for_it_and_is_not_blocked() {
    if !Account::is_kept() {
        return skipped("this kernel's scheduler keeps no account");
    }
    for hooks in seeing_hooks() {
        let (measured, account) = Account::while_measured(&["contended", "20"], &hooks);
        assert_all_known(&measured);
        let row = measured.row("readv").unwrap();
        let (runq, delay) = (ns(row, "runq_ns"), account.run_delay);
        announce(&format!("{hooks}, {}; run_delay {delay} ns", told(row)));
        assert_eq!(row["blocked_ns"], 0);
        // It can be lost on the way out of a call as well, but not every time.
        assert!(with_any(row, "runq") > 0, "{row:#}");
        // The scheduler reads its clock a little earlier. What it says of calls and of the way out
        // of them is one number.
        assert!((delay / 2..=delay + delay / 10).contains(&runq), "{runq} of {delay}");
    }
}

#[test]
fn who_sleeps_is_blocked_for_as_long_as_anybody_saw_it_asleep() {
    for hooks in seeing_hooks() {
        let mut target = Target::start(&["nap"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", &hooks]);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_nanosleep);
        let first = Instant::now();
        let mut seen = Duration::ZERO;
        while seen < Duration::from_millis(50) {
            let now = Instant::now();
            assert_eq!(asleep_in(pid, pid), Some(libc::SYS_nanosleep));
            seen = now.saturating_duration_since(first);
        }
        kill(Pid::from_raw(pid as i32), Signal::SIGUSR1).unwrap();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        assert_all_known(&measured);
        let row = measured.row("nanosleep").unwrap();
        announce(&format!("{hooks}, {}; seen asleep for {seen:?}", told(row)));
        assert_eq!(row["count"], 1);
        assert!(u128::from(ns(row, "blocked_ns")) >= seen.as_nanos(), "{seen:?}: {row:#}");
    }
}

#[test]
fn of_every_sleep_some_is_blocked() {
    for hooks in seeing_hooks() {
        let measured = measure(&["sleep", "10", "50"], &hooks);
        assert_all_known(&measured);
        let row = measured.row("nanosleep").unwrap();
        announce(&format!("{hooks}, {}", told(row)));
        assert_eq!(row["count"], 10);
        assert_eq!(with_any(row, "blocked"), 10);
        // It may be kept from going to sleep, and from going on, but for no less in all.
        let all: u64 = PARTS.iter().map(|part| ns(row, &format!("{part}_ns"))).sum();
        assert!(all >= 10 * 50_000_000, "{row:#}");
    }
}

#[test]
fn who_is_woken_up_by_another_thread_was_blocked_each_time() {
    const TIMES: u64 = 200;
    for hooks in seeing_hooks() {
        let measured = measure(&["hand-over", &TIMES.to_string()], &hooks);
        assert_all_known(&measured);
        let row = measured.row("futex").unwrap();
        announce(&format!("{hooks}, {}; {} blocked", told(row), with_any(row, "blocked")));
        // Each of two threads has waited and woken up; only who waits is blocked.
        assert_eq!(row["count"], 4 * TIMES);
        assert_eq!(with_any(row, "blocked"), 2 * TIMES);
    }
}

#[test]
fn faults_in_memory_that_a_call_fills_are_part_of_the_call() {
    for hooks in seeing_hooks() {
        let measured = measure(&["faults", "32"], &hooks);
        assert_all_known(&measured);
        let row = measured.row("pread64").unwrap();
        announce(&format!("{hooks}, {}", told(row)));
        assert_eq!(row["count"], 32);
        assert_eq!(with_any(row, "on_cpu"), 32);
    }
}

#[test]
fn who_waits_for_a_page_is_blocked() {
    const TIMES: u64 = 10;
    const MS: u64 = 5;
    for hooks in seeing_hooks() {
        let mut target = Target::spawn(&["user-faults", &TIMES.to_string(), &MS.to_string()]);
        match target.line().as_str() {
            "ready" => {}
            "no userfaultfd" => return skipped("the kernel has no userfaultfd"),
            said => panic!("{said}"),
        }
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        assert_all_known(&measured);
        let row = measured.row("pread64").unwrap();
        announce(&format!("{hooks}, {}", told(row)));
        assert_eq!(row["count"], TIMES);
        assert_each_blocked_at_least(row, MS * 1_000_000);
        assert!(ns(row, "blocked_ns") >= TIMES * MS * 1_000_000, "{row:#}");
    }
}

/// No call of a row is in a bucket of calls that were all blocked for less.
fn assert_each_blocked_at_least(row: &Value, least_ns: u64) {
    assert!(buckets(&row["blocked_histogram"]).all(|(_, high, _)| high >= least_ns), "{row:#}");
}

#[test]
fn what_a_call_sleeps_before_and_after_a_handler_is_blocked() {
    const TIMES: u64 = 5;
    const MS: u64 = 20;
    for hooks in seeing_hooks() {
        for (how, calls) in [("restart", 1), ("same", 1 + TIMES), ("retry", 1 + TIMES)] {
            let measured =
                measure(&["interrupted", &TIMES.to_string(), how, &MS.to_string()], &hooks);
            assert_all_known(&measured);
            let row = measured.row("readv").unwrap();
            announce(&format!("{hooks}, {how}, {}", told(row)));
            assert_eq!(row["count"], calls);
            // However many calls that is, it was seen asleep as often.
            let least = (TIMES + 1) * MS * 1_000_000;
            assert!(ns(row, "blocked_ns") >= least, "{row:#}");
            match how {
                "restart" => assert_each_blocked_at_least(row, least),
                "retry" => assert_each_blocked_at_least(row, MS * 1_000_000),
                // The handler's own never block.
                _ => assert_eq!(with_any(row, "blocked"), 1, "{row:#}"),
            }
        }
    }
}

#[test]
fn the_parts_of_a_groups_calls_add_up_as_well() {
    for hooks in seeing_hooks() {
        for by in ["thread", "process"] {
            let mut target = Target::start(&["jostle", "8", "500"]);
            let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "--by", by]);
            target.work();
            target.end();
            let measured = stat.finish();
            assert_all_known(&measured);
            let groups = measured.0["groups"].as_array().unwrap();
            // The first thread starts the others.
            assert_eq!(groups.len(), if by == "thread" { 9 } else { 1 });
            for group in groups {
                assert_eq!(group["parts_known"], group["count"], "{group:#}");
                let all: u64 = PARTS.iter().map(|part| ns(group, &format!("{part}_ns"))).sum();
                assert_eq!(all, ns(group, "total_ns"), "{group:#}");
            }
            for part in PARTS.map(|part| format!("{part}_ns")) {
                let sum_of_rows: u64 = measured.rows().map(|row| ns(row, &part)).sum();
                let sum_of_groups: u64 = groups.iter().map(|group| ns(group, &part)).sum();
                assert_eq!(sum_of_groups, sum_of_rows, "{by}, {part}");
            }
            let blocked: u64 = groups.iter().map(|group| ns(group, "blocked_ns")).sum();
            assert!(blocked > 0, "they sleep now and then");
        }
    }
}

#[test]
fn in_a_crowd_of_sleepers_no_wait_goes_unexplained() {
    const THREADS: u64 = 16;
    let times = if emulated() { 500 } else { 4_000 };
    for hooks in seeing_hooks() {
        let measured = measure(&["naps", &THREADS.to_string(), &times.to_string(), "500"], &hooks);
        assert_all_known(&measured);
        let row = measured.row("nanosleep").unwrap();
        announce(&format!("{hooks}, {}", told(row)));
        assert_eq!(row["count"], THREADS * times);
        // Where a wake-up is not seen, the scheduler's account says when it was.
        if Account::is_kept() {
            assert_eq!(measured.ledger("wakeups_missed"), 0);
        }
    }
}

/// Two accounts of the same events, taken in different places: context switches as the programs see
/// them, and as the scheduler keeps them for `/proc`.
#[test]
fn the_scheduler_says_the_same() {
    if !Account::is_kept() {
        return skipped("this kernel's scheduler keeps no account");
    }
    undisturbed(seeing_hooks(), |hooks| agrees_over_five_seconds(hooks));
}

/// The two accounts, in the run queue and on the CPU, are at most a fifth apart after five seconds of
/// everything. How far apart they are is the machine's, and announced: mostly less than a hundredth.
fn agrees_over_five_seconds(hooks: &str) {
    let (measured, account) = Account::while_measured(&["mixed", "5"], hooks);
    assert_all_known(&measured);
    let sum = |field: &str| -> u64 { measured.rows().map(|row| ns(row, field)).sum() };
    let (on_cpu, runq, blocked) = (sum("on_cpu_ns"), sum("runq_ns"), sum("blocked_ns"));
    let Account { cpu, run_delay: delay, stolen } = account;
    let told = ns(&measured.0, "cpu_ns");
    let pct = |part: u64, of: u64| part as f64 * 100.0 / of as f64;
    announce(&format!(
        "{hooks}: run queue {runq} ns, run_delay {delay} ns: {:.3} %; on CPU {on_cpu} ns in calls, \
         {cpu} ns by schedstat: {:.3} %; cpu_ns {told}: {:.4} %; blocked {blocked} ns; stolen \
         {stolen} ns",
        pct(runq, delay),
        pct(on_cpu, cpu),
        pct(told, cpu),
    ));
    // The programs' clock runs on while the hypervisor has the CPU, and reads a moment later.
    assert!((cpu - cpu / 20..=cpu + cpu / 20 + stolen).contains(&told), "{told} of {cpu}");
    // A thread can lose its CPU on the way out of a call, which is no part of it, and kernels that
    // preempt lazily, as those with perf's hooks do, take it away there for preference.
    let fifth = delay / 5;
    assert!(runq > 0 && runq <= delay + fifth, "{runq} of {delay}");
    assert!(hooks == "perf" || runq >= delay - fifth, "{runq} of {delay}");
    assert!(on_cpu >= cpu - cpu / 5, "{on_cpu} of {cpu}");
    // The scheduler takes what the hypervisor took for no use of the CPU.
    assert!(on_cpu <= cpu + cpu / 5 + stolen, "{on_cpu} of {cpu}");
    assert!(blocked > 0);
}

/// What the scheduler says of all threads of a process, ns.
struct Account {
    cpu: u64,
    run_delay: u64,
    /// What the hypervisor took from all CPUs; it says so in ticks.
    stolen: u64,
}

impl Account {
    fn is_kept() -> bool {
        let own = std::fs::read_to_string("/proc/self/schedstat");
        own.is_ok_and(|own| own.trim() != "0 0 0")
    }

    /// What a target in `mode` adds to it while it is measured.
    fn while_measured(mode: &[&str], hooks: &str) -> (Measured, Self) {
        let mut target = Target::start(mode);
        let before = Self::of(target.pid());
        let stat = Stat::attach(target.pid(), &["--hooks", hooks]);
        target.work();
        let after = Self::of(target.pid());
        let measured = stat.stop();
        target.end();
        let added = Self {
            cpu: after.cpu - before.cpu,
            run_delay: after.run_delay - before.run_delay,
            stolen: after.stolen - before.stolen,
        };
        (measured, added)
    }

    /// Of process `pid`, once all its threads are asleep: then it stands still.
    fn of(pid: u32) -> Self {
        let tids = threads(pid);
        let all_sleep = || tids.iter().all(|tid| asleep_in(pid, *tid).is_some());
        eventually("all its threads sleep", all_sleep);
        let host = std::fs::read_to_string("/proc/stat").expect("it can be read");
        let ticks = host.split_whitespace().nth(8).expect("stolen ticks").parse::<u64>();
        let stolen = ticks.expect("a number") * 10_000_000;
        let mut sum = Self { cpu: 0, run_delay: 0, stolen };
        for tid in tids {
            let account = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"));
            let account = account.expect("it runs");
            let mut numbers = account.split_whitespace().map(|number| number.parse::<u64>());
            sum.cpu += numbers.next().expect("CPU time").expect("a number");
            sum.run_delay += numbers.next().expect("its delay").expect("a number");
        }
        sum
    }
}
