//! Which calls are recorded is decided in the kernel: what is left out is in no number.

use crate::harness::{Measured, Stat, Target, hooks};

/// 1 thread: 1000 getppid, and 100 getpgid that fail with ESRCH.
fn calls(args: &[&str]) -> Vec<Measured> {
    hooks()
        .iter()
        .map(|hooks| {
            let mut target = Target::start(&["calls", "1", "1000"]);
            let stat = Stat::attach(target.pid(), &[&["--hooks", hooks], args].concat());
            target.work();
            target.end();
            let measured = stat.finish();
            measured.assert_exact();
            measured
        })
        .collect()
}

fn names(measured: &Measured) -> Vec<&str> {
    measured.rows().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn calls_by_name() {
    for measured in calls(&["-e", "getpgid"]) {
        assert_eq!(names(&measured), ["getpgid"]);
        assert_eq!((measured.count("getpgid"), measured.errors("getpgid")), (100, 100));
        assert_eq!(measured.ledger("enters"), 100);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.0["target"]["only"], "only getpgid");
    }
}

#[test]
fn all_calls_but_some() {
    for measured in calls(&["-e", "!getppid"]) {
        assert_eq!(measured.count("getppid"), 0);
        assert_eq!(measured.count("getpgid"), 100);
        // What the target says and hears.
        assert!(measured.count("write") >= 1 && measured.count("read") >= 1);
    }
}

#[test]
fn calls_by_class() {
    for measured in calls(&["-e", "%desc"]) {
        assert_eq!(measured.count("getppid") + measured.count("getpgid"), 0);
        assert!(measured.count("write") >= 1 && measured.count("read") >= 1);
    }
}

#[test]
fn only_what_failed() {
    for measured in calls(&["--failed"]) {
        assert_eq!((measured.count("getpgid"), measured.errors("getpgid")), (100, 100));
        assert_eq!(measured.count("getppid"), 0);
        assert!(measured.rows().all(|row| row["count"] == row["errors"]));
        assert!(measured.ledger("filtered") >= 1000);
    }
}

#[test]
fn only_what_failed_in_one_way() {
    for measured in calls(&["--errno", "ESRCH"]) {
        assert_eq!(names(&measured), ["getpgid"]);
        assert_eq!(measured.row("getpgid").unwrap()["errnos"]["ESRCH"], 100);
    }
    for measured in calls(&["--errno", "ENOENT,133"]) {
        assert_eq!(measured.count("getpgid"), 0);
    }
}

#[test]
fn filters_work_together() {
    for measured in calls(&["-e", "getppid,getpgid", "--errno", "ESRCH"]) {
        assert_eq!(names(&measured), ["getpgid"]);
        assert_eq!(measured.count("getpgid"), 100);
        assert_eq!((measured.ledger("enters"), measured.ledger("filtered")), (1100, 1000));
    }
}

/// A handler returns by a call that is left out, and yet decides what the interrupted call was.
#[test]
fn interrupted_calls_are_told_whole_though_the_return_from_handlers_is_left_out() {
    for hooks in hooks() {
        let mut target = Target::start(&["interrupted", "20", "retry", "0"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-e", "readv"]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(names(&measured), ["readv"], "{hooks}");
        assert_eq!((measured.count("readv"), measured.errors("readv")), (21, 20));
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.ledger("interrupted"), 0);
    }
}
