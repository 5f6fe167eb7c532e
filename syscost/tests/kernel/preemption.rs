//! More threads than CPUs, so that they interrupt each other everywhere, also inside the programs.
//!
//! On newer kernels (seen on 7.2; include/trace/bpf_probe.h no longer turns preemption off), the
//! programs of syscall tracepoints can be preempted, and the kernel skips a program for everybody else on a CPU while a preempted thread is inside it. Calls are lost
//! then, and what must hold is that the numbers say so.

use crate::harness::{Stat, Target, announce, hooks};

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
    // Said by `cargo xtask kernels`, so that no other kernel gets away with it.
    let may_lose = std::env::var_os("SYSCOST_TEST_MAY_LOSE").is_some();
    for hooks in hooks() {
        let mut target = Target::start(&[mode, &THREADS.to_string(), &EACH.to_string()]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_consistent();
        let counted = measured.count("getppid");
        if !may_lose || measured.0["exact"] == true {
            measured.assert_exact();
            assert_eq!(counted, THREADS * EACH, "{hooks}");
            continue;
        }
        let skipped = measured.ledger("program_misses");
        announce(&format!(
            "{hooks}, {mode}: {counted} of {} calls, {skipped} program runs skipped",
            THREADS * EACH
        ));
        assert!(counted <= THREADS * EACH, "{hooks}: {counted}");
        assert!(THREADS * EACH - counted <= skipped, "{hooks}: lost more than was skipped");
    }
}
