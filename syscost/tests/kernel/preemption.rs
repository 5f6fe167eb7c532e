//! More threads than CPUs, so that they interrupt each other everywhere, also inside the programs.
//!
//! From Linux 7.0 on, the programs of raw and BTF tracepoints can be preempted, and the kernel skips
//! a program for everybody else on a CPU while a preempted thread is inside it. Calls are lost then
//! by hooks of these kinds, and what must hold is that the numbers say so. By the hooks that are
//! chosen unasked nothing may be lost.

use crate::harness::{Measured, Stat, Target, announce, hooks};

const THREADS: u64 = 16;
const EACH: u64 = 2_000;

#[test]
fn threads_that_crowd_the_cpus() {
    counted_or_said("calls");
}

#[test]
fn threads_that_wake_up_into_the_crowd() {
    counted_or_said("jostle");
}

fn counted_or_said(mode: &str) {
    let total = THREADS * EACH;
    for hooks in hooks() {
        let measured = measure(mode, &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), total, "{hooks}");
    }
    // Said by `cargo xtask kernels`, so that no other kernel gets away with it.
    let may_lose = std::env::var("SYSCOST_TEST_MAY_LOSE").unwrap_or_default();
    for hooks in may_lose.split(',').filter(|hooks| !hooks.is_empty()) {
        let measured = measure(mode, hooks);
        let (counted, skipped) = (measured.count("getppid"), measured.ledger("program_misses"));
        announce(&format!(
            "{hooks}, {mode}: {counted} of {total} calls, {skipped} program runs skipped"
        ));
        assert!(counted <= total, "{hooks}: {counted}");
        assert!(total - counted <= skipped, "{hooks}: lost more than was skipped");
        assert_eq!(measured.0["exact"], skipped == 0);
    }
}

fn measure(mode: &str, hooks: &str) -> Measured {
    let mut target = Target::start(&[mode, &THREADS.to_string(), &EACH.to_string()]);
    let stat = Stat::attach(target.pid(), &["--hooks", hooks]);
    target.work();
    target.end();
    let measured = stat.finish();
    measured.assert_consistent();
    measured
}
