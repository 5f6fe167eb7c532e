//! Threads and processes begin and end, in every order, and nothing is mispaired.

use nix::sys::signal::{Signal, kill};

use crate::harness::{Stat, Target, hooks};

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
        let mut target = Target::start(&["leaderless", "1000"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 1_000, "{hooks}");
    }
}

#[test]
fn calls_open_when_attaching_are_named_and_not_counted() {
    for hooks in hooks() {
        let mut target = Target::start(&["blocked"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        // The first thread was in `read`. Those in `pause` leave it only to die.
        assert_eq!(measured.ledger("open_at_attach"), 4, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.count("pause"), 0);
    }
}

#[test]
fn calls_cut_short_by_death_are_finished_and_are_no_errors() {
    for hooks in hooks() {
        let mut target = Target::start(&["dying", "8"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        // The kernel leaves `pause` with ERESTARTNOHAND, which nobody gets to see, and then kills.
        assert_eq!(measured.count("pause"), 8, "{hooks}");
        assert_eq!(measured.errors("pause"), 0);
        // The first thread, in `exit_group`.
        assert_eq!(measured.ledger("ended_without_exit"), 1);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn what_is_in_flight_is_counted_while_it_is() {
    let mut target = Target::start(&["dying", "8"]);
    let stat = Stat::attach(target.pid(), &[]);
    target.work();
    // Eight threads are in `pause`, the first in `read`.
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
