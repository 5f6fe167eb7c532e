//! The ledger: what became of every event, and what makes numbers inexact. Each counter is declared
//! once, in `declared`: the entry drives the account, its screen, JSON, the losses and the docs.

mod declared;

use serde::ser::{Serialize, SerializeMap, Serializer};
use syscost_common::{
    kind::is_io_uring,
    ledger::{COUNTERS, Counter},
};

use super::check::{self, Contradiction};
use crate::sample::{KindKey, KindSample, LedgerSample, Sample, SkippedRuns};
pub use declared::ENTRIES;

/// What an entry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A counter of the programs in the kernel; [`Counter::Matched`] is summed over the cells.
    Counter(Counter),
    /// All exits: no program counts them, so this is the sum of what they were.
    Exits,
    /// Calls that are open: what is left of the calls entered.
    InFlight,
    /// Calls that were being recorded while they were read.
    Recording,
    /// Program runs that the kernel skipped.
    ProgramMisses,
    /// Calls lost in counters that wrapped.
    Wrapped,
}

/// A sum that the account consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// What became of the calls entered.
    Enters,
    /// What the exits were.
    Exits,
}

/// What an entry is in a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The sum itself.
    Whole,
    /// One of the numbers that are added up.
    Part,
}

/// Where an entry stands in the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In these sums.
    Sums(&'static [(Sum, Sign)]),
    /// Within another entry, which counts the same calls.
    Within(Item),
    /// With the losses that are in no sum.
    Losses,
    /// With the counters about detail: groups, parts, sampling.
    Detail,
}

/// What makes numbers inexact where an entry is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The more serious, the lower: losses are listed in this order.
    pub rank: u8,
    /// What happened, after the number: `exits not seen`.
    pub text: &'static str,
}

/// The declaration of a counter.
#[derive(Debug)]
pub struct Entry {
    /// What it counts.
    pub item: Item,
    /// Its name in JSON.
    pub field: &'static str,
    /// Its label on the ledger screen.
    pub label: &'static str,
    /// What it counts, in plain words.
    pub meaning: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Whether it makes numbers inexact.
    pub loss: Option<Loss>,
}

impl Entry {
    /// What it is in `sum`; `None` where it is no part of it.
    pub fn sign_in(&self, sum: Sum) -> Option<Sign> {
        let Place::Sums(sums) = self.place else { return None };
        sums.iter().find(|(other, _)| *other == sum).map(|(_, sign)| *sign)
    }
}

/// The account of every event since the probes were attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    counters: [u64; COUNTERS],
    recording: u64,
    program_misses: SkippedRuns,
    wrapped: u64,
    /// What does not add up; empty unless something is wrong with the measurement itself.
    contradictions: Vec<Contradiction>,
}

/// A few calls that are being recorded may not be in the histograms yet. A counter that has wrapped is
/// 2^32 calls behind.
const WRAPPED: u64 = 1 << 31;

/// Why numbers are inexact.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// The field of the ledger that it comes from, or the name of the check that failed.
    pub kind: &'static str,
    /// How often it happened; `None` where that is not known, or not a number of events.
    pub count: Option<u64>,
    /// What happened, in a few words, for headers and notes.
    pub text: String,
}

impl Ledger {
    /// The account behind `sample`, for a window that begins with `before`, or with attaching.
    pub(super) fn new(sample: &Sample, before: Option<&Sample>) -> Self {
        let LedgerSample { mut counters, program_misses, .. } = sample.ledger;
        let recorded: u64 = sample.kinds.iter().map(KindSample::calls).sum();
        // The kernel side counts only the calls that a filter leaves out; the others have rows.
        counters[Counter::IoUringCalls as usize] += sample
            .kinds
            .iter()
            .filter(|kind| matches!(kind.key, KindKey::Call { nr, .. } if is_io_uring(nr)))
            .map(KindSample::calls)
            .sum::<u64>();
        let behind = counters[Counter::Matched as usize].saturating_sub(recorded);
        let mut ledger = Self {
            counters,
            // A call that was read in part is too little in the window before, and too much in this one.
            recording: check::recording(sample) + before.map_or(0, check::recording),
            program_misses,
            wrapped: if behind >= WRAPPED { behind } else { 0 },
            contradictions: Vec::new(),
        };
        // Without the calls that have wrapped, nothing adds up.
        if ledger.wrapped == 0 {
            ledger.contradictions = check::contradictions(sample, before, &ledger);
        }
        ledger
    }

    /// One of the kernel side's counters.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// The number of an entry; `None` where it is not known.
    pub fn get(&self, item: Item) -> Option<u64> {
        match item {
            Item::Counter(counter) => Some(self.counter(counter)),
            Item::Exits => Some(self.parts(Sum::Exits)),
            Item::InFlight => Some(self.in_flight()),
            Item::Recording => Some(self.recording),
            Item::ProgramMisses => self.program_misses.counted(),
            Item::Wrapped => Some(self.wrapped),
        }
    }

    /// Calls entered and still open when the sample was read.
    pub fn in_flight(&self) -> u64 {
        self.counter(Counter::Enters).saturating_sub(self.ended())
    }

    /// Calls entered of which it is known how they ended.
    pub(super) fn ended(&self) -> u64 {
        self.parts(Sum::Enters)
    }

    /// The parts of a sum that are counted by themselves.
    fn parts(&self, sum: Sum) -> u64 {
        let counted = |entry: &Entry| match entry.item {
            Item::Counter(counter) => self.counter(counter),
            // What is worked out from the others.
            _ => 0,
        };
        let parts = ENTRIES.iter().filter(|entry| entry.sign_in(sum) == Some(Sign::Part));
        parts.map(counted).sum()
    }

    /// The numbers that do not agree.
    pub fn contradictions(&self) -> &[Contradiction] {
        &self.contradictions
    }

    /// Everything that makes numbers inexact, the most serious first; empty when they are exact.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut losses: Vec<(Loss, &Entry)> =
            ENTRIES.iter().filter_map(|entry| Some((entry.loss?, entry))).collect();
        losses.sort_by_key(|(loss, _)| loss.rank);
        let contradictions = self.contradictions.iter().map(|contradiction| Reason {
            kind: contradiction.check,
            count: None,
            text: format!("the numbers contradict each other: {}", contradiction.text),
        });
        contradictions
            .chain(losses.into_iter().filter_map(|(loss, entry)| self.reason(loss, entry)))
            .collect()
    }

    fn reason(&self, loss: Loss, entry: &Entry) -> Option<Reason> {
        let unknown =
            entry.item == Item::ProgramMisses && self.program_misses == SkippedRuns::Unknown;
        if unknown {
            let text = "program runs that the kernel may have skipped: it did not tell how many";
            return Some(Reason { kind: entry.field, count: None, text: text.to_owned() });
        }
        // Where the kernel counts no skipped runs, it skips none.
        let count = self.get(entry.item).filter(|count| *count > 0)?;
        Some(Reason {
            kind: entry.field,
            count: Some(count),
            text: format!("{count} {}", loss.text),
        })
    }

    /// Whether some numbers may be too high as well as too low.
    pub fn guessed(&self) -> bool {
        self.counter(Counter::RestartsGuessed) > 0 || !self.contradictions.is_empty()
    }

    /// Whether every call of the target that was entered is accounted for in its own row.
    pub fn exact(&self) -> bool {
        self.reasons().is_empty()
    }
}

/// Its entries by their names, as declared.
impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(ENTRIES.len()))?;
        for entry in ENTRIES {
            map.serialize_entry(entry.field, &self.get(entry.item))?;
        }
        map.end()
    }
}
