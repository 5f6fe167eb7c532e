use proptest::prelude::*;
use syscost_common::{
    cell::PARTS, hist::bucket_index, kind::AbiClass, ledger::Counter, off_cpu::OffCpu,
};

use super::*;
use crate::{
    group::GroupBy,
    model::Model,
    sample::{GroupKey, GroupsSample},
    view::fixture,
};

/// A call as the kernel records it. Without `off_cpu`, its parts are not known.
#[derive(Clone, Copy, Debug)]
struct Call {
    nr: u32,
    latency_ns: u64,
    off_cpu: Option<(u64, u64)>,
    errno: u16,
}

fn key(nr: u32) -> KindKey {
    // One of them found no row.
    if nr == 7 { KindKey::Overflow } else { KindKey::Call { abi: AbiClass::Native, nr } }
}

fn record(kind: &mut KindSample, call: Call) {
    let ns = call.latency_ns;
    kind.buckets[bucket_index(ns)] += 1;
    kind.sum_ns += ns;
    kind.min_ns = kind.min_ns.min(ns);
    kind.max_ns = kind.max_ns.max(ns);
    if call.errno > 0 {
        match kind.errnos.iter_mut().find(|(errno, _)| *errno == call.errno) {
            Some((_, count)) => *count += 1,
            None => kind.errnos.push((call.errno, 1)),
        }
        kind.errnos.sort_unstable();
    }
    let Some((runq_ns, blocked_ns)) = call.off_cpu else { return };
    let off = OffCpu { runq_ns, blocked_ns }.within(ns);
    for (of, ns) in [
        (PartOf::OnCpu, ns - off.runq_ns - off.blocked_ns),
        (PartOf::Runq, off.runq_ns),
        (PartOf::Blocked, off.blocked_ns),
    ] {
        if ns > 0 || of == PartOf::OnCpu {
            kind.parts[of as usize].sum_ns += ns;
            kind.parts[of as usize].buckets[PART.index(ns)] += 1;
        }
    }
}

/// The sample of a measurement that has ended, with these calls and `open` ones.
fn sample(calls: &[Call], open: usize) -> Sample {
    let mut kinds: Vec<KindSample> = Vec::new();
    for call in calls {
        let key = key(call.nr);
        if kinds.iter().all(|kind| kind.key != key) {
            kinds.push(KindSample::empty(key));
        }
        let kind = kinds.iter_mut().find(|kind| kind.key == key).unwrap();
        record(kind, *call);
    }
    let group = |parity: usize| {
        let all = calls.iter().enumerate().filter(move |(at, _)| at % 2 == parity);
        let calls: Vec<Call> = all.map(|(_, call)| *call).collect();
        GroupSample {
            key: GroupKey::Comm(parity.to_string()),
            name: None,
            alive: true,
            threads: 1,
            calls: calls.len() as u64,
            errors: calls.iter().filter(|call| call.errno > 0).count() as u64,
            total_ns: calls.iter().map(|call| call.latency_ns).sum(),
            parts_ns: [0; PARTS],
            parted: 0,
        }
    };
    let mut sample = fixture::sample(kinds);
    sample.end_ns = sample.begin_ns;
    let call = fixture::open_calls().unwrap().swap_remove(0);
    sample.open_calls = Some(vec![call; open]);
    sample.groups =
        Some(GroupsSample { by: GroupBy::Comm, groups: vec![group(0), group(1)], recording: 0 });
    let count = |wanted: fn(&Call) -> bool| calls.iter().filter(|call| wanted(call)).count() as u64;
    let counters = &mut sample.ledger.counters;
    counters[Counter::Enters as usize] += open as u64;
    counters[Counter::Unparted as usize] = count(|call| call.off_cpu.is_none());
    counters[Counter::SlotsFull as usize] = count(|call| call.nr == 7);
    sample
}

const CALLS: [Call; 5] = [
    Call { nr: 0, latency_ns: 900, off_cpu: Some((0, 0)), errno: 0 },
    Call { nr: 0, latency_ns: 70_000, off_cpu: Some((5_000, 60_000)), errno: 11 },
    Call { nr: 0, latency_ns: 70_500, off_cpu: None, errno: 0 },
    Call { nr: 1, latency_ns: 2_000, off_cpu: Some((0, 0)), errno: 0 },
    Call { nr: 7, latency_ns: 800, off_cpu: Some((0, 100)), errno: 0 },
];

/// The checks that fail.
fn failed(sample: &Sample, before: Option<&Sample>) -> Vec<&'static str> {
    let ledger = Ledger::new(sample, before);
    ledger.contradictions().iter().map(|contradiction| contradiction.check).collect()
}

#[test]
fn a_sound_sample_fails_no_check() {
    assert_eq!(failed(&sample(&CALLS, 2), None), [""; 0]);
}

#[test]
fn each_check_finds_what_it_is_for() {
    type Break = fn(&mut Sample);
    let broken: &[(&str, Break)] = &[
        // Every number of the histograms and groups is as before: a call was counted and not recorded.
        ("check_recorded", |sample| {
            sample.ledger.counters[Counter::Matched as usize] += 1;
            sample.ledger.counters[Counter::Enters as usize] += 1;
        }),
        ("check_enters", |sample| {
            sample.open_calls = None;
            sample.ledger.counters[Counter::Enters as usize] -= 3;
        }),
        ("check_in_flight", |sample| {
            sample.ledger.counters[Counter::Enters as usize] -= 1;
        }),
        ("check_errors", |sample| {
            sample.groups = None;
            sample.kinds[1].errnos.push((4, 2));
        }),
        ("check_latencies", |sample| {
            sample.groups = None;
            sample.kinds[0].sum_ns -= 2_000;
        }),
        ("check_latencies", |sample| sample.kinds[1].min_ns = sample.kinds[1].max_ns + 1),
        ("check_parts", |sample| sample.kinds[1].parts[PartOf::OnCpu as usize].sum_ns -= 100),
        ("check_parts", |sample| sample.kinds[1].parts[PartOf::OnCpu as usize].sum_ns += 1),
        ("check_unparted", |sample| sample.ledger.counters[Counter::Unparted as usize] -= 1),
        ("check_unparted", |sample| sample.ledger.counters[Counter::Unparted as usize] += 1),
        ("check_shared_row", |sample| sample.ledger.counters[Counter::SlotsFull as usize] = 0),
        ("check_within", |sample| {
            sample.ledger.counters[Counter::Abandoned as usize] = CALLS.len() as u64 + 1;
        }),
        ("check_groups", |sample| sample.groups.as_mut().unwrap().groups[0].calls -= 1),
        ("check_groups", |sample| sample.groups.as_mut().unwrap().groups[0].errors += 1),
        ("check_groups", |sample| sample.groups.as_mut().unwrap().groups[1].total_ns += 1),
    ];
    for (check, broken) in broken {
        let mut sample = sample(&CALLS, 2);
        broken(&mut sample);
        assert_eq!(failed(&sample, None), [*check]);
    }
    let before = sample(&CALLS, 2);
    assert_eq!(failed(&sample(&CALLS[1..], 2), Some(&before)), ["check_growth"]);
    assert_eq!(failed(&sample(&CALLS, 2), Some(&before)), [""; 0]);
    let tested = broken.iter().map(|(check, _)| *check).chain(["check_growth"]);
    let tested: std::collections::BTreeSet<_> = tested.collect();
    assert!(tested.into_iter().eq({
        let mut ids: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
        ids.sort_unstable();
        ids
    }));
}

#[test]
fn a_contradiction_makes_numbers_inexact_and_is_said() {
    let mut sample = sample(&CALLS, 2);
    sample.ledger.counters[Counter::Matched as usize] += 1;
    sample.ledger.counters[Counter::Enters as usize] += 1;
    let model = Model::since_attach(&sample);
    assert!(!model.ledger.exact() && !model.trust.exact);
    let reasons = model.ledger.reasons();
    assert_eq!(reasons[0].kind, "check_recorded");
    assert_eq!(
        reasons[0].text,
        "the numbers contradict each other: 6 calls recorded, 5 in the histograms"
    );
    assert_eq!(reasons[0].count, None);
}

#[test]
fn what_may_be_read_too_early_is_no_contradiction_while_calls_go_on() {
    let mut running = sample(&CALLS, 2);
    running.end_ns += 1_000;
    // Counted later than the histograms were read, or already in the list of open calls.
    running.ledger.counters[Counter::Unparted as usize] += 3;
    running.ledger.counters[Counter::SlotsFull as usize] += 3;
    running.ledger.counters[Counter::Enters as usize] -= 2;
    running.groups.as_mut().unwrap().groups[0].calls -= 1;
    assert_eq!(failed(&running, None), [""; 0]);
    // A call that is being recorded: it has begun, and is in no bucket yet.
    running.ledger.counters[Counter::Matched as usize] += 1;
    assert_eq!(failed(&running, None), ["check_recorded"]);
    running.ledger.recording = 1;
    assert_eq!(failed(&running, None), [""; 0]);
}

#[test]
fn calls_that_wrapped_are_no_contradiction() {
    // None of them is in the row (other).
    let mut sample = sample(&CALLS[..4], 2);
    sample.ledger.counters[Counter::Matched as usize] += 1 << 32;
    let ledger = Ledger::new(&sample, None);
    assert_eq!(ledger.contradictions(), []);
    assert_eq!(ledger.reasons()[0].kind, "wrapped");
}

prop_compose! {
    fn any_call()(
        nr in 0_u32..9,
        latency_ns in prop_oneof![0_u64..100, 0_u64..1 << 20, 0_u64..1 << 45],
        off_cpu in prop::option::of((0_u64..1 << 21, 0_u64..1 << 21)),
        errno in prop_oneof![Just(0), 0_u16..135],
    ) -> Call {
        Call { nr, latency_ns, off_cpu, errno }
    }
}

proptest! {
    #[test]
    fn no_check_fails_whatever_the_calls_are(
        calls in prop::collection::vec(any_call(), 0..60),
        before in 0_usize..60,
        open in 0_usize..5,
    ) {
        let before = sample(&calls[..before.min(calls.len())], 1);
        let now = sample(&calls, open);
        prop_assert_eq!(failed(&now, Some(&before)), [""; 0]);
        let exact = Model::interval(&now, &before).ledger.exact();
        prop_assert_eq!(exact, calls.iter().all(|call| call.nr != 7));
    }
}

#[test]
fn the_docs_have_every_check() {
    let docs = include_str!("../../../../docs/stat-json.md");
    let rows = CHECKS.iter().map(|check| {
        let when = if check.at_end { "at the end" } else { "always" };
        format!("| `{}` | {} | {when} |\n", check.id, check.holds)
    });
    let table = "| kind | what holds | checked |\n|---|---|---|\n".to_owned();
    let table = table + &rows.collect::<String>();
    assert!(docs.contains(&format!("\n{table}\n")), "docs/stat-json.md needs this:\n{table}");
}
