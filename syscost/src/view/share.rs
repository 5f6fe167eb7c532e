//! How much of its CPU time what is measured spends in syscalls, in words.

use crate::{model::Model, reading::Reading, sample::SubjectKind, view::format};

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
            Some(format!("syscalls: {share} of {whose} CPU time"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sample::Sample, view::fixture};

    #[test]
    fn a_share_is_of_what_was_measured() {
        let mut sample = fixture::nginx();
        let share = |sample: &Sample| of_cpu_time(&Model::since_attach(sample));
        assert_eq!(share(&sample).unwrap(), "syscalls: 21.1% of its CPU time");
        sample.subject.kind = SubjectKind::Comm;
        assert_eq!(share(&sample).unwrap(), "syscalls: 21.1% of their CPU time");
    }

    #[test]
    fn there_is_no_share_of_what_is_not_known() {
        let mut sample = fixture::nginx();
        sample.cpu_ns = Reading::NotCollected;
        assert_eq!(of_cpu_time(&Model::since_attach(&sample)), None);
        let sample = fixture::without_parts(fixture::nginx());
        assert_eq!(of_cpu_time(&Model::since_attach(&sample)), None);
    }
}
