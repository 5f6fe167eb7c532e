//! Threads and processes begin and end, in every order, and nothing is mispaired.

use std::{process::Command, time::Instant};

use nix::sys::signal::{Signal, kill};

use crate::{
    harness::{
        Measured, Stat, Target, emulated, hooks, installed, measure, newborn_exits, run, skipped,
        syscost, task_storage,
    },
    threads::await_asleep_in,
};

#[test]
fn exec_from_a_thread_that_does_not_lead_keeps_the_account() {
    for hooks in hooks() {
        let mut target = Target::start(&["exec-from-thread"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.begin();
        // The same process, started over by one of its threads, in mode `calls 1 1000`.
        assert_eq!(target.line(), "ready");
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 1_000, "{hooks}");
        // Those that failed looked for the file; the thread has one that worked.
        assert_eq!(measured.count("execve") - measured.errors("execve"), 1);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn a_process_whose_first_thread_has_ended_is_measured() {
    for hooks in hooks() {
        let measured = measure(&["leaderless", "1000"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 1_000, "{hooks}");
    }
}

#[test]
fn calls_open_when_attaching_are_named_and_not_counted() {
    for hooks in hooks() {
        let measured = measure(&["blocked"], &hooks);
        measured.assert_exact();
        // The first thread was in `read`. Those in `ppoll` leave it only to die.
        assert_eq!(measured.ledger("open_at_attach"), 4, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.count("ppoll"), 0);
    }
}

#[test]
fn threads_that_die_inside_a_call_are_named_and_leave_nothing() {
    for hooks in hooks() {
        let measured = measure(&["dying", "8"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("ppoll"), 0);
        // Eight in `ppoll`, which the kernel leaves to kill them and never returns from, and the
        // first thread in `exit_group`.
        assert_eq!(measured.ledger("ended_without_exit"), 9, "{hooks}");
        assert_eq!(measured.ledger("interrupted"), 8);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn what_is_in_flight_is_counted_while_it_is() {
    let mut target = Target::start(&["dying", "8"]);
    let stat = Stat::attach(target.pid(), &[]);
    target.work();
    await_in_read(&target);
    // Eight threads are in `ppoll`, the first in `read`.
    let measured = stat.stop();
    measured.assert_exact();
    assert_eq!(measured.ledger("in_flight"), 9);
    assert_eq!(measured.0["target_exited"], false);
    target.end();
}

#[test]
fn a_target_that_is_killed_ends_the_measurement() {
    let mut target = Target::start(&["calls", "2", "100"]);
    let stat = Stat::attach(target.pid(), &[]);
    target.work();
    kill(nix::unistd::Pid::from_raw(target.pid() as i32), Signal::SIGKILL).unwrap();
    let measured = stat.finish();
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), 200);
    assert_eq!(measured.0["target_exited"], true);
}

#[test]
fn a_call_that_seccomp_denies_is_no_call() {
    for hooks in hooks() {
        let measured = measure(&["denied", "100"], &hooks);
        measured.assert_exact();
        // It is exited without having been entered.
        assert_eq!(measured.count("getpriority"), 0, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 100);
    }
}

#[test]
fn of_a_process_under_a_seccomp_supervisor_the_calls_that_are_made_count() {
    for hooks in hooks() {
        let measured = measure(&["supervised", "70", "30"], &hooks);
        measured.assert_exact();
        // What the supervisor answers is exited without having been entered.
        assert_eq!(measured.count("getpriority"), 30, "{hooks}");
        assert_eq!(measured.errors("getpriority"), 0);
        assert_eq!(measured.ledger("orphan_exits"), 70);
    }
}

#[test]
fn a_pid_that_is_used_again_inherits_no_open_call() {
    for hooks in hooks() {
        let mut target = Target::start(&["reuse", "30", "7"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-f"]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 30 * 7, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(30));
        assert_eq!(measured.ledger("exits_missed"), 0);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        // Each was killed in its `ppoll`, and the process itself has ended.
        assert_eq!(measured.ledger("interrupted") + measured.count("ppoll"), 30);
        assert_eq!(measured.ledger("ended_without_exit"), 31, "{:#}", measured.0["ledger"]);
    }
}

#[test]
fn a_vfork_is_the_parents_call_alone() {
    for hooks in hooks() {
        let measured = measure(&["vforks", "50"], &hooks);
        measured.assert_exact();
        let call = if cfg!(target_arch = "x86_64") { "vfork" } else { "clone" };
        assert_eq!(measured.count(call), 50, "{hooks}");
        assert_eq!(measured.count("wait4"), 50);
        assert_eq!(measured.ledger("newborn_exits"), 0);
        assert_eq!(measured.ledger("ended_without_exit"), 1);
    }
}

/// More threads than there are tids: each tid is used several times over.
#[test]
fn after_100_000_short_lived_threads_nothing_is_left_behind() {
    if emulated() {
        return skipped("too many threads for a small emulated machine");
    }
    const THREADS: u64 = 100_000;
    for hooks in hooks() {
        let measured = measure(&["churn", &THREADS.to_string(), "2"], &hooks);
        // The hash by tid has room for 16,384: were one thread in six forgotten there, it would
        // be full, and say so.
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 2 * THREADS, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(THREADS));
        assert_eq!(measured.ledger("ended_without_exit"), THREADS + 1);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn of_10_000_threads_at_once_every_call_is_counted() {
    if emulated() {
        return skipped("too many threads for a small emulated machine");
    }
    for hooks in hooks() {
        let measured = measure(&["crowd", "10000", "3"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 60_000, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(10_000));
    }
}

#[test]
fn more_threads_than_the_hash_has_room_for_are_a_loss_that_is_named() {
    if emulated() {
        return skipped("too many threads for a small emulated machine");
    }
    const THREADS: u64 = 18_000;
    let measured = measure(&["crowd", &THREADS.to_string(), "3"], "raw");
    measured.assert_consistent();
    assert_eq!(measured.0["exact"], false);
    let lost = measured.ledger("open_calls_full");
    let counted = measured.count("getppid");
    assert!(counted < 6 * THREADS && lost > 0, "{counted} counted, {lost} lost");
    // Those that had room lost nothing: three calls at least of each that came early enough.
    assert!(counted >= 6 * 16_000, "{counted}");
    assert!(counted + lost >= 6 * THREADS, "each call is counted or named: {counted}, {lost}");
}

#[test]
fn calls_in_flight_are_listed_with_age_and_arguments() {
    if !task_storage() {
        return skipped("open calls cannot be listed without task storage");
    }
    let mut target = Target::start(&["dying", "8"]);
    let stat = Stat::attach(target.pid(), &[]);
    target.work();
    // By now they are all in their calls.
    let since = Instant::now();
    await_in_read(&target);
    let least_age = since.elapsed();
    let measured = stat.stop();
    let calls = measured.0["in_flight"].as_array().expect("they are listed").clone();
    assert_eq!(calls.len(), 9, "{calls:?}");
    let named = |name: &str| calls.iter().filter(|call| call["name"] == name).count();
    assert_eq!((named("ppoll"), named("read")), (8, 1));
    let read = calls.iter().find(|call| call["name"] == "read").unwrap();
    assert_eq!(read["tid"], target.pid());
    assert_eq!(read["args"][0], "0x0", "from stdin");
    for call in &calls {
        assert_eq!(call["age_exact"], true);
        assert_eq!(call["waiting"], true);
        assert!(call["age_ns"].as_u64() <= measured.0["attached_ns"].as_u64());
    }
    let ages: Vec<u64> = calls.iter().map(|call| call["age_ns"].as_u64().unwrap()).collect();
    assert!(ages.is_sorted_by(|older, newer| older >= newer), "oldest first: {ages:?}");
    assert!(u128::from(ages[7]) >= least_age.as_nanos(), "{ages:?}");
    target.end();
}

#[test]
fn a_call_begun_before_attaching_is_listed_as_at_least_as_old() {
    if !task_storage() {
        return skipped("open calls cannot be listed without task storage");
    }
    let mut target = Target::start(&["blocked"]);
    let measured = run_stat(target.pid(), "300ms");
    let calls = measured["in_flight"].as_array().expect("they are listed").clone();
    // Three threads in `ppoll`, the first one in `read`.
    assert_eq!(calls.len(), 4, "{calls:?}");
    for call in &calls {
        assert_eq!(call["age_exact"], false);
        assert_eq!(call["age_ns"], measured["attached_ns"]);
    }
    assert_eq!(calls.iter().filter(|call| call["name"] == "ppoll").count(), 3);
    target.work();
    target.end();
}

/// The last window ends when it is over, although detaching takes longer: what returns meanwhile was
/// open at the end.
#[test]
fn a_call_that_returns_while_the_programs_are_detached_is_not_in_the_window() {
    if !task_storage() {
        return skipped("open calls cannot be listed without task storage");
    }
    let mut target = Target::start(&["jostle", "50", "1000000000"]);
    target.begin();
    for _ in 0..5 {
        let pid = target.pid().to_string();
        let ended = run(syscost().args(["stat", "--json", "-d", "100ms", "-p", &pid]));
        let measured = Measured(serde_json::from_str(&ended.stdout).expect("JSON"));
        measured.assert_consistent();
        let calls = measured.0["in_flight"].as_array().expect("they are listed");
        let listed = calls.iter().filter(|call| call["age_exact"] == true).count() as u64;
        let counted = measured.ledger("in_flight");
        assert_eq!(listed, counted);
        for call in calls {
            assert!(call["age_ns"].as_u64() <= measured.0["attached_ns"].as_u64(), "{call}");
        }
    }
}

fn run_stat(pid: u32, duration: &str) -> serde_json::Value {
    let pid = pid.to_string();
    let ended = run(syscost().args(["stat", "--json", "-d", duration, "-p", &pid]));
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// The target has said that it is done, and may not be back in `read` yet.
fn await_in_read(target: &Target) {
    await_asleep_in(target.pid(), target.pid(), libc::SYS_read);
}

#[test]
fn ages_are_right_in_a_time_namespace() {
    let tool = ["-T", "--monotonic", "100000"];
    if !installed("unshare")
        || !Command::new("unshare").args(tool).arg("true").status().is_ok_and(|ran| ran.success())
    {
        return skipped("no time namespace can be made");
    }
    let mut target = Target::start(&["nap", "600000"]);
    let mut unshare = Command::new("unshare");
    unshare.args(tool).arg(env!("CARGO_BIN_EXE_syscost"));
    let stat = Stat::attach_by(&mut unshare, target.pid(), &[]);
    target.begin();
    await_asleep_in(target.pid(), target.pid(), libc::SYS_nanosleep);
    let measured = stat.stop();
    let attached_ns = measured.0["attached_ns"].as_u64().expect("a time");
    assert!(attached_ns < 100_000_000_000_000, "{attached_ns}");
    let Some(calls) = measured.0["in_flight"].as_array() else {
        return skipped("open calls take Linux 5.15 to list");
    };
    let sleeping = calls.iter().find(|call| call["name"] == "nanosleep").expect("it sleeps");
    assert_eq!(sleeping["age_exact"], true);
    // It was entered while attached.
    let age_ns = sleeping["age_ns"].as_u64().expect("an age");
    assert!(age_ns > 0 && age_ns <= attached_ns, "{age_ns} of {attached_ns}");
}
