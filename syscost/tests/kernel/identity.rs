//! Threads and processes whose tid, name or cgroup changes while they are measured.

use crate::{
    cgroup::Cgroup,
    harness::{Measured, Stat, Target, hooks, newborn_exits, skipped},
};

/// A target one of whose threads execs and makes 1,000 calls then; measured by `-t` as `args` says of the leader's tid
/// and the thread's. `ends`: the measurement ends with the leader.
fn execs_by_a_thread(hooks: &str, args: impl Fn(u32, &str) -> String, ends: bool) -> Measured {
    let mut target = Target::spawn(&["exec-by-thread", "1000"]);
    let tid = target.line();
    assert_eq!(target.line(), "ready");
    let stat = Stat::start(&["-t", &args(target.pid(), &tid), "--hooks", hooks]);
    target.begin();
    // The same process, started over.
    assert_eq!(target.line(), "ready");
    if ends {
        let measured = stat.finish();
        target.work();
        target.end();
        return measured;
    }
    target.work();
    target.end();
    stat.finish()
}

#[test]
fn a_thread_that_execs_stays_the_one_that_is_measured() {
    for hooks in hooks() {
        for both in [false, true] {
            let args = |leader: u32, tid: &str| {
                if both { format!("{leader},{tid}") } else { tid.to_owned() }
            };
            let measured = execs_by_a_thread(&hooks, args, false);
            measured.assert_exact();
            assert_eq!(measured.count("getppid"), 1_000, "{hooks} {both}");
            assert_eq!(measured.count("execve") - measured.errors("execve"), 1);
            assert_eq!(measured.ledger("in_flight"), 0, "{:#}", measured.0["ledger"]);
            assert_eq!(measured.ledger("orphan_exits"), 0);
            assert_eq!(measured.0["target_exited"], true);
        }
    }
}

#[test]
fn a_leader_ends_when_another_thread_execs_and_takes_its_tid() {
    for hooks in hooks() {
        let measured = execs_by_a_thread(&hooks, |leader, _| leader.to_string(), true);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 0, "{hooks}");
        assert_eq!(measured.count("execve"), 0);
        assert_eq!(measured.ledger("in_flight"), 0);
        assert_eq!(measured.0["target_exited"], true);
    }
}

/// The account of its CPU time that `/proc` has under its tid is the other thread's then.
#[test]
fn a_leaders_cpu_time_does_not_become_that_of_the_thread_that_takes_its_tid() {
    for hooks in hooks() {
        let mut target = Target::spawn(&["burn-then-exec-by-thread", "300"]);
        let _tid = target.line();
        assert_eq!(target.line(), "ready");
        let stat = Stat::start(&["-t", &target.pid().to_string(), "--hooks", &hooks]);
        target.begin();
        assert_eq!(target.line(), "ready");
        let measured = stat.finish();
        let cpu_ns = measured.0["cpu_ns"].as_u64().expect("it is known");
        assert!(cpu_ns < 150_000_000, "{hooks}: {cpu_ns}, of which the leader has next to nothing");
        if hooks == "raw" {
            assert_eq!(measured.0["cpu_exact"], false, "read last before its end");
        }
        target.work();
        target.end();
    }
}

#[test]
fn a_leader_that_ends_before_other_threads_ends_the_measurement() {
    for hooks in hooks() {
        let mut target = Target::start(&["leader-leaves"]);
        let stat = Stat::start(&["-t", &target.pid().to_string(), "--hooks", &hooks]);
        target.begin();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.0["target_exited"], true, "{hooks}");
        assert_eq!(measured.ledger("ended_without_exit"), 1);
        target.end();
    }
}

fn own_name(prefix: &str) -> String {
    format!("{prefix}{}", std::process::id())
}

#[test]
fn a_thread_that_comes_into_scope_again_leaves_calls_that_were_open() {
    const TIMES: u64 = 500;
    for hooks in hooks() {
        let name = own_name("tog");
        let mut target = Target::start(&["toggle", &name, &TIMES.to_string()]);
        let stat = Stat::start(&["--comm", &name, "--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 2 * TIMES, "{hooks}");
        // Entered under the name, to lay it down; to take it, entered under another.
        assert_eq!(measured.count("prctl"), TIMES);
        assert_eq!(measured.ledger("open_at_attach"), TIMES);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.ledger("exits_missed"), 0);
    }
}

#[test]
fn a_child_has_the_name_of_the_thread_that_forked_it() {
    for hooks in hooks() {
        let name = own_name("frk");
        let mut target = Target::start(&["fork-as", &name, "40"]);
        let stat = Stat::start(&["--comm", &name, "--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.stop();
        measured.assert_exact();
        // Its parent's process has another name.
        assert_eq!(measured.count("getppid"), 40, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(1));
        assert_eq!(measured.ledger("open_at_attach"), 0);
        assert_eq!(measured.count("wait4"), 0);
    }
}

#[test]
fn a_child_is_in_the_cgroup_that_it_is_forked_into() {
    let Some(top) = Cgroup::at_top(&format!("syscost-into-{}", std::process::id())) else {
        return skipped("no cgroup2 hierarchy to make a cgroup in");
    };
    let (inside, outside) = (top.below("inside"), top.below("outside"));
    for hooks in hooks() {
        let mut enters = Target::start(&["into-cgroup", inside.path(), "30"]);
        let mut leaves = Target::spawn(&["into-cgroup", outside.path(), "500"]);
        assert_eq!(leaves.line(), "ready");
        inside.take(leaves.pid());
        let stat = Stat::start(&["--cgroup", inside.path(), "--hooks", &hooks]);
        enters.work();
        leaves.work();
        [enters, leaves].into_iter().for_each(Target::end);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 30, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(1));
        assert_eq!(measured.ledger("orphan_exits"), 0);
        // The one that leaves no child behind was reading.
        assert_eq!(measured.ledger("open_at_attach"), 1);
    }
}
