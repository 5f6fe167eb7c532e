//! Sentences about what is missing and why: calls, or the parts of their latencies.

use std::borrow::Cow;

use syscost_common::ledger::Counter;

use crate::{
    decode::printable::printable,
    model::{Availability, Model, Subject, SubjectKind, budget},
    sample::{Detail, WhyEmpty},
    view::format,
};

/// What is not collected at a level of detail; `None` at full detail.
pub fn shed(detail: Detail) -> Option<Cow<'static, str>> {
    match detail {
        Detail::Full => None,
        Detail::NoRunq => Some("SHED: run-queue split (counts as blocked)".into()),
        Detail::NoOnCpu => Some("SHED: on-CPU split".into()),
        Detail::Sampling(one_in) => {
            Some(format!("SAMPLING 1 in {one_in}: ≈ is an estimate; SHED: on-CPU split").into())
        }
    }
}

/// Why the budget of `--max-overhead` is exceeded for good, in a sentence without its full stop; `None` where it is
/// not, or where there is none.
pub fn budget(model: &Model) -> Option<String> {
    let cost = model.cost.filter(|cost| budget::cannot_be_kept(*cost))?;
    Some(format!(
        "OVER THE BUDGET of {}%: the hooks alone cost {}%, which sampling cannot reduce; raise \
         --max-overhead, or measure when fewer calls are made",
        format::pct(cost.budget_pct?),
        format::pct(cost.run_pct),
    ))
}

/// Which parts are not known in this window and why, in a sentence without its full stop; `None` where all are.
pub fn parts(model: &Model) -> Option<String> {
    let calls = model.total.calls;
    let why = match model.trust.parts {
        Availability::All => return None,
        _ if calls == 0 => return None,
        Availability::None if model.ledger.counter(Counter::Unparted) == 0 => {
            "CPU time unknown: these hooks see no context switches".to_owned()
        }
        Availability::None => "CPU time unknown: context switches were not seen".to_owned(),
        Availability::Some => format!(
            "CPU and blocked time of {} of {} calls are not known: not all switches were seen",
            format::count(calls.saturating_sub(model.total.parts.calls)),
            format::count(calls)
        ),
    };
    Some(why)
}

/// Why there may be no calls, in a sentence without its full stop; `None` where that is not known.
pub fn calls(subject: &Subject) -> Option<String> {
    let name = printable(&subject.name);
    Some(match (subject.why_empty?, subject.kind) {
        (WhyEmpty::NoKinds, _) => "the filter leaves out every call (-e none)".to_owned(),
        (WhyEmpty::OnlyChildren(children), _) => {
            let (has, of) = match subject.kind {
                SubjectKind::Process => ("has", "the process"),
                _ => ("have", "the processes"),
            };
            let noun = if children == 1 { "child" } else { "children" };
            format!("{of} made no calls, but {has} {children} {noun}, not measured: add -f")
        }
        (WhyEmpty::NoProcess, SubjectKind::Comm) => {
            format!("no process is called {name}: names are compared whole (`ps -eo comm`)")
        }
        (WhyEmpty::NoProcess, SubjectKind::User) => format!("user {name} has no processes"),
        (WhyEmpty::NoProcess, SubjectKind::Cgroup) => format!("cgroup {name} has no processes"),
        (WhyEmpty::NoProcess, SubjectKind::Container) => {
            format!("container {name} has no processes")
        }
        (WhyEmpty::NoProcess, _) => "there is no such process".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    #[test]
    fn what_is_known_needs_no_words() {
        assert_eq!(parts(&Model::since_attach(&fixture::nginx())), None);
        assert_eq!(shed(Detail::Full), None);
    }

    #[test]
    fn what_is_missing_is_said_with_its_reason() {
        let raw = Model::since_attach(&fixture::without_parts(fixture::nginx()));
        assert!(parts(&raw).unwrap().contains("hooks see no context switches"));
        let partly = Model::since_attach(&fixture::partly_parted_nginx());
        assert!(
            parts(&partly).unwrap().contains("of 13.3k of 44.8k calls"),
            "{:?}",
            parts(&partly)
        );
    }

    #[test]
    fn every_reason_for_no_calls_is_a_sentence() {
        let mut subject = Model::since_attach(&fixture::nginx()).subject;
        assert_eq!(calls(&subject), None);
        subject.why_empty = Some(WhyEmpty::OnlyChildren(3));
        let text = calls(&subject).unwrap();
        assert_eq!(text, "the process made no calls, but has 3 children, not measured: add -f");
        subject.why_empty = Some(WhyEmpty::NoKinds);
        assert!(calls(&subject).unwrap().contains("-e none"));
        subject.why_empty = Some(WhyEmpty::NoProcess);
        for (kind, part) in [
            (SubjectKind::Comm, "no process is called nginx"),
            (SubjectKind::User, "user nginx has no processes"),
            (SubjectKind::Cgroup, "cgroup nginx has no processes"),
            (SubjectKind::Container, "container nginx has no processes"),
        ] {
            subject.kind = kind;
            assert!(calls(&subject).unwrap().contains(part), "{kind:?}");
        }
    }

    #[test]
    fn every_level_below_full_says_what_it_goes_without() {
        for detail in Detail::ALL {
            assert_eq!(shed(detail).is_none(), detail == Detail::Full, "{detail:?}");
        }
    }
}
