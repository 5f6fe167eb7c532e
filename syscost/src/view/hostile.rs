//! Whatever a name is made of: what the views write stays plain text.

use proptest::prelude::*;

use super::{Order, csv, fixture, json, table};
use crate::{
    filter::{SelectedCalls, Selection},
    group::GroupBy,
    sample::{GroupKey, Measured, Sample},
};

/// Whether a terminal shows `text` as it is, line by line.
pub(super) fn is_plain(text: &str) -> bool {
    use crate::decode::printable::printable;
    text.lines().all(|line| printable(line) == line)
}

/// Names that are bytes, and names that are characters which nobody sees.
pub(crate) fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\\x00-\\x{2fff}]{1,40}",
        "(=|\\+|-|@|'|\t)[ -~]{0,20}",
        "[\\x1b\\x07\\x{9b}\\x{202e}\\x{feff}\\x{200d}\\x{301}a\n\r\t\",;]{1,20}",
    ]
}

/// Everything in the sample that has a name is called `name`.
pub(crate) fn rename(sample: &mut Sample, name: &str) {
    sample.subject.measured = Measured::Container {
        id: name.to_owned(),
        name: Some(name.to_owned()),
        runtime: name.to_owned(),
    };
    let calls = SelectedCalls { words: vec![name.to_owned()], ..SelectedCalls::default() };
    sample.subject.selection = Selection { calls: Some(calls), ..Selection::default() };
    for call in sample.open_calls.iter_mut().flatten() {
        name.clone_into(&mut call.thread.comm);
    }
    for group in sample.groups.iter_mut().flat_map(|groups| &mut groups.groups) {
        if let GroupKey::Comm(comm) = &mut group.key {
            name.clone_into(comm);
        }
        group.name = Some(name.to_owned());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_name_gets_out_of_its_place(name in name()) {
        for by in [GroupBy::Process, GroupBy::Cgroup, GroupBy::Comm, GroupBy::Syscall] {
            let mut sample = fixture::grouped(by);
            rename(&mut sample, &name);
            let model = fixture::since_attach(&sample);

            let mut out = Vec::new();
            let options = table::TableOptions { order: Order::default(), width: Some(100), ..Default::default() };
            table::write(&mut out, &model, &options).unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert!(is_plain(&text), "{text}");

            let mut out = Vec::new();
            json::write(&mut out, &model, &Order::default()).unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.lines().count(), 1);
            prop_assert!(is_plain(&text), "{text}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&value["target"]["name"], name.as_str());

            let mut out = Vec::new();
            csv::write(&mut out, &model, &Order::default(), true).unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert!(is_plain(&text), "{text}");
            let mut rows = ::csv::Reader::from_reader(text.as_bytes());
            let named = rows.headers().unwrap().iter().position(|field| field == "comm");
            for row in rows.records() {
                let row = row.unwrap();
                for cell in &row {
                    prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
                }
                let comm = named.map(|place| &row[place]).filter(|comm| *comm != "(other)");
                if let Some(comm) = comm.filter(|_| by == GroupBy::Comm) {
                    let shown = crate::decode::printable::printable(&name);
                    prop_assert_eq!(comm.strip_prefix('\'').unwrap_or(comm), shown);
                }
            }
        }
    }
}
