//! How far the numbers of a window can be trusted.

use syscost_common::{cell::PartOf, ledger::Counter};

use super::Ledger;
use crate::{
    reading::Reading,
    sample::{LedgerSample, Sample},
};

/// How much of what there was is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// Some of it.
    Some,
    /// All.
    #[default]
    All,
}

/// What holds for every number of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Whether nothing was lost since attaching: a loss does not heal.
    pub exact: bool,
    /// Whether some calls stand for others.
    pub sampled: bool,
    /// Whether the ends of interrupted calls were guessed since attaching, so that numbers may be too
    /// high as well as too low.
    pub guessed: bool,
    /// What latencies consist of.
    pub parts: Known,
    /// Of that, what was time waiting for a CPU.
    pub runq: Known,
    /// Whether some of that counts as blocked, because wake-ups were not seen.
    pub runq_as_blocked: bool,
}

impl Trust {
    /// Of a window that ends with `sample` and begins with `before`, or with attaching.
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
            _ if !detail.parts => Known::Nothing,
            0 => Known::All,
            n if n >= since(Counter::Matched) => Known::Nothing,
            _ => Known::Some,
        };
        let runq_as_blocked = without_wakeups_ns > 0 || since(Counter::WakeupsMissed) > 0;
        let runq = match parts {
            Known::Nothing => Known::Nothing,
            // The window begins and ends a moment beside the change.
            _ if without_wakeups_ns > window_ns - window_ns / 100 => Known::Nothing,
            _ if runq_as_blocked => Known::Some,
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

    /// Whether every call of the window was measured itself, and none was lost.
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

    /// A sum over one part of the calls' latencies, of which `known` calls' are known, of `calls`.
    pub fn part<T>(self, of: PartOf, known: u64, calls: u64, value: T) -> Reading<T> {
        let how = if of == PartOf::Runq { self.runq } else { self.parts };
        match how {
            Known::Nothing => Reading::NotCollected,
            // Of this row, or this group, nothing.
            _ if known == 0 && calls > 0 => Reading::NotCollected,
            _ if self.guessed || of == PartOf::Blocked && self.runq_as_blocked => {
                Reading::Estimated(value)
            }
            Known::Some => Reading::Partial(value),
            Known::All => Reading::exact_if(self.exact, value),
        }
    }

    /// Whether all parts of every call are known.
    pub fn all_parted(self) -> bool {
        self.exact && self.parts == Known::All && self.runq == Known::All
    }
}
