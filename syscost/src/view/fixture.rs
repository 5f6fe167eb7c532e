//! Samples for the tests of views: small, fixed, and with every kind of row.

use syscost_common::{hist::bucket_index, kind::AbiClass, ledger::Counter};

use crate::{
    group::GroupBy,
    reading::Reading,
    sample::{
        GroupKey, GroupSample, GroupsSample, KindKey, KindSample, LedgerSample, OpenCallSample,
        Sample, Subject, SubjectKind, ThreadName,
    },
};

const ATTACHED_AT_NS: u64 = 1_000_000_000;

/// A kind whose calls took `latencies` (ns, calls) and failed with `errnos` (errno, calls).
pub(super) fn kind(key: KindKey, latencies: &[(u64, u64)], errnos: &[(u16, u64)]) -> KindSample {
    let mut kind = KindSample::empty(key);
    for &(ns, calls) in latencies {
        kind.buckets[bucket_index(ns)] += calls;
        kind.sum_ns += ns * calls;
        kind.min_ns = kind.min_ns.min(ns);
        kind.max_ns = kind.max_ns.max(ns);
    }
    kind.errnos = errnos.to_vec();
    kind
}

/// A thread that has waited for half a second, one that works, and one stuck since before.
pub(super) fn open_calls() -> Option<Vec<OpenCallSample>> {
    let call = |tid, nr, age_ns: Option<u64>, runnable| OpenCallSample {
        thread: ThreadName { tid, pid: 1234, comm: "nginx".to_owned() },
        abi: AbiClass::Native,
        nr,
        entered_at_ns: age_ns.map(|age_ns| ATTACHED_AT_NS + 5_000_000_000 - age_ns),
        args: [3, 0x7ffd_1234_5678, 512, u64::MAX, 0, 0],
        runnable,
    };
    Some(vec![
        call(1235, 1, Some(2_000), true),
        call(1234, 232, Some(500_000_000), false),
        call(1240, 0, None, false),
    ])
}

pub(super) fn native(nr: u32) -> KindKey {
    KindKey::Call { abi: AbiClass::Native, nr }
}

/// A sample 5 s after attaching, in which every call is accounted for.
pub(super) fn sample(kinds: Vec<KindSample>) -> Sample {
    let mut counters = LedgerSample::default().counters;
    counters[Counter::Enters as usize] = kinds.iter().map(KindSample::calls).sum();
    counters[Counter::Matched as usize] = counters[Counter::Enters as usize];
    Sample {
        at_ns: ATTACHED_AT_NS + 5_000_000_000,
        attached_at_ns: ATTACHED_AT_NS,
        subject: Subject {
            kind: SubjectKind::Process,
            name: "nginx".to_owned(),
            detail: "pid 1234".to_owned(),
            pid: Some(1234),
            threads: Reading::Exact(8),
            only: None,
            exited: false,
        },
        kinds,
        open_calls: open_calls(),
        groups: None,
        ledger: LedgerSample { counters, program_misses: Some(0) },
    }
}

/// A web server that waits, reads in vain now and then, and has a 32-bit caller.
pub(super) fn nginx() -> Sample {
    let i386 = |nr| KindKey::Call { abi: AbiClass::Compat, nr };
    let mut sample = sample(vec![
        kind(
            native(0),
            &[(640, 11_000), (1_900, 12_100), (41_000, 1_990), (1_200_000, 10)],
            &[(4, 2), (11, 1_900)],
        ),
        kind(native(1), &[(2_300, 9_000), (8_800, 500)], &[]),
        kind(native(39), &[(95, 20)], &[]),
        kind(native(202), &[(120_000, 700), (9_800_000, 12), (101_000_000, 1)], &[(110, 14)]),
        kind(native(232), &[(310_000, 9_000), (4_100_000, 400), (12_000_000, 16)], &[]),
        kind(native(257), &[(7_500, 40), (12_500, 12)], &[(2, 12), (13, 1)]),
        kind(i386(20), &[(110, 3)], &[]),
    ]);
    sample.ledger.counters[Counter::Enters as usize] += 2;
    sample.ledger.counters[Counter::OpenAtAttach as usize] = 7;
    sample
}

/// The same with some of everything that can be lost.
pub(super) fn lossy_nginx() -> Sample {
    let mut sample = nginx();
    sample.kinds.push(kind(KindKey::Overflow, &[(500, 9)], &[(0, 1)]));
    let counters = &mut sample.ledger.counters;
    counters[Counter::Enters as usize] += 9 + 3 + 1;
    counters[Counter::Matched as usize] += 9;
    counters[Counter::ExitsMissed as usize] = 3;
    counters[Counter::Discarded as usize] = 1;
    counters[Counter::SlotsFull as usize] = 9;
    counters[Counter::OpenCallsFull as usize] = 4;
    sample.ledger.program_misses = Some(2);
    sample
}

/// The same server one second after [`nginx`], with two of its calls having occurred again.
pub(super) fn nginx_a_second_later() -> Sample {
    let mut sample = nginx();
    sample.at_ns += 1_000_000_000;
    for (place, ns, calls) in [(0, 1_900, 500), (4, 310_000, 80)] {
        let kind = &mut sample.kinds[place];
        kind.buckets[bucket_index(ns)] += calls;
        kind.sum_ns += ns * calls;
        for counter in [Counter::Enters, Counter::Matched] {
            sample.ledger.counters[counter as usize] += calls;
        }
    }
    sample.kinds[0].errnos[1].1 += 100;
    sample
}

/// [`nginx`], its calls added up by `by`.
pub(super) fn grouped(by: GroupBy) -> Sample {
    let group = |key, name: Option<&str>, calls: u64| GroupSample {
        key,
        name: name.map(str::to_owned),
        alive: true,
        calls,
        errors: calls / 16,
        total_ns: calls * 90_000,
    };
    let calls = [40_000, 4_800, 4];
    let groups = match by {
        GroupBy::Syscall => return nginx(),
        GroupBy::Process => vec![
            group(GroupKey::Process { pid: 77, started_at_ns: 5 }, Some("nginx"), calls[1]),
            group(GroupKey::Process { pid: 41234, started_at_ns: 9 }, Some("nginx"), calls[0]),
            group(GroupKey::Other, None, calls[2]),
        ],
        GroupBy::Thread => vec![
            group(GroupKey::Thread { tid: 78, started_at_ns: 5 }, Some("nginx"), calls[1]),
            group(GroupKey::Thread { tid: 41235, started_at_ns: 9 }, Some("nginx"), calls[0]),
            group(GroupKey::Other, None, calls[2]),
        ],
        GroupBy::Cgroup => vec![
            group(GroupKey::Cgroup { id: 1 }, Some("/"), calls[1]),
            group(GroupKey::Cgroup { id: 17 }, Some("/system.slice/nginx.service"), calls[0]),
            group(GroupKey::Cgroup { id: 99 }, None, calls[2]),
        ],
        GroupBy::Comm => vec![
            group(GroupKey::Comm("sh".to_owned()), None, calls[1]),
            group(GroupKey::Comm("nginx".to_owned()), None, calls[0]),
            group(GroupKey::Other, None, calls[2]),
        ],
    };
    Sample { groups: Some(GroupsSample { by, groups }), ..nginx() }
}
