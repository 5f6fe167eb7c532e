use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use syscost_common::{
    hist::{BUCKETS, bucket_bounds},
    ledger::Counter,
};

use super::*;
use crate::{
    sample::{Detail, KindSample, Sample, SkippedRuns},
    view::fixture,
};

const DOCS: &str = include_str!("../../../../docs/stat-json.md");

fn line(model: &Model, order: &Order) -> String {
    let mut out = Vec::new();
    write(&mut out, model, order).unwrap();
    String::from_utf8(out).unwrap()
}

fn value(sample: &Sample) -> Value {
    serde_json::from_str(&line(&fixture::since_attach(sample), &Order::default())).unwrap()
}

fn pretty(model: &Model) -> String {
    serde_json::to_string_pretty(&Report::new(model, &Order::default())).unwrap()
}

#[test]
fn a_whole_report() {
    insta::assert_snapshot!(pretty(&fixture::since_attach(&fixture::lossy_nginx())));
}

#[test]
fn a_report_of_an_interval() {
    let model = fixture::interval(&fixture::nginx_a_second_later(), &fixture::nginx());
    insta::assert_snapshot!(pretty(&model));
}

#[test]
fn a_report_is_one_line() {
    let mut sample = fixture::nginx();
    sample.subject.measured = fixture::process("two\nlines");
    let line = line(&fixture::since_attach(&sample), &Order::default());
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    assert!(line.starts_with(
        r#"{"schema":"syscost.stat/1","pid":1234,"comm":"two\nlines","target":{"kind":"process","#
    ));
}

#[test]
fn what_was_not_collected_is_null() {
    let mut sample = fixture::nginx();
    sample.subject.threads = Reading::NotCollected;
    sample.ledger.program_misses = SkippedRuns::NotCounted;
    let value = value(&sample);
    assert!(value["threads"].is_null());
    assert!(value["ledger"]["program_misses"].is_null());
    assert_eq!(value["exact"], true);
}

#[test]
fn skipped_runs_that_the_kernel_does_not_tell_of_are_a_loss_and_not_0() {
    let mut sample = fixture::nginx();
    sample.ledger.program_misses = SkippedRuns::Unknown;
    let value = value(&sample);
    assert!(value["ledger"]["program_misses"].is_null());
    assert_eq!(value["exact"], false);
    assert_eq!(value["losses"][0]["kind"], "program_misses");
    assert!(value["losses"][0]["count"].is_null());
    assert!(value["losses"][0]["text"].as_str().unwrap().contains("did not tell how many"));
}

const PARTS: [&str; 3] = ["on_cpu", "runq", "blocked"];

/// The fields of the parts of a syscall, those in `value` that have one of `names` before them.
fn of_parts<'a>(value: &'a Value, names: &[&str]) -> Vec<(&'a String, &'a Value)> {
    let object = value.as_object().unwrap();
    let named = |field: &str| names.iter().any(|name| field.starts_with(name));
    object.iter().filter(|(field, _)| named(field)).collect()
}

#[test]
fn the_parts_add_up_to_the_time_and_their_histograms_to_the_calls() {
    for syscall in value(&fixture::nginx())["syscalls"].as_array().unwrap() {
        let number = |field: &str| syscall[field].as_u64().unwrap();
        let sums = PARTS.map(|part| number(&format!("{part}_ns")));
        assert_eq!(sums.iter().sum::<u64>(), number("total_ns"), "{syscall}");
        assert_eq!(number("parts_known"), number("count"));
        for part in PARTS {
            let buckets = syscall[format!("{part}_histogram")].as_array().unwrap();
            let calls = buckets.iter().map(|bucket| bucket["count"].as_u64().unwrap());
            assert_eq!(calls.sum::<u64>(), number("count"), "{part} of {syscall}");
        }
    }
}

#[test]
fn parts_that_were_not_collected_are_null_and_never_0() {
    let value = value(&fixture::without_parts(fixture::nginx()));
    for syscall in value["syscalls"].as_array().unwrap() {
        let fields = of_parts(syscall, &PARTS);
        assert_eq!(fields.len(), 18, "{fields:?}");
        assert!(fields.iter().all(|(_, value)| value.is_null()), "{fields:?}");
        assert_eq!(syscall["parts_known"], 0);
    }
    assert!(value["cpu_share_pct"].is_null());
    // That is another account.
    assert_eq!(value["cpu_ns"], 620_000_000);
    assert_eq!(value["exact"], true);
}

#[test]
fn parts_of_groups_that_were_not_collected_are_null_and_never_0() {
    let value = value(&fixture::without_parts(fixture::grouped(GroupBy::Process)));
    for group in value["groups"].as_array().unwrap() {
        assert!(of_parts(group, &PARTS).iter().all(|(_, value)| value.is_null()), "{group}");
        assert_eq!(group["parts_known"], 0);
    }
}

#[test]
fn parts_that_are_known_of_some_calls_are_null_for_the_others() {
    let value = value(&fixture::partly_parted_nginx());
    for syscall in value["syscalls"].as_array().unwrap() {
        let null = syscall["name"] == "futex";
        let fields = of_parts(syscall, &PARTS);
        assert!(fields.iter().all(|(_, value)| value.is_null() == null), "{syscall}");
    }
    assert!(value["cpu_share_pct"].is_number());
}

#[test]
fn a_run_queue_that_was_not_seen_is_null() {
    let mut sample = fixture::nginx();
    (sample.detail.level, sample.detail.without_wakeups_ns) = (Detail::NoRunq, 5_000_000_000);
    let value = value(&sample);
    assert_eq!(value["detail"], "no_runq");
    for syscall in value["syscalls"].as_array().unwrap() {
        assert!(of_parts(syscall, &["runq"]).iter().all(|(_, value)| value.is_null()), "{syscall}");
        assert!(
            of_parts(syscall, &["on_cpu", "blocked"]).iter().all(|(_, value)| !value.is_null())
        );
    }
}

#[test]
fn what_nobody_has_calibrated_is_null() {
    let sample = fixture::nginx();
    assert_eq!(value(&sample)["syscalls"][0]["boundary_ns"], 5_376_420);
    let line = line(&Model::since_attach(&sample), &Order::default());
    let value: Value = serde_json::from_str(&line).unwrap();
    assert!(value["crossing_ns"].is_null());
    assert!(value["syscalls"][0]["boundary_ns"].is_null());
}

#[test]
fn a_report_of_a_sample_of_the_calls_says_so() {
    let mut sample = fixture::nginx();
    assert_eq!(value(&sample)["sampled"], false);
    sample.ledger.counters[Counter::Sampled as usize] = 2_800;
    sample.detail.level = Detail::Sampling(64);
    let value = value(&sample);
    assert_eq!(value["sampled"], true);
    assert_eq!(value["exact"], false);
    assert_eq!(value["detail"], "sampling");
    assert_eq!(value["one_in"], 64);
    assert_eq!(value["ledger"]["sampled"], 2_800);
}

#[test]
fn rows_left_out_are_counted() {
    let order = Order { top: Some(2), ..Order::default() };
    let line = line(&fixture::since_attach(&fixture::nginx()), &order);
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["syscalls"].as_array().unwrap().len(), 2);
    assert_eq!(value["syscalls_omitted"], 5);
}

#[test]
fn groups_are_left_out_and_syscalls_then_are_not() {
    let order = Order { top: Some(2), ..Order::default() };
    for by in [GroupBy::Process, GroupBy::Thread, GroupBy::Cgroup, GroupBy::Comm] {
        let line = line(&fixture::since_attach(&fixture::grouped(by)), &order);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["by"], by.id());
        assert_eq!(value["groups"].as_array().unwrap().len(), 2);
        assert_eq!(value["groups_omitted"], 1);
        assert_eq!(value["syscalls"].as_array().unwrap().len(), 7);
        assert_eq!(value["syscalls_omitted"], 0);
        insta::assert_snapshot!(
            format!("groups_by_{}", by.id()),
            serde_json::to_string_pretty(&value["groups"]).unwrap()
        );
    }
}

#[test]
fn an_idle_process_has_no_syscalls() {
    let value = value(&fixture::sample(Vec::new()));
    assert_eq!(value["syscalls"], Value::Array(Vec::new()));
}

/// The names of all fields in `value`. Those of `errnos` are data.
fn fields(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                into.push(name.clone());
                if name != "errnos" {
                    fields(inner, into);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, into)),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let mut names = Vec::new();
    fields(&value(&fixture::lossy_nginx()), &mut names);
    fields(&value(&fixture::grouped(GroupBy::Process)), &mut names);
    names.sort();
    names.dedup();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(DOCS.contains(&format!("`{name}`")), "docs/stat-json.md lacks `{name}`");
    }
    assert!(DOCS.contains(SCHEMA));
}

prop_compose! {
    /// Any contents of buckets with the extremes that calls in them would have set.
    fn any_kind()(
        counts in vec((0..BUCKETS, 1..1_u64 << 40), 1..40),
        min_at in 0.0..=1.0,
        max_at in 0.0..=1.0,
    ) -> KindSample {
        let mut kind = KindSample::empty(fixture::native(0));
        for (bucket, count) in counts {
            kind.buckets[bucket] += count;
        }
        let occupied = |bucket: &usize| kind.buckets[*bucket] > 0;
        let within = |bucket: usize, at: f64| {
            let (low, high) = bucket_bounds(bucket);
            low + ((high.min(low * 2 + 1) - low) as f64 * at) as u64
        };
        kind.min_ns = within((0..BUCKETS).find(occupied).unwrap(), min_at);
        kind.max_ns = within((0..BUCKETS).rfind(occupied).unwrap(), max_at).max(kind.min_ns);
        kind
    }
}

/// Checks what every syscall of a report promises.
fn check_promises(report: &Value, calls: u64) {
    let syscall = &report["syscalls"][0];
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {syscall}"));
    let histogram = syscall["histogram"].as_array().unwrap();
    let sum: u64 = histogram.iter().map(|bucket| number(&bucket["count"])).sum();
    assert_eq!(sum, number(&syscall["count"]));
    assert_eq!(sum, calls);
    for bucket in histogram {
        assert!(number(&bucket["lo_ns"]) <= number(&bucket["hi_ns"]));
        assert!(number(&bucket["count"]) > 0);
    }
    for pair in histogram.windows(2) {
        assert!(number(&pair[0]["hi_ns"]) < number(&pair[1]["lo_ns"]));
    }
    let ascending = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
    for pair in ascending.windows(2) {
        assert!(number(&syscall[pair[0]]) <= number(&syscall[pair[1]]), "{pair:?} in {syscall}");
    }
    // Both extremes lie in the outermost buckets.
    assert!(number(&histogram[0]["lo_ns"]) <= number(&syscall["min_ns"]));
    assert!(number(&syscall["max_ns"]) <= number(&histogram.last().unwrap()["hi_ns"]));
}

proptest! {
    #[test]
    fn histograms_add_up_and_percentiles_ascend(kind in any_kind()) {
        let calls = kind.calls();
        check_promises(&value(&fixture::sample(vec![kind])), calls);
    }

    #[test]
    fn so_they_do_in_intervals(before in any_kind(), more in any_kind()) {
        let mut kind = before.clone();
        for (count, more) in kind.buckets.iter_mut().zip(more.buckets.iter()) {
            *count += more;
        }
        kind.min_ns = before.min_ns.min(more.min_ns);
        kind.max_ns = before.max_ns.max(more.max_ns);
        let (sample, previous) = (fixture::sample(vec![kind]), fixture::sample(vec![before]));
        let line = line(&fixture::interval(&sample, &previous), &Order::default());
        check_promises(&serde_json::from_str(&line).unwrap(), more.calls());
    }

    /// A sample read while a call is being recorded can have extremes of any age.
    #[test]
    fn so_they_do_with_extremes_that_are_late(
        kind in any_kind(), min_ns in any::<u64>(), max_ns in any::<u64>()
    ) {
        let calls = kind.calls();
        let kind = KindSample { min_ns, max_ns, ..kind };
        check_promises(&value(&fixture::sample(vec![kind])), calls);
    }
}
