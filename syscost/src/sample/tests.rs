use proptest::prelude::*;
use serde_json::{Value, json};
use syscost_common::{hist::bucket_index, kind::AbiClass, ledger::Counter};

use super::*;
use crate::{
    filter::{Outcome, SelectedCalls, Selection},
    group::GroupBy,
    reading::Reading,
};

/// What syscost wrote when format 1 was current. It is never changed: recordings like it exist.
const FORMAT_1: &str = include_str!("../../tests/formats/sample-1.json");

/// The sample in that file.
fn format_1() -> Sample {
    let read = KindKey::Call { abi: AbiClass::Native, nr: 0 };
    let mut kind =
        KindSample { sum_ns: 6_300, min_ns: 640, max_ns: 5_020, ..KindSample::empty(read) };
    kind.buckets[bucket_index(640)] = 2;
    kind.buckets[bucket_index(5_020)] = 1;
    kind.parts[0].sum_ns = 2_300;
    kind.parts[0].buckets[20] = 3;
    kind.parts[2].sum_ns = 4_000;
    kind.parts[2].buckets[40] = 1;
    kind.errnos = vec![(4, 1), (11, 1)];
    let mut overflow =
        KindSample { sum_ns: 7, min_ns: 7, max_ns: 7, ..KindSample::empty(KindKey::Overflow) };
    overflow.buckets[7] = 1;
    let call = OpenCallSample {
        thread: ThreadName { tid: 1235, pid: 1234, comm: "nginx".to_owned() },
        abi: AbiClass::Compat,
        nr: 3,
        entered_at_ns: Some(1_500_000_000),
        sampled_out: false,
        args: Some([3, 140_725_904_283_000, 512, u64::MAX, 0, 0]),
        runnable: Some(true),
        interrupted: false,
    };
    let before = OpenCallSample {
        thread: ThreadName { tid: 1240, ..call.thread.clone() },
        entered_at_ns: None,
        args: None,
        runnable: None,
        ..call.clone()
    };
    let group = GroupSample {
        key: GroupKey::Process { pid: 1234, started_at_ns: 77 },
        name: Some("nginx".to_owned()),
        alive: true,
        threads: 8,
        calls: 4,
        errors: 2,
        total_ns: 6_307,
        parts_ns: [2_300, 0, 4_000],
        parted: 3,
    };
    let other = GroupSample { key: GroupKey::Other, name: None, alive: false, ..group.clone() };
    let mut ledger = LedgerSample {
        recording: 1,
        program_misses: SkippedRuns::Counted(0),
        ..LedgerSample::default()
    };
    ledger.counters[Counter::Enters as usize] = 6;
    ledger.counters[Counter::Matched as usize] = 4;
    ledger.counters[Counter::SlotsFull as usize] = 1;
    Sample {
        format: Format,
        attached_at_ns: 1_000_000_000,
        begin_ns: 2_000_000_000,
        end_ns: 2_000_250_000,
        subject: Subject {
            measured: Measured::Processes {
                given: vec![GivenProcess { pid: 1234, comm: "nginx".to_owned() }],
                follow: true,
            },
            root_namespace: true,
            threads: Reading::Exact(8),
            selection: Selection {
                calls: Some(SelectedCalls {
                    words: vec!["read".to_owned(), "%file".to_owned()],
                    negated: false,
                    nothing: false,
                }),
                outcome: Outcome::Errnos(vec![4, 11]),
            },
            exited: false,
            why_empty: Some(WhyEmpty::OnlyChildren(2)),
        },
        kinds: vec![kind, overflow],
        open_calls: Some(vec![call, before]),
        groups: Some(GroupsSample {
            by: GroupBy::Process,
            groups: vec![group, other],
            recording: 0,
        }),
        ledger,
        detail: DetailSample { parts: true, level: Detail::Sampling(16), without_wakeups_ns: 9 },
        cpu: CpuSample {
            used_ns: Reading::Partial(620),
            io_workers_ns: Reading::NotCollected,
            unseen: 3,
        },
        ring_at_attach: false,
        other_tracers: Some(0),
    }
}

#[test]
fn every_format_is_read() {
    assert_eq!(serde_json::from_str::<Sample>(FORMAT_1).unwrap(), format_1());
}

#[test]
fn the_present_format_is_the_newest_file() {
    let written = serde_json::to_string_pretty(&format_1()).unwrap();
    assert_eq!(written, FORMAT_1.trim_end(), "a change takes a new format, see sample/mod.rs");
}

fn with(change: impl FnOnce(&mut Value)) -> Result<Sample, String> {
    let mut value: Value = serde_json::from_str(FORMAT_1).unwrap();
    change(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn a_field_of_a_newer_version_is_skipped() {
    let newer = with(|value| {
        value["waker"] = json!({ "tid": 7 });
        value["kinds"][0]["stack"] = json!([1, 2]);
    });
    assert_eq!(newer, Ok(format_1()));
}

#[test]
fn what_cannot_be_understood_is_refused() {
    for (format, readable) in [(0, false), (1, true), (2, false)] {
        let read = with(|value| value["format"] = format.into());
        assert_eq!(read.is_ok(), readable, "{format}: {read:?}");
    }
    let newer = with(|value| value["format"] = 2.into()).unwrap_err();
    assert_eq!(newer, "sample format 2: this version of syscost reads formats 1 to 1");
    let loss = with(|value| value["ledger"]["counters"]["ring_full"] = 5.into()).unwrap_err();
    assert_eq!(loss, "ring_full: no such ledger counter");
    for buckets in [json!([[592, 1]]), json!([[7, 1], [7, 1]]), json!([[8, 1], [7, 1]])] {
        let read = with(|value| value["kinds"][0]["buckets"] = buckets.clone());
        assert!(read.is_err(), "{buckets}");
    }
}

#[test]
fn no_counter_of_the_ledger_is_left_out() {
    // Numbers without a counter: there is nothing to count in them.
    let unused: Vec<usize> = (0..syscost_common::ledger::COUNTERS)
        .filter(|number| ledger::ALL.iter().all(|counter| *counter as usize != *number))
        .collect();
    assert_eq!(unused, [16, 22, 24, 27]);
}

proptest! {
    #[test]
    fn a_sample_comes_back_from_its_serialised_form(sample in arbitrary::sample()) {
        let text = serde_json::to_string(&sample).unwrap();
        prop_assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
    }
}
