//! Samples for the tests of views: small, fixed, and with every kind of row.

use syscost_common::{
    cell::{PARTS, PartOf},
    hist::{PART, bucket_index},
    kind::AbiClass,
    ledger::Counter,
    off_cpu::OffCpu,
};

use crate::{
    costs::{Calibrated, Costs},
    filter::Selection,
    group::GroupBy,
    model::Model,
    reading::Reading,
    sample::{
        CpuSample, DetailSample, Format, GivenProcess, GroupKey, GroupSample, GroupsSample,
        KindKey, KindSample, LedgerSample, Measured, OpenCallSample, Sample, SkippedRuns, Subject,
        ThreadName,
    },
    spread::Spread,
};

const ATTACHED_AT_NS: u64 = 1_000_000_000;

/// What crossings cost on the machine of the tests.
pub(super) const CALIBRATED: Calibrated = Calibrated {
    crossing_ns: Spread { median: 214.2, low: 212.0, high: 216.0 },
    target_tax_ns: Some(Spread { median: 306.0, low: 301.0, high: 312.0 }),
    bystander_tax_ns: Some(Spread { median: 169.0, low: 166.0, high: 173.0 }),
};

pub(super) const COSTS: Costs = Costs { calibrated: Some(CALIBRATED), programs: None };

/// The model of a sample on that machine.
pub(super) fn since_attach(sample: &Sample) -> Model {
    Model::since_attach(sample).with(COSTS)
}

/// The model of an interval on that machine.
pub(super) fn interval(sample: &Sample, previous: &Sample) -> Model {
    Model::interval(sample, previous).with(COSTS)
}

/// The process 1234.
pub(super) fn process(comm: &str) -> Measured {
    let given = vec![GivenProcess { pid: 1234, comm: comm.to_owned() }];
    Measured::Processes { given, follow: false }
}

/// The process 1234 with 8 threads, all of its calls.
pub(super) fn subject() -> Subject {
    Subject {
        measured: process("nginx"),
        root_namespace: true,
        threads: Reading::Exact(8),
        selection: Selection::default(),
        exited: false,
        why_empty: None,
    }
}

/// A kind whose calls took `latencies` (ns, calls) and failed with `errnos` (errno, calls).
pub(super) fn kind(key: KindKey, latencies: &[(u64, u64)], errnos: &[(u16, u64)]) -> KindSample {
    let mut kind = KindSample::empty(key);
    for &(ns, calls) in latencies {
        add(&mut kind, ns, calls);
    }
    kind.errnos = errnos.to_vec();
    kind
}

/// Adds `calls` calls of `ns` to a kind.
fn add(kind: &mut KindSample, ns: u64, calls: u64) {
    kind.buckets[bucket_index(ns)] += calls;
    kind.sum_ns += ns * calls;
    kind.min_ns = kind.min_ns.min(ns);
    kind.max_ns = kind.max_ns.max(ns);
    add_parts(kind, ns, calls);
}

/// What `calls` calls of `ns` consist of, as the kernel would record it.
pub(super) fn add_parts(kind: &mut KindSample, ns: u64, calls: u64) {
    let off = off_cpu(kind.key, ns).within(ns);
    let on_cpu_ns = ns - off.runq_ns - off.blocked_ns;
    for (of, ns) in
        [(PartOf::OnCpu, on_cpu_ns), (PartOf::Runq, off.runq_ns), (PartOf::Blocked, off.blocked_ns)]
    {
        if ns != 0 || of == PartOf::OnCpu {
            kind.parts[of as usize].sum_ns += ns * calls;
            kind.parts[of as usize].buckets[PART.index(ns)] += calls;
        }
    }
}

/// Of calls that wait, all but the way to sleep and back is blocked. Others work, and lose the CPU
/// to somebody else when they take long.
fn off_cpu(key: KindKey, ns: u64) -> OffCpu {
    let waits = matches!(key, KindKey::Call { abi: AbiClass::Native, nr: 35 | 202 | 230 | 232 });
    match ns {
        5_000.. if waits => {
            let runq_ns = 1_500 + ns / 500;
            OffCpu { runq_ns, blocked_ns: ns - runq_ns - (1_200 + ns / 300) }
        }
        30_000.. => OffCpu { runq_ns: ns / 2, blocked_ns: 0 },
        _ => OffCpu::NONE,
    }
}

/// A thread that has waited for half a second, one that works, and one stuck since before.
pub(crate) fn open_calls() -> Option<Vec<OpenCallSample>> {
    let call = |tid, nr, age_ns: Option<u64>, runnable| OpenCallSample {
        thread: ThreadName { tid, pid: 1234, comm: "nginx".to_owned() },
        abi: AbiClass::Native,
        nr,
        entered_at_ns: age_ns.map(|age_ns| ATTACHED_AT_NS + 5_000_000_000 - age_ns),
        sampled_out: false,
        args: Some([3, 0x7ffd_1234_5678, 512, u64::MAX, 0, 0]),
        runnable: Some(runnable),
        interrupted: false,
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

/// What hooks that see no context switches would have read.
pub(super) fn without_parts(mut sample: Sample) -> Sample {
    sample.detail = DetailSample::default();
    for kind in &mut sample.kinds {
        kind.parts = KindSample::empty(kind.key).parts;
    }
    for group in sample.groups.iter_mut().flat_map(|groups| &mut groups.groups) {
        (group.parts_ns, group.parted) = ([0; PARTS], 0);
    }
    sample
}

/// The same server on hooks that saw the context switches of some of its calls only: of half of its
/// reads, and of none to futex.
pub(super) fn partly_parted_nginx() -> Sample {
    let mut sample = nginx();
    let mut unparted = 0;
    for kind in &mut sample.kinds {
        let calls = kind.calls();
        match kind.key {
            key if key == native(0) => {
                kind.parts = KindSample::empty(key).parts;
                add_parts(kind, 1_900, calls / 2);
                unparted += calls - calls / 2;
            }
            key if key == native(202) => {
                kind.parts = KindSample::empty(key).parts;
                unparted += calls;
            }
            _ => {}
        }
    }
    sample.ledger.counters[Counter::Unparted as usize] = unparted;
    sample
}

/// A sample 5 s after attaching, in which every call is accounted for.
pub(crate) fn sample(kinds: Vec<KindSample>) -> Sample {
    let mut counters = LedgerSample::default().counters;
    counters[Counter::Enters as usize] = kinds.iter().map(KindSample::calls).sum();
    counters[Counter::Matched as usize] = counters[Counter::Enters as usize];
    Sample {
        format: Format,
        attached_at_ns: ATTACHED_AT_NS,
        begin_ns: ATTACHED_AT_NS + 5_000_000_000,
        end_ns: ATTACHED_AT_NS + 5_000_250_000,
        subject: subject(),
        kinds,
        open_calls: open_calls(),
        groups: None,
        ledger: LedgerSample { counters, recording: 0, program_misses: SkippedRuns::Counted(0) },
        detail: DetailSample { parts: true, ..DetailSample::default() },
        cpu: CpuSample {
            used_ns: Reading::Exact(620_000_000),
            io_workers_ns: Reading::Exact(0),
            unseen: 0,
        },
        ring_at_attach: false,
        other_tracers: Some(0),
    }
}

/// A web server that waits, reads in vain now and then, and has a 32-bit caller.
pub(crate) fn nginx() -> Sample {
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
    sample.ledger.program_misses = SkippedRuns::Counted(2);
    sample
}

/// The same server one second after [`nginx`], with two of its calls having occurred again.
pub(super) fn nginx_a_second_later() -> Sample {
    let mut sample = nginx();
    sample.begin_ns += 1_000_000_000;
    sample.end_ns += 1_000_000_000;
    sample.cpu.used_ns = Reading::Exact(630_000_000);
    for (place, ns, calls) in [(0, 1_900, 500), (4, 310_000, 80)] {
        add(&mut sample.kinds[place], ns, calls);
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
        threads: if key == GroupKey::Other { 40 } else { 1 },
        key,
        name: name.map(str::to_owned),
        alive: true,
        calls,
        errors: calls / 16,
        total_ns: calls * 90_000,
        parts_ns: [calls * 9_000, calls * 1_000, calls * 80_000],
        parted: calls,
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
    Sample { groups: Some(GroupsSample { by, groups, recording: 0 }), ..nginx() }
}
