//! Interrupted calls: one call to the program, however often the kernel enters it.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{Measured, Stat, Target, eventually, hooks, measure};

const TIMES: u64 = 20;

fn interrupted(how: &str, hooks: &str) -> Measured {
    let measured = measure(&["interrupted", &TIMES.to_string(), how, "0"], hooks);
    measured.assert_exact();
    // The handler made its own calls, and returned.
    assert_eq!(measured.count("getppid"), TIMES, "{hooks}");
    assert_eq!(measured.count("rt_sigreturn"), TIMES);
    assert_eq!(measured.errors("rt_sigreturn"), 0);
    assert_eq!(measured.ledger("in_flight"), 0);
    assert_eq!(measured.ledger("orphan_exits"), 0);
    measured
}

#[test]
fn a_call_restarted_after_a_handler_is_one_call_and_no_error() {
    for hooks in hooks() {
        let measured = interrupted("restart", &hooks);
        assert_eq!(measured.count("readv"), 1, "{hooks}");
        assert_eq!(measured.errors("readv"), 0);
        assert_eq!(measured.ledger("restarts"), TIMES);
        assert_eq!(measured.ledger("interrupted"), TIMES);
    }
}

#[test]
fn a_call_that_returns_eintr_is_a_call_and_an_error() {
    for hooks in hooks() {
        let measured = interrupted("retry", &hooks);
        assert_eq!(measured.count("readv"), TIMES + 1, "{hooks}");
        assert_eq!(measured.errors("readv"), TIMES);
        assert_eq!(measured.row("readv").unwrap()["errnos"]["EINTR"], TIMES);
        assert_eq!(measured.ledger("restarts"), 0);
        assert_eq!(measured.ledger("interrupted"), 0);
    }
}

#[test]
fn a_handlers_call_of_the_same_kind_is_not_mistaken_for_the_restart() {
    for hooks in hooks() {
        let measured = interrupted("same", &hooks);
        assert_eq!(measured.count("readv"), 1 + TIMES, "{hooks}");
        assert_eq!(measured.errors("readv"), TIMES);
        assert_eq!(measured.row("readv").unwrap()["errnos"]["EAGAIN"], TIMES);
        assert_eq!(measured.ledger("restarts"), TIMES);
    }
}

/// The outer call is given up for failed, because only one interrupted call of a thread is kept.
#[test]
fn a_handler_that_is_interrupted_itself_is_counted_and_named() {
    for hooks in hooks() {
        let measured = measure(&["nested", "10"], &hooks);
        measured.assert_consistent();
        assert_eq!(measured.ledger("restarts_guessed"), 10, "{hooks}");
        assert_eq!(measured.0["exact"], false);
        // One outer and ten inner ones; each guess made one of two.
        assert_eq!(measured.count("readv"), 11 + 10);
        assert_eq!(measured.row("readv").unwrap()["errnos"]["EINTR"], 10);
        assert_eq!(measured.count("rt_sigreturn"), 20);
        assert_eq!(measured.count("getppid"), 10);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn a_sleep_that_is_stopped_and_continued_is_one_sleep() {
    for hooks in hooks() {
        let mut target = Target::start(&["nap", "1500"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.begin();
        let process = Pid::from_raw(target.pid() as i32);
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
            stat.rsplit(") ").next().unwrap().chars().next().unwrap()
        };
        let in_nanosleep = || {
            let call = std::fs::read_to_string(format!("/proc/{process}/syscall")).unwrap();
            let restart_or_nanosleep = ["35 ", "219 ", "101 ", "128 "];
            restart_or_nanosleep.iter().any(|nr| call.starts_with(nr))
        };
        for _ in 0..3 {
            eventually("it sleeps", || state() == 'S' && in_nanosleep());
            kill(process, Signal::SIGSTOP).unwrap();
            eventually("it is stopped", || state() == 'T');
            kill(process, Signal::SIGCONT).unwrap();
            eventually("it goes on", || state() != 'T');
        }
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        let row = measured.row("nanosleep").unwrap();
        assert_eq!(row["count"], 1, "{hooks}");
        assert_eq!(row["errors"], 0);
        assert!(row["min_ns"].as_u64().unwrap() >= 1_500_000_000, "its whole latency: {row}");
        assert_eq!(measured.count("restart_syscall"), 0);
        assert_eq!(measured.ledger("restarts"), 3);
    }
}
