//! The ledger: what became of every event, and whether the numbers are exact.

use syscost_common::ledger::Counter;

use crate::sample::LedgerSample;

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
    /// Interrupted calls of which it is not certain that they failed with EINTR.
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
    /// Calls of which it is not known what their latency consists of, though that was to be measured.
    pub unparted: u64,
    /// Calls that were measured in place of several, where calls were sampled.
    pub sampled: u64,
    /// Calls that were not measured because another one stands for them.
    pub sampled_out: u64,
    /// Program runs that the kernel skipped; `None` where it does not count them.
    pub program_misses: Option<u64>,
    /// Calls whose bucket counters wrapped before they were read: nobody looked for too long.
    pub wrapped: u64,
}

/// The ledger is read after the histograms, so that a few calls may be in the one and not yet in
/// the others. A counter that has wrapped is 2^32 calls behind.
const WRAPPED: u64 = 1 << 31;

/// A reason why numbers are lower bounds or shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The kernel skipped program runs.
    ProgramMisses(u64),
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
    /// Calls interrupted inside a signal handler may have been counted twice.
    RestartsGuessed(u64),
    /// Children were not followed.
    TargetsFull(u64),
    /// Dead threads share a group.
    GroupsFull(u64),
}

impl Loss {
    /// What happened, in a few words, for headers and notes.
    pub fn describe(self) -> String {
        match self {
            Self::ProgramMisses(n) => format!("{n} program runs skipped by the kernel"),
            Self::ExitsMissed(n) => format!("{n} exits not seen"),
            Self::Discarded(n) => format!("{n} pairs discarded"),
            Self::OpenCallsFull(n) => format!("{n} calls without room to be opened"),
            Self::SlotsFull(n) => format!("{n} calls share the row \"(other)\""),
            Self::Wrapped(n) => format!("{n} calls gone in counters that wrapped"),
            Self::RestartsGuessed(n) => {
                format!("{n} calls interrupted twice over may count as two")
            }
            Self::TargetsFull(n) => format!("{n} children not followed for want of room"),
            Self::GroupsFull(n) => format!("{n} dead threads share the group \"(other)\""),
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
            in_flight: enters
                .saturating_sub(matched + filtered + ended_without_exit + discarded + exits_missed),
            ended_without_exit,
            open_at_attach,
            newborn_exits,
            orphan_exits,
            interrupted,
            restarts: get(Counter::Restarts),
            restarts_guessed: get(Counter::RestartsGuessed),
            filtered,
            discarded,
            exits_missed,
            slots_full: get(Counter::SlotsFull),
            open_calls_full: get(Counter::OpenCallsFull),
            targets_full: get(Counter::TargetsFull),
            groups_full: get(Counter::GroupsFull),
            wakeups_missed: get(Counter::WakeupsMissed),
            unparted: get(Counter::Unparted),
            sampled: get(Counter::Sampled),
            sampled_out: get(Counter::SampledOut),
            program_misses: sample.program_misses,
            wrapped: Some(matched.saturating_sub(recorded)).filter(|n| *n >= WRAPPED).unwrap_or(0),
        }
    }

    /// Everything that makes numbers inexact; empty when they are exact.
    pub fn losses(&self) -> Vec<Loss> {
        [
            Loss::ProgramMisses(self.program_misses.unwrap_or(0)),
            Loss::ExitsMissed(self.exits_missed),
            Loss::Discarded(self.discarded),
            Loss::OpenCallsFull(self.open_calls_full),
            Loss::SlotsFull(self.slots_full),
            Loss::Wrapped(self.wrapped),
            Loss::RestartsGuessed(self.restarts_guessed),
            Loss::TargetsFull(self.targets_full),
            Loss::GroupsFull(self.groups_full),
        ]
        .into_iter()
        .filter(|loss| match loss {
            Loss::ProgramMisses(n)
            | Loss::ExitsMissed(n)
            | Loss::Discarded(n)
            | Loss::OpenCallsFull(n)
            | Loss::SlotsFull(n)
            | Loss::Wrapped(n)
            | Loss::RestartsGuessed(n)
            | Loss::TargetsFull(n)
            | Loss::GroupsFull(n) => *n > 0,
        })
        .collect()
    }

    /// Whether every call of the target that was entered is accounted for in its own row.
    pub fn exact(&self) -> bool {
        self.losses().is_empty()
    }
}
