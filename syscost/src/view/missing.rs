//! What is not known of the latencies' parts, and why, in words.

use crate::{
    model::{Known, Model},
    sample::Detail,
    view::format,
};

/// What is gone without at a level of detail, as people read it; `None` where nothing is.
pub fn shed(detail: Detail) -> Option<&'static str> {
    match detail {
        Detail::Full => None,
        Detail::NoRunq => Some("SHED: run-queue split (counts as blocked)"),
        Detail::NoOnCpu => Some("SHED: on-CPU split"),
        Detail::Sampling => Some("SAMPLING: ≈ is an estimate; SHED: on-CPU split"),
    }
}

/// What is not known of the parts in this window and why, in a sentence without its full stop; `None`
/// where all of it is.
pub fn parts(model: &Model) -> Option<String> {
    let calls = model.total.calls;
    let why = match model.trust.parts {
        Known::All => return None,
        _ if calls == 0 => return None,
        Known::Nothing if model.ledger.unparted == 0 => {
            "CPU time unknown: these hooks see no context switches".to_owned()
        }
        Known::Nothing => "CPU time unknown: context switches were not seen".to_owned(),
        Known::Some => format!(
            "CPU and blocked time are of {} of {} calls: not all switches seen",
            format::count(model.total.parts.calls),
            format::count(calls)
        ),
    };
    Some(why)
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
            parts(&partly).unwrap().contains("of 31.5k of 44.8k calls"),
            "{:?}",
            parts(&partly)
        );
    }

    #[test]
    fn every_level_below_full_says_what_it_goes_without() {
        for detail in Detail::ALL {
            assert_eq!(shed(detail).is_none(), detail == Detail::Full, "{detail:?}");
        }
    }
}
