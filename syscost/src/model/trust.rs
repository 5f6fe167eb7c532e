//! How far the numbers of a window can be trusted.

use syscost_common::{cell::PartOf, ledger::Counter};

use super::Ledger;
use crate::{
    reading::Reading,
    sample::{LedgerSample, Sample},
};

/// How much of something is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// Nothing of it.
    None,
    /// A part of it.
    Some,
    /// All of it.
    #[default]
    All,
}

/// What holds for every number of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Whether nothing was lost since attaching. A loss is never made good.
    pub exact: bool,
    /// Whether calls were sampled, so that a measured call counts for several.
    pub sampled: bool,
    /// Whether numbers may be too high as well as too low: since attaching, ends of interrupted calls were
    /// guessed, or a check failed.
    pub guessed: bool,
    /// How much is known of the parts of latencies.
    pub parts: Availability,
    /// How much is known of the time in the run queue.
    pub runq: Availability,
    /// Whether some time in the run queue counts as blocked, because wake-ups were not seen.
    pub runq_as_blocked: bool,
}

impl Trust {
    /// For a window that ends with `sample` and begins with `before`, or with attaching.
    pub(super) fn new(
        sample: &Sample,
        before: Option<&Sample>,
        window_ns: u64,
        ledger: &Ledger,
    ) -> Self {
        let since = |counter: Counter| {
            let get = |sample: &LedgerSample| sample.counters[counter as usize];
            get(&sample.ledger).saturating_sub(before.map_or(0, |before| get(&before.ledger)))
        };
        let detail = sample.detail;
        let without_wakeups_ns = detail
            .without_wakeups_ns
            .saturating_sub(before.map_or(0, |before| before.detail.without_wakeups_ns));
        let unparted = since(Counter::Unparted);
        let parts = match unparted {
            _ if !detail.parts => Availability::None,
            0 => Availability::All,
            n if n >= since(Counter::Matched) => Availability::None,
            _ => Availability::Some,
        };
        let runq_as_blocked = without_wakeups_ns > 0 || since(Counter::WakeupsMissed) > 0;
        let runq = match parts {
            Availability::None => Availability::None,
            // The level of detail changes a moment before or after a window begins or ends.
            _ if without_wakeups_ns > window_ns - window_ns / 100 => Availability::None,
            _ if runq_as_blocked => Availability::Some,
            known => known,
        };
        Self {
            exact: ledger.exact(),
            sampled: since(Counter::Sampled) + since(Counter::SampledOut) > 0,
            guessed: ledger.guessed(),
            parts,
            runq,
            runq_as_blocked,
        }
    }

    /// Whether every call of the window was measured, and none was lost.
    pub fn all_counted(self) -> bool {
        self.exact && !self.sampled
    }

    /// A sum over calls.
    pub fn reading<T>(self, value: T) -> Reading<T> {
        if self.sampled || self.guessed {
            Reading::Estimated(value)
        } else {
            Reading::exact_if(self.exact, value)
        }
    }

    /// A sum over one part of the latencies of `calls` calls, of which `known` have known parts.
    pub fn part<T>(self, of: PartOf, known: u64, calls: u64, value: T) -> Reading<T> {
        let how = if of == PartOf::Runq { self.runq } else { self.parts };
        match how {
            Availability::None => Reading::NotCollected,
            // No call of this row has known parts.
            _ if known == 0 && calls > 0 => Reading::NotCollected,
            _ if self.guessed || of == PartOf::Blocked && self.runq_as_blocked => {
                Reading::Estimated(value)
            }
            Availability::Some => Reading::Partial(value),
            Availability::All => Reading::exact_if(self.exact, value),
        }
    }

    /// Whether all parts of every call are known.
    pub fn all_parted(self) -> bool {
        self.exact && self.parts == Availability::All && self.runq == Availability::All
    }
}
