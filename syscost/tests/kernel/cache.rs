//! Each CPU caches the open call of the thread that runs on it. A thread that changes CPUs in the middle of a call keeps the
//! call, whether or not the switch was seen.

use std::time::Instant;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use syscost::{
    probe::{Probe, Snapshot},
    request::Request,
    sample::{Detail, KindKey, KindSample, OpenCallSample},
};
use syscost_common::{cell::PartOf, kind::AbiClass, ledger::Counter};

use crate::{
    harness::{Target, announce, choice, eventually, measure, seeing_hooks, skipped},
    threads::threads,
};

/// The CPUs that we were given.
fn cpus() -> Vec<usize> {
    let given = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| given.is_set(*cpu).unwrap()).collect()
}

#[test]
fn a_thread_that_changes_cpus_keeps_its_calls() {
    for hooks in seeing_hooks() {
        let measured = measure(&["hop", "500"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 1_000);
        assert_eq!(measured.count("sched_setaffinity"), 1_000);
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.ledger("unparted"), 0);
        for name in ["getppid", "sched_setaffinity"] {
            let row = measured.row(name).unwrap();
            assert_eq!(row["parts_known"], row["count"], "{row:#}");
        }
    }
}

#[test]
fn a_call_is_found_from_another_cpu_although_no_switch_was_seen() {
    let [first, _, ..] = cpus()[..] else {
        return skipped("there is one CPU only");
    };
    for hooks in seeing_hooks() {
        let mut target = Target::spawn(&["moved", "1000"]);
        let request = Request { hooks: choice(&hooks), ..Request::process(target.pid()) };
        let mut rounds = 0;
        eventually("its thread comes in and stays on its CPU", || {
            rounds += 1;
            is_found(&mut target, &mut Probe::attach(&request).unwrap(), first)
        });
        announce(&format!("{hooks}: it took {rounds} rounds"));
    }
}

/// A listing reads a call that may end meanwhile, and be followed by the next one: what it lists is of one call.
#[test]
fn what_is_listed_of_a_busy_thread_is_of_one_call() {
    const LISTED: usize = 1_000;
    for hooks in seeing_hooks() {
        let target = Target::start(&["two-kinds"]);
        let request = Request { hooks: choice(&hooks), ..Request::process(target.pid()) };
        let probe = Probe::attach(&request).unwrap();
        let mut listed = 0;
        eventually("many calls are listed", || {
            for call in (0..100).flat_map(|_| probe.open_calls().expect("they can be listed")) {
                let own = match i64::from(call.nr) {
                    libc::SYS_lseek => 0x5eec,
                    libc::SYS_fchmod => 0xc0de,
                    _ => continue,
                };
                assert_eq!(call.args.map(|args| args[1]), Some(own), "{hooks}: {call:?}");
                listed += usize::from(call.entered_at_ns.is_some());
            }
            listed >= LISTED
        });
    }
}

/// Moves a thread of the target to the CPU `to` in the middle of a call, unseen. `false`: it had lost
/// its CPU before, which was seen.
fn is_found(target: &mut Target, probe: &mut Probe, to: usize) -> bool {
    assert_eq!(target.line(), "ready");
    let [_, tid] = threads(target.pid())[..] else { panic!("two threads") };
    let before = switches(target.pid(), tid);
    target.begin();
    let mut open = None;
    eventually("the call is open", || {
        open = open_call(probe);
        open.is_some()
    });
    let (open, seen_at) = (open.unwrap(), Instant::now());
    assert_eq!(open.thread.tid, tid);
    assert!(open.entered_at_ns.is_some());
    // From here on switches are not seen.
    probe.set_detail(Detail::NoOnCpu).unwrap();
    let stayed = switches(target.pid(), tid) == before;
    // As all others again, so that it keeps none from its new CPU.
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads parameters that live.
    let result =
        unsafe { libc::sched_setscheduler(tid as i32, libc::SCHED_OTHER, &raw const parameters) };
    assert_eq!(result, 0);
    let mut only = CpuSet::new();
    only.set(to).unwrap();
    sched_setaffinity(Pid::from_raw(tid as i32), &only).unwrap();
    assert_eq!(open_call(probe).as_ref(), Some(&open));
    // Others make calls where it was.
    target.begin();
    assert_eq!(target.line(), "done");
    assert_eq!(open_call(probe).as_ref(), Some(&open));
    probe.set_detail(Detail::Full).unwrap();
    assert_eq!(open_call(probe).as_ref(), Some(&open));
    let seen_for = seen_at.elapsed();
    target.begin();
    assert_eq!(target.line(), "done");
    eventually("it is over", || open_call(probe).is_none());
    let Snapshot { kinds, ledger } = probe.snapshot();
    let (long, getppid) = (of(&kinds, libc::SYS_readv), of(&kinds, libc::SYS_getppid));
    assert_eq!(long.calls(), 1);
    assert_eq!(long.parts[PartOf::OnCpu as usize].sum_ns, 0, "not known");
    assert!(u128::from(long.max_ns) >= seen_for.as_nanos(), "from its begin to its end");
    assert_eq!(getppid.calls(), 1_000);
    let counted = |counter: Counter| ledger.counters[counter as usize];
    assert_eq!(counted(Counter::OrphanExits), 0);
    assert_eq!(counted(Counter::ExitsMissed), 0);
    assert_eq!(counted(Counter::Discarded), 0);
    stayed
}

/// How often a thread was switched out.
fn switches(pid: u32, tid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap();
    let count = |field: &str| -> u64 {
        status.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().parse().unwrap()
    };
    count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:")
}

fn open_call(probe: &Probe) -> Option<OpenCallSample> {
    let open = probe.open_calls().expect("open calls can be listed");
    open.into_iter().find(|call| i64::from(call.nr) == libc::SYS_readv)
}

fn of(kinds: &[KindSample], nr: i64) -> &KindSample {
    let key = KindKey::Call { abi: AbiClass::Native, nr: nr as u32 };
    kinds.iter().find(|kind| kind.key == key).unwrap_or_else(|| panic!("no calls of {nr}"))
}
