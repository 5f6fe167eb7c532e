//! The declarations of all counters of the ledger.

use syscost_common::ledger::Counter;

use super::{
    Entry, Item, Loss,
    Place::{Detail, Losses, Sums, Within},
    Sign::{Part, Whole},
    Sum::{Enters, Exits},
};

/// Every counter, in the order of the ledger screen.
pub static ENTRIES: &[Entry] = &[
    Entry {
        item: Item::Counter(Counter::Enters),
        field: "enters",
        label: "entered",
        meaning: "calls into the kernel",
        place: Sums(&[(Enters, Whole)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::Matched),
        field: "matched",
        label: "recorded",
        meaning: "calls that finished, and are counted in their row",
        place: Sums(&[(Enters, Part), (Exits, Part)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::Abandoned),
        field: "abandoned",
        label: "abandoned",
        meaning: "interrupted calls that their signal handler did not return to",
        place: Within(Item::Counter(Counter::Matched)),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::Filtered),
        field: "filtered",
        label: "filtered",
        meaning: "calls that finished, but are left out by --failed or --errno",
        place: Sums(&[(Enters, Part), (Exits, Part)]),
        loss: None,
    },
    Entry {
        item: Item::InFlight,
        field: "in_flight",
        label: "in flight",
        meaning: "calls that have not finished yet",
        place: Sums(&[(Enters, Part)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::EndedWithoutExit),
        field: "ended_without_exit",
        label: "ended without exit",
        meaning: "calls whose thread ended in them: exit, or killed",
        place: Sums(&[(Enters, Part)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::ExitsMissed),
        field: "exits_missed",
        label: "exit missed",
        meaning: "calls whose exit was not seen, although their thread went on",
        place: Sums(&[(Enters, Part)]),
        loss: Some(Loss { rank: 2, text: "exits not seen" }),
    },
    Entry {
        item: Item::Counter(Counter::Discarded),
        field: "discarded",
        label: "discarded",
        meaning: "calls that, by the clock, ended before they began",
        place: Sums(&[(Enters, Part), (Exits, Part)]),
        loss: Some(Loss { rank: 3, text: "pairs discarded" }),
    },
    Entry {
        item: Item::Exits,
        field: "exits",
        label: "exits",
        meaning: "returns from the kernel",
        place: Sums(&[(Exits, Whole)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::OpenAtAttach),
        field: "open_at_attach",
        label: "open at attach",
        meaning: "exits of calls that began before tracing, or before their thread was measured",
        place: Sums(&[(Exits, Part)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::NewbornExits),
        field: "newborn_exits",
        label: "in new children",
        meaning: "exits in new threads: fork, vfork and clone return there as well",
        place: Sums(&[(Exits, Part)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::OrphanExits),
        field: "orphan_exits",
        label: "refused before",
        meaning: "exits of calls that seccomp or a tracer did not let in",
        place: Sums(&[(Exits, Part)]),
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::Interrupted),
        field: "interrupted",
        label: "interrupted",
        meaning: "exits by which a signal interrupts a call, which may go on afterwards",
        place: Sums(&[(Exits, Part)]),
        loss: None,
    },
    Entry {
        item: Item::ProgramMisses,
        field: "program_misses",
        label: "program runs skipped",
        meaning: "by the kernel, which counts them since Linux 5.12",
        place: Losses,
        loss: Some(Loss { rank: 1, text: "program runs skipped by the kernel" }),
    },
    Entry {
        item: Item::Counter(Counter::OpenCallsFull),
        field: "open_calls_full",
        label: "no room to open",
        meaning: "calls in no row: there was no memory for the open call",
        place: Losses,
        loss: Some(Loss { rank: 4, text: "calls without room to be opened" }),
    },
    Entry {
        item: Item::Counter(Counter::SlotsFull),
        field: "slots_full",
        label: "shared row",
        meaning: "calls in the row (other): all other rows were taken",
        place: Losses,
        loss: Some(Loss { rank: 5, text: "calls share the row \"(other)\"" }),
    },
    Entry {
        item: Item::Counter(Counter::RestartsGuessed),
        field: "restarts_guessed",
        label: "ends guessed",
        meaning: "interrupted calls whose begin or end was guessed: each may be one call too many, or \
                  lack its EINTR",
        place: Losses,
        loss: Some(Loss { rank: 7, text: "ends of interrupted calls guessed" }),
    },
    Entry {
        item: Item::Counter(Counter::TargetsFull),
        field: "targets_full",
        label: "not followed",
        meaning: "children: there was no room for more processes, or /proc hides them",
        place: Losses,
        loss: Some(Loss {
            rank: 8,
            text: "children not followed: no room for them, or hidden by /proc (hidepid)",
        }),
    },
    Entry {
        item: Item::Recording,
        field: "recording",
        label: "read in part",
        meaning: "calls that were being recorded while they were read; the next reading has all of \
                  them",
        place: Losses,
        loss: Some(Loss { rank: 9, text: "calls read while they were being recorded" }),
    },
    Entry {
        item: Item::Wrapped,
        field: "wrapped",
        label: "wrapped",
        meaning: "calls lost in 32-bit counters that were not read for too long",
        place: Losses,
        loss: Some(Loss { rank: 6, text: "calls gone in counters that wrapped" }),
    },
    Entry {
        item: Item::Counter(Counter::Restarts),
        field: "restarts",
        label: "restarts",
        meaning: "times the kernel went on with an interrupted call: no new calls",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::GroupsFull),
        field: "groups_full",
        label: "shared group",
        meaning: "ended threads whose calls are in the group (other)",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::Unparted),
        field: "unparted",
        label: "parts unknown",
        meaning: "calls: not all context switches were seen",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::WakeupsMissed),
        field: "wakeups_missed",
        label: "wake-ups not seen",
        meaning: "waits whose time in the run queue may count as blocked",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::IoUringCalls),
        field: "io_uring_calls",
        label: "io_uring",
        meaning: "its calls; the operations that they start make no calls and are in no row",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::SlicesMissed),
        field: "slices_missed",
        label: "CPU time not seen",
        meaning: "times on a CPU that are not in the CPU time of the target",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::Sampled),
        field: "sampled",
        label: "sampled",
        meaning: "calls measured in place of several",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::StoodFor),
        field: "stood_for",
        label: "stood for",
        meaning: "calls that the sampled ones count for, besides themselves",
        place: Detail,
        loss: None,
    },
    Entry {
        item: Item::Counter(Counter::SampledOut),
        field: "sampled_out",
        label: "sampled out",
        meaning: "calls not measured: another one counts for them",
        place: Detail,
        loss: None,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use syscost_common::ledger::COUNTERS;

    use super::{super::Sum, *};

    const DOCS: &str = include_str!("../../../../docs/stat-json.md");

    /// The counters that are no part of the account: they tell when totals of threads may be read.
    const OTHERS: [Counter; 2] = [Counter::GroupMovesBegun, Counter::GroupMovesDone];

    #[test]
    fn every_counter_with_a_name_is_declared_once() {
        let mut declared: Vec<usize> = OTHERS.map(|counter| counter as usize).to_vec();
        let mut names = HashSet::new();
        for entry in ENTRIES {
            assert!(
                names.insert(entry.field) && names.insert(entry.label)
                    || entry.field == entry.label
            );
            if let Item::Counter(counter) = entry.item {
                declared.push(counter as usize);
            }
        }
        declared.sort_unstable();
        // 16, 22, 24 and 27 have no name yet.
        let named = (0..COUNTERS).filter(|number| ![16, 22, 24, 27].contains(number));
        assert!(declared.iter().copied().eq(named), "{declared:?}");
        let mut ranks: Vec<u8> =
            ENTRIES.iter().filter_map(|entry| Some(entry.loss?.rank)).collect();
        ranks.sort_unstable();
        assert!(ranks.iter().copied().eq(1..=ranks.len() as u8), "{ranks:?}");
    }

    #[test]
    fn the_docs_have_every_counter_and_both_sums() {
        let sum = |sum: Sum| {
            let with = |sign| {
                let fields = ENTRIES.iter().filter(move |entry| entry.sign_in(sum) == Some(sign));
                fields.map(|entry| format!("`{}`", entry.field)).collect::<Vec<_>>().join(" + ")
            };
            format!("- {} = {}\n", with(Whole), with(Part))
        };
        let rows = ENTRIES.iter().map(|entry| {
            let loss = if entry.loss.is_some() { "yes" } else { "" };
            format!("| `{}` | {} | {} | {loss} |\n", entry.field, entry.label, entry.meaning)
        });
        let table = "| field | on the ledger screen | meaning | a loss |\n|---|---|---|---|\n";
        for text in [sum(Enters) + &sum(Exits), table.to_owned() + &rows.collect::<String>()] {
            assert!(DOCS.contains(&format!("\n{text}\n")), "docs/stat-json.md needs this:\n{text}");
        }
    }
}
