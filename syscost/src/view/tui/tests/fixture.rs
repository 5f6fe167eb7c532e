//! A web server's samples, made by hand: known distributions, known errors.

use std::ops::Range;

use syscost_common::{
    cell::PARTS,
    hist::{BUCKETS, bucket_bounds},
    kind::AbiClass,
    ledger::Counter,
};

use crate::{
    costs::Costs,
    group::GroupBy,
    model::Model,
    reading::Reading,
    sample::{
        CpuSample, Detail, DetailSample, Format, GroupKey, GroupSample, GroupsSample, KindKey,
        KindSample, LedgerSample, Measured, OpenCallSample, Sample, SkippedRuns, ThreadName,
    },
    view::{
        fixture::{COSTS, add_parts, subject, without_parts},
        tui::Live,
    },
};

pub(super) const SECOND: u64 = 1_000_000_000;
const ATTACHED_AT: u64 = 77 * SECOND;

pub(super) const READ: KindKey = native(0);
pub(super) const EPOLL_WAIT: KindKey = native(232);
pub(super) const OPENAT: KindKey = native(257);
const FUTEX: KindKey = native(202);

const fn native(nr: u32) -> KindKey {
    KindKey::Call { abi: AbiClass::Native, nr }
}

/// Calls around a latency: how many, where (ns), and how widely (1.0 is a factor of e).
type Around = (u64, u64, f64);

fn kind(key: KindKey, humps: &[Around], errnos: &[(u16, u64)]) -> KindSample {
    let mut kind = KindSample::empty(key);
    for (calls, center_ns, spread) in humps {
        add(&mut kind.buckets, *calls, *center_ns, *spread);
    }
    let buckets = kind.buckets.clone();
    let used = |index: &usize| buckets[*index] > 0;
    let lowest = (0..BUCKETS).find(used).expect("a kind has calls");
    let highest = (0..BUCKETS).rfind(used).expect("a kind has calls");
    kind.min_ns = bucket_bounds(lowest).0 + 1;
    kind.max_ns = bucket_bounds(highest).1 - 1;
    let middle = |index| bucket_bounds(index).0.midpoint(bucket_bounds(index).1);
    kind.sum_ns = (0..BUCKETS).map(|index| kind.buckets[index] * middle(index)).sum();
    for index in (0..BUCKETS).filter(used) {
        let calls = kind.buckets[index];
        add_parts(&mut kind, middle(index), calls);
    }
    kind.errnos = errnos.to_vec();
    kind
}

/// A normal distribution over the logarithm, in whole calls.
fn add(buckets: &mut [u64; BUCKETS], calls: u64, center_ns: u64, spread: f64) {
    let weight = |index: usize| {
        let (low, high) = bucket_bounds(index);
        let (low, high) = ((low.max(1) as f64).ln(), (high.saturating_add(1) as f64).ln());
        let off = ((low + high) / 2.0 - (center_ns as f64).ln()) / spread;
        (-off * off / 2.0).exp() * (high - low)
    };
    let all: f64 = (1..BUCKETS - 1).map(weight).sum();
    let (mut sum, mut given) = (0.0, 0);
    for (index, bucket) in buckets.iter_mut().enumerate().take(BUCKETS - 1).skip(1) {
        sum += weight(index) / all;
        let upto = (sum * calls as f64).round() as u64;
        *bucket += upto - given;
        given = upto;
    }
}

/// What a web server with eight threads does in `seconds`.
fn server_kinds(seconds: u64) -> Vec<KindSample> {
    let n = |calls: u64| calls * seconds;
    vec![
        kind(
            READ,
            &[(n(3_000), 1_500, 0.5), (n(1_950), 9_000, 0.9), (n(50), 150_000, 0.8)],
            &[(4, n(2)), (11, n(1_905)), (104, n(3))],
        ),
        kind(native(1), &[(n(2_100), 5_200, 0.6)], &[(32, n(1))]),
        kind(native(35), &[(n(10), 100_080_000, 0.0005)], &[]),
        kind(FUTEX, &[(n(870), 110_000, 1.1), (n(10), 60_000_000, 0.6)], &[(110, n(1))]),
        kind(EPOLL_WAIT, &[(n(2_700), 310_000, 1.0), (n(400), 1_400, 0.4)], &[]),
        kind(OPENAT, &[(n(410), 4_200, 0.5)], &[(2, n(120)), (13, n(1))]),
        kind(native(3), &[(n(420), 800, 0.4)], &[]),
        kind(KindKey::Call { abi: AbiClass::Compat, nr: 20 }, &[(n(40), 240, 0.15)], &[]),
    ]
}

/// What it did before the interval began, and not since.
fn startup_kinds() -> Vec<KindSample> {
    vec![kind(native(9), &[(31, 2_400, 0.7)], &[]), kind(native(56), &[(8, 41_000, 0.2)], &[])]
}

fn sample(seconds: u64, mut kinds: Vec<KindSample>) -> Sample {
    kinds.sort_by_key(|kind| kind.key);
    let finished: u64 = kinds.iter().map(KindSample::calls).sum();
    let mut ledger =
        LedgerSample { program_misses: SkippedRuns::Counted(0), ..LedgerSample::default() };
    ledger.counters[Counter::Enters as usize] = finished + 2 + 1;
    ledger.counters[Counter::Matched as usize] = finished;
    ledger.counters[Counter::EndedWithoutExit as usize] = 1;
    ledger.counters[Counter::OpenAtAttach as usize] = 8;
    ledger.counters[Counter::NewbornExits as usize] = 8;
    Sample {
        format: Format,
        attached_at_ns: ATTACHED_AT,
        begin_ns: ATTACHED_AT + seconds * SECOND,
        end_ns: ATTACHED_AT + seconds * SECOND + 250_000,
        subject: subject(),
        kinds,
        open_calls: open_calls(ATTACHED_AT + seconds * SECOND),
        groups: None,
        ledger,
        detail: DetailSample { parts: true, ..DetailSample::default() },
        cpu: CpuSample {
            used_ns: Reading::Exact(seconds * 300_000_000),
            io_workers_ns: Reading::Exact(0),
            unseen: 0,
        },
        ring_at_attach: false,
        other_tracers: Some(0),
    }
}

/// A thread stuck since before tracing began, one that waits, and one that works.
fn open_calls(at_ns: u64) -> Option<Vec<OpenCallSample>> {
    let call = |tid, nr, age_ns: Option<u64>, runnable| OpenCallSample {
        thread: ThreadName { tid, pid: 1234, comm: "nginx".to_owned() },
        abi: AbiClass::Native,
        nr,
        entered_at_ns: age_ns.map(|age_ns| at_ns - age_ns),
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

fn server_sample(seconds: u64) -> Sample {
    let mut kinds = server_kinds(seconds);
    kinds.extend(startup_kinds());
    sample(seconds, kinds)
}

fn live(before: &Sample, now: &Sample) -> Live {
    Live {
        interval: Model::interval(now, before),
        since_attach: Model::since_attach(now),
        notes: Vec::new(),
    }
}

/// The server in its 133rd second.
pub(super) fn server() -> Live {
    server_with(|_| {})
}

/// The same after `change` to the newest sample.
pub(super) fn server_with(change: impl FnOnce(&mut Sample)) -> Live {
    let mut now = server_sample(133);
    change(&mut now);
    live(&server_sample(132), &now)
}

/// The same on a machine whose crossings were measured.
pub(super) fn calibrated(change: impl FnOnce(&mut Sample, &mut Costs)) -> Live {
    let mut costs = COSTS;
    let Live { interval, since_attach, notes } = server_with(|sample| change(sample, &mut costs));
    Live { interval: interval.with(costs), since_attach: since_attach.with(costs), notes }
}

/// The same by hooks that see no context switches.
pub(super) fn unparted() -> Live {
    let [before, now] = [132, 133].map(|seconds| without_parts(server_sample(seconds)));
    live(&before, &now)
}

/// The same where context switches were seen all along but in futex.
pub(super) fn partly_parted() -> Live {
    let [before, now] = [132, 133].map(|seconds| {
        let mut sample = server_sample(seconds);
        for kind in sample.kinds.iter_mut().filter(|kind| kind.key == FUTEX) {
            kind.parts = KindSample::empty(kind.key).parts;
        }
        sample.ledger.counters[Counter::Unparted as usize] = seconds * 880;
        sample
    });
    live(&before, &now)
}

/// The same at a level of detail, all along.
pub(super) fn shed(level: Detail) -> Live {
    let [before, now] = [132, 133].map(|seconds| {
        let mut sample = server_sample(seconds);
        let calls = sample.kinds.iter().map(KindSample::calls).sum();
        let counters = &mut sample.ledger.counters;
        if level >= Detail::NoOnCpu {
            counters[Counter::Unparted as usize] = calls;
        }
        if let Detail::Sampling(one_in) = level {
            let sampled = calls / u64::from(one_in);
            counters[Counter::Sampled as usize] = sampled;
            counters[Counter::StoodFor as usize] = calls - sampled;
            counters[Counter::SampledOut as usize] = calls - sampled;
        }
        if level >= Detail::NoOnCpu {
            sample = without_parts(sample);
        }
        let without_wakeups_ns = seconds * SECOND;
        sample.detail = DetailSample { parts: true, level, without_wakeups_ns };
        sample
    });
    live(&before, &now)
}

/// A host with two busy processes, an idle one, and one that has died.
pub(super) fn host() -> Live {
    host_with(|_| {})
}

/// The same after something has happened.
pub(super) fn host_with(change: impl FnOnce(&mut Sample)) -> Live {
    let sample = |seconds: u64| {
        let group = |key, name: Option<&str>, alive, calls: u64, errors, mean_ns| GroupSample {
            threads: if key == GroupKey::Other { 40 } else { 1 },
            key,
            name: name.map(str::to_owned),
            alive,
            calls,
            errors,
            total_ns: calls * mean_ns,
            parts_ns: parts_ns(mean_ns).map(|ns| ns * calls),
            parted: calls,
        };
        let process = |pid| GroupKey::Process { pid, started_at_ns: u64::from(pid) };
        let groups = vec![
            group(process(41_234), Some("nginx"), true, 8_000 * seconds, 1_905 * seconds, 90_000),
            group(process(812), Some("postgres"), true, 120 * seconds, 0, 12_000_000),
            group(process(2001), Some("sshd"), true, 300, 2, 4_000),
            group(process(3999), Some("make"), false, 7_000, 5_000, 2_000),
            group(GroupKey::Other, None, false, 4 * seconds, seconds, 3_000),
        ];
        let mut sample = server_sample(seconds);
        sample.subject.measured = Measured::Host;
        sample.subject.threads = Reading::NotCollected;
        sample.groups = Some(GroupsSample { by: GroupBy::Process, groups, recording: 0 });
        sample
    };
    let mut now = sample(133);
    change(&mut now);
    live(&sample(132), &now)
}

/// Of a call of `mean_ns`: at most 5 µs on a CPU, half as much waiting for one, the rest blocked.
fn parts_ns(mean_ns: u64) -> [u64; PARTS] {
    let on_cpu_ns = mean_ns.min(5_000);
    let runq_ns = (mean_ns - on_cpu_ns).min(on_cpu_ns / 2);
    [on_cpu_ns, runq_ns, mean_ns - on_cpu_ns - runq_ns]
}

/// A process that has finished no call.
pub(super) fn silent() -> Live {
    let mut now = sample(3, Vec::new());
    now.ledger =
        LedgerSample { program_misses: SkippedRuns::Counted(0), ..LedgerSample::default() };
    now.ledger.counters[Counter::Enters as usize] = 1;
    live(&now, &now)
}

/// A process with a row for each of `nrs`, busier with every number.
pub(super) fn with_syscalls(nrs: Range<u32>) -> Live {
    let kind_of = |nr, seconds| kind(native(nr), &[(seconds * u64::from(nr + 1), 5_000, 0.5)], &[]);
    let kinds = |seconds| nrs.clone().map(|nr| kind_of(nr, seconds)).collect();
    live(&sample(1, kinds(1)), &sample(2, kinds(2)))
}

/// A process that makes `calls` calls of read in each second, and nothing else.
pub(super) fn reads(calls: u64) -> Live {
    let kinds = |seconds| vec![kind(READ, &[(calls * seconds, 5_000, 0.5)], &[])];
    live(&sample(1, kinds(1)), &sample(2, kinds(2)))
}
