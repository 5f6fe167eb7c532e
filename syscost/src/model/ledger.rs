//! The ledger: what became of every event, and whether the numbers are exact.

use syscost_common::ledger::Counter;

use crate::sample::{LedgerSample, SkippedRuns};

/// The account of every event since the probes were attached. Its fields are those of `ledger` in
/// JSON, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ledger {
    /// Calls entered.
    pub enters: u64,
    /// Exits seen, whatever became of them.
    pub exits: u64,
    /// Exits that closed a call and were recorded.
    pub matched: u64,
    /// Of those, calls that were being recorded when the sample was read, and may be in it in part.
    pub recording: u64,
    /// Calls entered and still open when the sample was read.
    pub in_flight: u64,
    /// Calls whose thread died inside them: exit, exit_group, killed.
    pub ended_without_exit: u64,
    /// Exits of calls that were open when the probes were attached.
    pub open_at_attach: u64,
    /// The child's side of fork, vfork and clone: exits of a call it never entered.
    pub newborn_exits: u64,
    /// Other exits without an enter, such as calls denied by seccomp.
    pub orphan_exits: u64,
    /// Exits by which signals took calls out of the kernel that had not returned by that.
    pub interrupted: u64,
    /// Enters by which the kernel took interrupted calls up again; they are not in `enters`.
    pub restarts: u64,
    /// Interrupted calls that were abandoned: a handler did not return to them. They are in `matched`.
    pub abandoned: u64,
    /// Interrupted calls whose end was guessed.
    pub restarts_guessed: u64,
    /// Finished calls that the filter on results leaves out.
    pub filtered: u64,
    /// Pairs with an impossible time.
    pub discarded: u64,
    /// Calls whose exit was never seen although their thread went on.
    pub exits_missed: u64,
    /// Calls recorded in the overflow row because all slots were taken.
    pub slots_full: u64,
    /// Calls not recorded because there was no room for their open call.
    pub open_calls_full: u64,
    /// Children that were not followed because there was no room for them.
    pub targets_full: u64,
    /// Dead threads whose calls are in no group of their own.
    pub groups_full: u64,
    /// Times a thread went on after waiting although its wake-up was not seen.
    pub wakeups_missed: u64,
    /// Calls of io_uring's: its operations make none, and are not visible.
    pub io_uring_calls: u64,
    /// Stretches of CPU time whose begin or end was not seen: they are not in the CPU time.
    pub slices_missed: u64,
    /// Calls of which it is not known what their latency consists of, though that was to be measured.
    pub unparted: u64,
    /// Calls that were measured in place of several, where calls were sampled.
    pub sampled: u64,
    /// Calls that those stand for beside themselves, and that are in `matched` for it.
    pub stood_for: u64,
    /// Calls that were not measured because another one stands for them.
    pub sampled_out: u64,
    /// Program runs that the kernel skipped.
    #[serde(serialize_with = "counted")]
    pub program_misses: SkippedRuns,
    /// Calls whose bucket counters wrapped before they were read: nobody looked for too long.
    pub wrapped: u64,
}

/// The number of skipped runs, or nothing where it is not known.
fn counted<S: serde::Serializer>(misses: &SkippedRuns, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&misses.counted(), serializer)
}

/// A few calls that are being recorded may not be in the histograms yet. A counter that has wrapped is 2^32
/// calls behind.
const WRAPPED: u64 = 1 << 31;

/// A reason why numbers are lower bounds or shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The kernel skipped program runs.
    ProgramMisses(u64),
    /// The kernel may have skipped program runs, and did not tell.
    ProgramMissesUnknown,
    /// Exits were not seen.
    ExitsMissed(u64),
    /// Pairs had an impossible time.
    Discarded(u64),
    /// No room for a thread's open call.
    OpenCallsFull(u64),
    /// Calls of several kinds share a row.
    SlotsFull(u64),
    /// Nobody looked for so long that counters wrapped.
    Wrapped(u64),
    /// The ends of interrupted calls were guessed: each may count as one call too many, or without
    /// its EINTR.
    RestartsGuessed(u64),
    /// Children were not followed.
    TargetsFull(u64),
    /// Calls were being recorded all the time while they were read. The next reading has all of them.
    Recording(u64),
}

impl Loss {
    /// What happened, in a few words, for headers and notes.
    pub fn describe(self) -> String {
        match self {
            Self::ProgramMisses(n) => format!("{n} program runs skipped by the kernel"),
            Self::ProgramMissesUnknown => {
                "program runs that the kernel may have skipped: it did not tell how many".to_owned()
            }
            Self::ExitsMissed(n) => format!("{n} exits not seen"),
            Self::Discarded(n) => format!("{n} pairs discarded"),
            Self::OpenCallsFull(n) => format!("{n} calls without room to be opened"),
            Self::SlotsFull(n) => format!("{n} calls share the row \"(other)\""),
            Self::Wrapped(n) => format!("{n} calls gone in counters that wrapped"),
            Self::RestartsGuessed(n) => {
                format!("{n} ends of interrupted calls guessed")
            }
            Self::Recording(n) => format!("{n} calls read while they were being recorded"),
            Self::TargetsFull(n) => {
                format!("{n} children not followed: no room for them, or hidden by /proc (hidepid)")
            }
        }
    }
}

impl Ledger {
    /// The account behind a sample whose histograms hold `recorded` calls.
    pub(super) fn new(sample: &LedgerSample, recorded: u64) -> Self {
        let get = |counter: Counter| sample.counters[counter as usize];
        let enters = get(Counter::Enters);
        let matched = get(Counter::Matched);
        let ended_without_exit = get(Counter::EndedWithoutExit);
        let open_at_attach = get(Counter::OpenAtAttach);
        let newborn_exits = get(Counter::NewbornExits);
        let orphan_exits = get(Counter::OrphanExits);
        let discarded = get(Counter::Discarded);
        let interrupted = get(Counter::Interrupted);
        let exits_missed = get(Counter::ExitsMissed);
        let filtered = get(Counter::Filtered);
        Self {
            enters,
            exits: matched
                + open_at_attach
                + newborn_exits
                + orphan_exits
                + discarded
                + interrupted
                + filtered,
            matched,
            recording: sample.recording,
            in_flight: enters
                .saturating_sub(matched + filtered + ended_without_exit + discarded + exits_missed),
            ended_without_exit,
            open_at_attach,
            newborn_exits,
            orphan_exits,
            interrupted,
            restarts: get(Counter::Restarts),
            abandoned: get(Counter::Abandoned),
            restarts_guessed: get(Counter::RestartsGuessed),
            filtered,
            discarded,
            exits_missed,
            slots_full: get(Counter::SlotsFull),
            open_calls_full: get(Counter::OpenCallsFull),
            targets_full: get(Counter::TargetsFull),
            groups_full: get(Counter::GroupsFull),
            wakeups_missed: get(Counter::WakeupsMissed),
            io_uring_calls: get(Counter::IoUringCalls),
            slices_missed: get(Counter::SlicesMissed),
            unparted: get(Counter::Unparted),
            sampled: get(Counter::Sampled),
            stood_for: get(Counter::StoodFor),
            sampled_out: get(Counter::SampledOut),
            program_misses: sample.program_misses,
            wrapped: Some(matched.saturating_sub(recorded)).filter(|n| *n >= WRAPPED).unwrap_or(0),
        }
    }

    /// Everything that makes numbers inexact; empty when they are exact.
    pub fn losses(&self) -> Vec<Loss> {
        [
            match self.program_misses {
                SkippedRuns::Unknown => Loss::ProgramMissesUnknown,
                // None could be: see there.
                SkippedRuns::NotCounted => Loss::ProgramMisses(0),
                SkippedRuns::Counted(n) => Loss::ProgramMisses(n),
            },
            Loss::ExitsMissed(self.exits_missed),
            Loss::Discarded(self.discarded),
            Loss::OpenCallsFull(self.open_calls_full),
            Loss::SlotsFull(self.slots_full),
            Loss::Wrapped(self.wrapped),
            Loss::RestartsGuessed(self.restarts_guessed),
            Loss::TargetsFull(self.targets_full),
            Loss::Recording(self.recording),
        ]
        .into_iter()
        .filter(|loss| match loss {
            Loss::ProgramMissesUnknown => true,
            Loss::ProgramMisses(n)
            | Loss::ExitsMissed(n)
            | Loss::Discarded(n)
            | Loss::OpenCallsFull(n)
            | Loss::SlotsFull(n)
            | Loss::Wrapped(n)
            | Loss::RestartsGuessed(n)
            | Loss::Recording(n)
            | Loss::TargetsFull(n) => *n > 0,
        })
        .collect()
    }

    /// Whether some numbers may be too high as well as too low.
    pub fn guessed(&self) -> bool {
        self.restarts_guessed > 0
    }

    /// Whether every call of the target that was entered is accounted for in its own row.
    pub fn exact(&self) -> bool {
        self.losses().is_empty()
    }
}
