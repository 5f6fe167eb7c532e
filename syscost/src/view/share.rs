//! The share of the target's CPU time that is spent in syscalls, in words.

use crate::view::width::Columns;
use std::borrow::Cow;

use crate::{
    decode::printable::printable,
    model::{Model, SubjectKind},
    reading::Reading,
    view::format,
};

/// `syscalls: 31.2% of its CPU time`; `None` where that is not known.
pub fn of_cpu_time(model: &Model) -> Option<String> {
    let whose = match model.subject.kind {
        SubjectKind::Processes | SubjectKind::Threads | SubjectKind::Comm | SubjectKind::User => {
            "their"
        }
        SubjectKind::Host => "all",
        _ => "its",
    };
    match model.cpu_share_pct() {
        Reading::NotCollected => None,
        share => {
            let share = format::reading(share, |pct| format!("{}%", format::pct(pct)));
            Some(format!("{}: {share} of {whose} CPU time", of_which_calls(model)))
        }
    }
}

/// The names of the recorded calls, if they are short.
fn of_which_calls(model: &Model) -> Cow<'_, str> {
    const ROOM: usize = 30;
    let Some(only) = &model.subject.only else { return "syscalls".into() };
    let named = only.strip_prefix("only ").unwrap_or(only);
    if named.columns() > ROOM { "these syscalls".into() } else { printable(named) }
}

#[cfg(test)]
mod tests {
    use syscost_common::ledger::Counter;

    use super::*;
    use crate::{
        sample::{Measured, Sample},
        view::fixture,
    };

    #[test]
    fn a_share_is_of_what_was_measured() {
        let mut sample = at_rest();
        let share = |sample: &Sample| of_cpu_time(&Model::since_attach(sample));
        assert_eq!(share(&sample).unwrap(), "syscalls: 21.1% of its CPU time");
        sample.subject.measured = Measured::Comm("nginx".to_owned());
        assert_eq!(share(&sample).unwrap(), "syscalls: 21.1% of their CPU time");
    }

    /// Without a call that has begun and not ended.
    fn at_rest() -> Sample {
        let mut sample = Sample { open_calls: Some(Vec::new()), ..fixture::nginx() };
        let counters = &mut sample.ledger.counters;
        counters[Counter::Enters as usize] = counters[Counter::Matched as usize];
        sample
    }

    #[test]
    fn a_share_is_an_estimate_while_calls_are_open_or_may_have_begun_before() {
        let open = fixture::nginx();
        let share = of_cpu_time(&Model::since_attach(&open)).unwrap();
        assert_eq!(share, "syscalls: ≈21.1% of its CPU time");
        let before = Sample { kinds: Vec::new(), ..at_rest() };
        let share = of_cpu_time(&Model::interval(&at_rest(), &before));
        assert!(share.is_none_or(|share| share.starts_with("syscalls: ≈")));
    }

    #[test]
    fn a_share_of_some_calls_names_them() {
        let share = |only: &str| {
            let mut model = Model::since_attach(&at_rest());
            model.subject.only = Some(only.to_owned());
            of_cpu_time(&model).unwrap()
        };
        assert_eq!(share("only read, write"), "read, write: 21.1% of its CPU time");
        assert_eq!(share("all but futex"), "all but futex: 21.1% of its CPU time");
        assert_eq!(share("only failed"), "failed: 21.1% of its CPU time");
        let many = "only read, write, openat, close, fstat and 9 more";
        assert_eq!(share(many), "these syscalls: 21.1% of its CPU time");
    }

    #[test]
    fn there_is_no_share_of_what_is_not_known() {
        let mut sample = fixture::nginx();
        sample.cpu.used_ns = Reading::NotCollected;
        assert_eq!(of_cpu_time(&Model::since_attach(&sample)), None);
        let sample = fixture::without_parts(fixture::nginx());
        assert_eq!(of_cpu_time(&Model::since_attach(&sample)), None);
    }
}
