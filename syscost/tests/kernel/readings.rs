//! Readings while calls are recorded on all CPUs: each has all of a call, or nothing of it.

use syscost::{
    probe::{Probe, Snapshot},
    request::Request,
    sample::{KindKey, KindSample, LedgerSample},
};
use syscost_common::{
    cell::PartOf,
    hist::{BUCKETS, PART, PART_BUCKETS, bucket_bounds},
    ledger::Counter,
};

use crate::harness::{Target, announce, choice, emulated, hooks};

const READINGS: u64 = 10_000;

#[test]
fn totals_agree_and_never_decrease_while_writers_run_at_full_speed() {
    for hooks in hooks() {
        let mut target = Target::start(&["spin", "2"]);
        let request = Request { hooks: choice(&hooks), ..Request::process(target.pid()) };
        let mut probe = Probe::attach(&request).unwrap();
        target.work();
        let (mut last, mut unfinished) = (Vec::new(), 0);
        let readings = match hooks.as_str() {
            _ if emulated() => READINGS / 50,
            "raw" => READINGS / 10,
            _ => READINGS,
        };
        for _ in 0..readings {
            let Snapshot { kinds, ledger } = probe.snapshot();
            if ledger.recording > 0 {
                unfinished += 1;
            }
            assert_agree(&kinds, &ledger, hooks != "raw");
            assert_grown(&last, &kinds);
            last = kinds;
        }
        announce(&format!("{hooks}: {unfinished} of {readings} readings met calls being recorded"));
        // A reader that takes what it finds is in between two words of a call in most of them.
        assert!(unfinished * 10 < readings, "{unfinished}");
        target.begin();
        let made: Vec<u64> =
            target.line().split(' ').map(|number| number.parse().unwrap()).collect();
        assert_eq!(target.line(), "done");
        probe.detach();
        let Snapshot { kinds, ledger } = probe.snapshot();
        assert_eq!(ledger.recording, 0);
        assert_agree(&kinds, &ledger, hooks != "raw");
        assert_grown(&last, &kinds);
        for (nr, made) in [libc::SYS_getppid, libc::SYS_getpgid].into_iter().zip(made) {
            let is_it = |key| matches!(key, KindKey::Call { nr: of, .. } if i64::from(of) == nr);
            let kind = kinds.iter().find(|kind| is_it(kind.key)).unwrap();
            assert_eq!(kind.calls(), made, "{hooks}");
        }
        target.end();
    }
}

fn errors(kind: &KindSample) -> u64 {
    kind.errnos.iter().map(|(_, count)| count).sum()
}

fn known(kind: &KindSample) -> u64 {
    kind.parts[PartOf::OnCpu as usize].buckets.iter().sum()
}

/// All numbers of a sample are about the same calls, but for those that it says were being recorded.
fn assert_agree(kinds: &[KindSample], ledger: &LedgerSample, sees_parts: bool) {
    let recorded: u64 = kinds.iter().map(KindSample::calls).sum();
    let matched = ledger.counters[Counter::Matched as usize];
    assert!(recorded <= matched && matched - recorded <= ledger.recording, "{matched} {recorded}");
    assert!(ledger.counters[Counter::Enters as usize] >= matched);
    if ledger.recording > 0 {
        return;
    }
    let mut unparted = 0;
    for kind in kinds {
        let bound = |f: &dyn Fn(usize) -> u64| -> u64 {
            (0..BUCKETS)
                .map(|at| f(at).saturating_mul(kind.buckets[at]))
                .fold(0, u64::saturating_add)
        };
        assert!(bound(&|at| bucket_bounds(at).0) <= kind.sum_ns, "{kind:?}");
        assert!(bound(&|at| bucket_bounds(at).1) >= kind.sum_ns, "{kind:?}");
        assert!(kind.min_ns <= kind.max_ns);
        if matches!(kind.key, KindKey::Call { nr, .. } if i64::from(nr) == libc::SYS_getpgid) {
            assert_eq!(errors(kind), kind.calls());
        }
        assert!(known(kind) <= kind.calls());
        unparted += kind.calls() - known(kind);
        for part in kind.parts.iter() {
            let least: u64 = (0..PART_BUCKETS).map(|at| PART.bounds(at).0 * part.buckets[at]).sum();
            assert!(least <= part.sum_ns);
        }
        if sees_parts && known(kind) == kind.calls() {
            assert_eq!(kind.parts.iter().map(|part| part.sum_ns).sum::<u64>(), kind.sum_ns);
        }
    }
    if sees_parts {
        // The ledger is read a moment later.
        assert!(unparted <= ledger.counters[Counter::Unparted as usize]);
    }
}

fn assert_grown(before: &[KindSample], now: &[KindSample]) {
    for before in before {
        let now = now.iter().find(|now| now.key == before.key).expect("it stays");
        assert!(now.calls() >= before.calls() && now.sum_ns >= before.sum_ns);
        assert!(errors(now) >= errors(before) && known(now) >= known(before));
    }
}
