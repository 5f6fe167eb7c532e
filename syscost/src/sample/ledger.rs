//! The ledger: what became of every event that the programs saw.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use syscost_common::ledger::{COUNTERS, Counter};

/// The ledger's counters since attach, added up over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSample {
    /// Indexed by [`Counter`].
    #[serde(with = "by_name")]
    pub counters: [u64; COUNTERS],
    /// Calls that were still being recorded after every attempt to read their syscall whole. Their number, latency,
    /// parts and errno may not all be in this sample, but will be in the next. Nearly always 0.
    pub recording: u64,
    /// Program runs that the kernel skipped (`recursion_misses`), added up over all our programs.
    pub program_misses: SkippedRuns,
}

/// How many program runs the kernel skipped, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkippedRuns {
    /// The kernel has no such count. Kernels before 5.12 have none and skip none: their raw tracepoints have no guard
    /// against recursion.
    #[default]
    NotCounted,
    /// The kernel counts them but refused to say how many: some may have been skipped.
    Unknown,
    /// This many.
    Counted(u64),
}

impl SkippedRuns {
    /// The number, where it is known.
    pub fn counted(self) -> Option<u64> {
        match self {
            Self::Counted(n) => Some(n),
            Self::NotCounted | Self::Unknown => None,
        }
    }

    /// The sum for two programs; unknown if either is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Counted(one), Self::Counted(other)) => Self::Counted(one + other),
            (Self::NotCounted, known) | (known, Self::NotCounted) => known,
        }
    }
}

/// Names every counter once, for both directions. A counter without a name here does not compile.
macro_rules! names {
    ($($counter:ident $name:literal,)*) => {
        fn name(counter: Counter) -> &'static str {
            match counter {
                $(Counter::$counter => $name,)*
            }
        }

        pub(super) const ALL: &[Counter] = &[$(Counter::$counter,)*];
    };
}

names! {
    Enters "enters",
    Matched "matched",
    OrphanExits "orphan_exits",
    OpenAtAttach "open_at_attach",
    NewbornExits "newborn_exits",
    Discarded "discarded",
    ExitsMissed "exits_missed",
    EndedWithoutExit "ended_without_exit",
    SlotsFull "slots_full",
    OpenCallsFull "open_calls_full",
    Interrupted "interrupted",
    Restarts "restarts",
    RestartsGuessed "restarts_guessed",
    Filtered "filtered",
    TargetsFull "targets_full",
    GroupsFull "groups_full",
    WakeupsMissed "wakeups_missed",
    Sampled "sampled",
    SampledOut "sampled_out",
    StoodFor "stood_for",
    Unparted "unparted",
    Abandoned "abandoned",
    GroupMovesBegun "group_moves_begun",
    GroupMovesDone "group_moves_done",
    IoUringCalls "io_uring_calls",
    SlicesMissed "slices_missed",
}

/// The counter of this name.
pub(crate) fn counter_named(named: &str) -> Option<Counter> {
    ALL.iter().copied().find(|counter| name(*counter) == named)
}

/// Counters by name, without the zeros: their numbers may change with the kernel side.
mod by_name {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        counters: &[u64; COUNTERS],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let counted = ALL.iter().map(|counter| (name(*counter), counters[*counter as usize]));
        let named: BTreeMap<_, _> = counted.filter(|(_, count)| *count > 0).collect();
        serializer.collect_map(named)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u64; COUNTERS], D::Error> {
        let mut counters = [0; COUNTERS];
        for (named, count) in BTreeMap::<String, u64>::deserialize(deserializer)? {
            // Left out, it could hide a loss.
            let counter = counter_named(&named)
                .ok_or_else(|| D::Error::custom(format!("{named}: no such ledger counter")))?;
            counters[counter as usize] = count;
        }
        Ok(counters)
    }
}
