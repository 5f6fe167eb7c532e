//! Finds out why nothing is counted, while nothing is.

use syscost_common::ledger::Counter;

use crate::{
    sample::{LedgerSample, WhyEmpty},
    target::Target,
};

/// A look is at all processes, so there is at most one in this time, ns.
const EVERY_NS: u64 = 1_000_000_000;

/// Counters that a process of the target increments sooner or later.
const SIGNS: [Counter; 7] = [
    Counter::Enters,
    Counter::OrphanExits,
    Counter::OpenAtAttach,
    Counter::NewbornExits,
    Counter::EndedWithoutExit,
    Counter::OpenCallsFull,
    Counter::SampledOut,
];

/// What was found out so far.
pub(super) struct Emptiness {
    no_kinds: bool,
    /// Whether a process of the target was seen.
    seen: bool,
    /// The sum of [`SIGNS`] when it last grew, and when that was noticed, ns of CLOCK_MONOTONIC.
    grew: (u64, u64),
    /// When the last look was, ns of CLOCK_MONOTONIC.
    looked_at_ns: Option<u64>,
    why: Option<WhyEmpty>,
}

impl Emptiness {
    /// Nothing is known at `now_ns`. `no_kinds`: whether the filter leaves out every call.
    pub(super) fn new(no_kinds: bool, now_ns: u64) -> Self {
        Self { no_kinds, seen: false, grew: (0, now_ns), looked_at_ns: None, why: None }
    }

    /// The reason at `now_ns`, when `ledger` was read. `any_open`: whether a call is open. `is_last`: whether this is
    /// the last look.
    pub(super) fn why(
        &mut self,
        target: &Target,
        ledger: &LedgerSample,
        any_open: bool,
        now_ns: u64,
        is_last: bool,
    ) -> Option<WhyEmpty> {
        if self.no_kinds {
            return Some(WhyEmpty::NoKinds);
        }
        let signs = SIGNS.iter().map(|sign| ledger.counters[*sign as usize]).sum();
        if signs != self.grew.0 {
            *self = Self { seen: true, ..Self::new(false, now_ns) };
            self.grew.0 = signs;
            self.looked_at_ns = Some(now_ns);
            return None;
        }
        let is_due = self.looked_at_ns.is_none_or(|at| now_ns >= at + EVERY_NS);
        if is_due || is_last {
            self.looked_at_ns = Some(now_ns);
            // A process that `/proc` hides may have an open call.
            self.seen |= any_open || target.is_present();
            let quiet = is_last || now_ns >= self.grew.1 + EVERY_NS;
            self.why = match self.seen {
                false => Some(WhyEmpty::NoProcess),
                true if quiet => match target.unmeasured_children() {
                    0 => None,
                    children => Some(WhyEmpty::OnlyChildren(children)),
                },
                true => None,
            };
        }
        self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Process;

    const SECOND: u64 = 1_000_000_000;

    fn ledger(enters: u64) -> LedgerSample {
        let mut ledger = LedgerSample::default();
        ledger.counters[Counter::Enters as usize] = enters;
        ledger
    }

    #[test]
    fn a_name_that_nobody_has_is_said_at_once_and_until_somebody_has_it() {
        let nobody = Target::Comm("no-such-process".to_owned());
        let mut emptiness = Emptiness::new(false, 0);
        assert_eq!(emptiness.why(&nobody, &ledger(0), false, 1, false), Some(WhyEmpty::NoProcess));
        assert_eq!(emptiness.why(&nobody, &ledger(0), false, 2, true), Some(WhyEmpty::NoProcess));
        assert_eq!(emptiness.why(&nobody, &ledger(1), false, 3, false), None);
        // It has ended since, but was there.
        assert_eq!(emptiness.why(&nobody, &ledger(1), false, 9 * SECOND, true), None);
    }

    #[test]
    fn children_are_told_of_when_a_process_makes_no_calls() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = || Process::resolve(std::process::id()).unwrap();
        let alone = Target::Processes { given: vec![process()], follow: false };
        let mut emptiness = Emptiness::new(false, 0);
        let is_told = |why| matches!(why, Some(WhyEmpty::OnlyChildren(1..)));
        assert!(!is_told(emptiness.why(&alone, &ledger(0), false, 1, false)), "too early to say");
        assert!(is_told(emptiness.why(&alone, &ledger(0), false, 2 * SECOND, false)));
        assert!(!is_told(emptiness.why(&alone, &ledger(5), false, 3 * SECOND, false)));
        assert!(is_told(emptiness.why(&alone, &ledger(5), false, 3 * SECOND + 1, true)));
        let all = Target::Processes { given: vec![process()], follow: true };
        assert_eq!(Emptiness::new(false, 0).why(&all, &ledger(0), false, 5 * SECOND, true), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_filter_without_calls_is_the_reason_whatever_is_there() {
        let mut emptiness = Emptiness::new(true, 0);
        assert_eq!(
            emptiness.why(&Target::Host, &ledger(0), false, 1, false),
            Some(WhyEmpty::NoKinds)
        );
    }
}
