//! A CPU keeps the open call of the thread that runs on it. Threads that go elsewhere in the middle of
//! their calls keep them, whether or not anybody saw them go.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use syscost::{
    probe::{Probe, Request},
    sample::{Detail, KindKey, KindSample, OpenCallSample},
};
use syscost_common::{cell::PartOf, kind::AbiClass, ledger::Counter};

use crate::harness::{Target, announce, choice, eventually, measure, seeing_hooks, skipped};

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
fn a_call_is_found_from_another_cpu_although_nobody_saw_it_go_there() {
    const ROUNDS: usize = 20;
    let [first, _, ..] = cpus()[..] else {
        return skipped("there is one CPU only");
    };
    for hooks in seeing_hooks() {
        let mut target = Target::start(&["moved", &ROUNDS.to_string(), "1000"]);
        let request = Request { hooks: choice(&hooks), ..Request::process(target.pid()) };
        // The call must not be over before all is done to it that is to be.
        let found = (1..=ROUNDS).find(|round| {
            if *round > 1 {
                target.begin();
                assert_eq!(target.line(), "ready");
            }
            is_found(&mut target, &mut Probe::attach(&request).unwrap(), first)
        });
        announce(&format!("{hooks}: it took {} rounds", found.expect("none was slow enough")));
    }
}

/// Moves a thread of the target to the CPU `to` in the middle of a call, unseen. `false`: too late.
fn is_found(target: &mut Target, probe: &mut Probe, to: usize) -> bool {
    target.begin();
    assert_eq!(target.line(), "ready");
    let Some(open) = open_readv(probe) else {
        target.begin();
        assert_eq!(target.line(), "done");
        return false;
    };
    let tid = open.thread.tid;
    assert!(open.entered_at_ns.is_some());
    // From here on switches are not seen.
    probe.set_detail(Detail::NoOnCpu).unwrap();
    let mut only = CpuSet::new();
    only.set(to).unwrap();
    let moved = sched_setaffinity(Pid::from_raw(tid as i32), &only).is_ok();
    let unseen = moved && open_readv(probe).is_some();
    // Others make calls where it was.
    target.begin();
    assert_eq!(target.line(), "done");
    probe.set_detail(Detail::Full).unwrap();
    let in_time = unseen && open_readv(probe).as_ref() == Some(&open);
    eventually("it is over", || open_readv(probe).is_none());
    if !in_time {
        return false;
    }
    let (_, kinds, ledger) = probe.snapshot();
    let (readv, getppid) = (of(&kinds, libc::SYS_readv), of(&kinds, libc::SYS_getppid));
    assert_eq!(readv.calls(), 1);
    assert_eq!(readv.parts[PartOf::OnCpu as usize].sum_ns, 0, "nobody knows");
    assert!(readv.max_ns > 10_000_000, "from its begin to its end");
    assert_eq!(getppid.calls(), 1_000);
    let counted = |counter: Counter| ledger.counters[counter as usize];
    assert_eq!(counted(Counter::OrphanExits), 0);
    assert_eq!(counted(Counter::ExitsMissed), 0);
    assert_eq!(counted(Counter::Discarded), 0);
    true
}

fn open_readv(probe: &Probe) -> Option<OpenCallSample> {
    let open = probe.open_calls().expect("open calls can be listed");
    open.into_iter().find(|call| i64::from(call.nr) == libc::SYS_readv)
}

fn of(kinds: &[KindSample], nr: i64) -> &KindSample {
    let key = KindKey::Call { abi: AbiClass::Native, nr: nr as u32 };
    kinds.iter().find(|kind| kind.key == key).unwrap_or_else(|| panic!("no calls of {nr}"))
}
