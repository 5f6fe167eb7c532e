//! Plays the scenarios in `tests/scenarios` and compares what the model makes of them with what they say.

use std::fs;

use syscost_common::cell::PartOf;

use crate::{
    model::{Model, TableRow},
    reading::Reading,
    source::Scenario,
};

/// Panics unless the model makes of a scenario what it says. `file` is its name.
fn check(file: &str, scenario: &Scenario) {
    let model = Model::since_attach(&scenario.end().expect("it was parsed"));
    let names: Vec<&str> = model.rows.iter().map(|row| &*row.name).collect();
    let expected: Vec<&str> = scenario.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, expected, "{file}");
    for (row, expected) in model.rows.iter().zip(&scenario.rows) {
        let name = &expected.name;
        assert_eq!(row.calls, expected.calls, "{file}: {name}");
        for (what, found, expected) in [
            ("errors", row.errors, expected.errors),
            ("total_ns", row.total_ns, expected.total_ns),
            ("min_ns", row.latency.min_ns(), expected.min_ns),
            ("max_ns", row.latency.max_ns(), expected.max_ns),
        ] {
            assert_eq!(found, expected.unwrap_or(found), "{file}: {name}: {what}");
        }
        for (of, expected) in [
            (PartOf::OnCpu, &expected.on_cpu),
            (PartOf::Runq, &expected.runq),
            (PartOf::Blocked, &expected.blocked),
        ] {
            let sum = row.sum();
            let found = written(model.context().part(of, sum));
            assert_eq!(&found, expected.as_ref().unwrap_or(&found), "{file}: {name}: {of:?}");
        }
    }
    let losses: Vec<String> =
        model.ledger.reasons().into_iter().map(|reason| reason.text).collect();
    assert_eq!(losses, scenario.losses, "{file}");
    assert_eq!(model.ledger.in_flight(), scenario.in_flight, "{file}");
}

/// A number with its sign, as the views write it.
fn written(reading: Reading<u64>) -> String {
    match reading {
        Reading::NotCollected => "–".to_owned(),
        Reading::Estimated(ns) => format!("≈{ns}"),
        Reading::Partial(ns) => format!(">={ns}"),
        Reading::Exact(ns) => ns.to_string(),
    }
}

#[test]
fn every_scenario_gives_what_it_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        check(&name, &Scenario::load(&name).unwrap());
    }
}

#[test]
#[should_panic(expected = "here: read: total_ns")]
fn a_number_that_is_not_what_the_scenario_says_is_found() {
    let text = "[[step]]\nat_ms = 1\ncalls = [{ name = \"read\", latency_ns = 5 }]\n\
                [[row]]\nname = \"read\"\ncalls = 1\ntotal_ns = 6";
    check("here", &Scenario::parse(text).unwrap());
}
