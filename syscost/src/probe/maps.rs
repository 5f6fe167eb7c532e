//! The recorded calls and the ledger, read from mapped maps: a snapshot makes no system call.

use std::collections::BTreeMap;

use anyhow::Result;
use aya::Ebpf;
use syscost_common::{
    cell::OVERFLOW_SLOT,
    cpu_state::CpuState,
    filter::LEFT_OUT,
    kind::{self, KINDS},
    ledger::{COUNTERS, Counter},
};

use super::{cells::Cells, cpu_states::CPUS, fold::Folded, mapped::Mapped};
use crate::sample::{KindKey, KindSample};

/// The maps that a snapshot reads.
pub(super) struct Maps {
    cells: Cells,
    slot_of_kind: Mapped<u32>,
    cpus: Mapped<CpuState>,
    /// By slot: the sums so far, and the last reading of it.
    folded: BTreeMap<u32, (Folded, Option<Last>)>,
    /// The slots in use at the last reading.
    slots: Vec<u32>,
}

/// A complete reading of a slot: no call in it is recorded in part.
struct Last {
    begun: u64,
    kind: KindSample,
}

/// A reading of all syscall kinds.
pub(super) struct Kinds {
    /// As [`crate::sample::Sample::kinds`] wants them.
    pub(super) kinds: Vec<KindSample>,
    /// How many calls are in them, also those recorded in part.
    pub(super) recorded: u64,
    /// How many of these may be recorded in part, see [`crate::sample::LedgerSample::recording`].
    pub(super) unfinished: u64,
}

impl Maps {
    /// Maps the maps of `ebpf`, on a host with `cpus` possible CPUs.
    pub(super) fn open(ebpf: &Ebpf, cpus: u32) -> Result<Self> {
        Ok(Self {
            cells: Cells::open(ebpf, cpus)?,
            slot_of_kind: Mapped::open(ebpf, "SLOT_OF_KIND", KINDS)?,
            cpus: Mapped::open(ebpf, CPUS, cpus)?,
            folded: BTreeMap::new(),
            slots: Vec::new(),
        })
    }

    /// What has been recorded of each syscall kind.
    pub(super) fn kinds(&mut self) -> Kinds {
        let mut found = Vec::new();
        for index in 0..KINDS {
            let slot = self.slot_of_kind.read(index);
            if ![OVERFLOW_SLOT, LEFT_OUT].contains(&slot)
                && let Some((abi, nr)) = kind::unpack(index)
            {
                found.push((KindKey::Call { abi, nr }, slot));
            }
        }
        found.push((KindKey::Overflow, OVERFLOW_SLOT));
        self.slots = found.iter().map(|(_, slot)| *slot).collect();
        let mut all = Kinds { kinds: Vec::new(), recorded: 0, unfinished: 0 };
        for (key, slot) in found {
            let kind = self.fold(key, slot, &mut all);
            if kind.calls() > 0 {
                all.kinds.push(kind);
            }
        }
        all
    }

    /// Lets the next reading copy every slot, now that nothing is recorded any more. On a processor with weak memory
    /// ordering, `begun` may have counted a call whose other words were not visible yet.
    pub(super) fn read_anew(&mut self) {
        for (_, last) in self.folded.values_mut() {
            *last = None;
        }
    }

    fn fold(&mut self, key: KindKey, slot: u32, all: &mut Kinds) -> KindSample {
        let (folded, last) = self.folded.entry(slot).or_default();
        let cpus = 0..self.cpus.entries();
        let begun: u64 = cpus.clone().map(|cpu| self.cells.begun(cpu, slot)).sum();
        if let Some(last) = last.as_ref().filter(|last| last.begun == begun) {
            all.recorded += begun;
            return last.kind.clone();
        }
        let used = cpus.filter(|cpu| self.cells.begun(*cpu, slot) > 0);
        let copies: Vec<_> = used.map(|cpu| self.cells.read(cpu, slot)).collect();
        let unfinished: u64 = copies.iter().map(|copied| copied.unfinished).sum();
        let begun: u64 = copies.iter().map(|copied| copied.cell.begun).sum();
        all.recorded += begun;
        all.unfinished += unfinished;
        let kind = folded.advance(key, copies.iter().map(|copied| &copied.cell));
        *last = (unfinished == 0).then(|| Last { begun, kind: kind.clone() });
        kind
    }

    /// The ledger's counters, summed over all CPUs. `kinds`: the reading right before. Calls that were entered and
    /// recorded since then count as neither.
    pub(super) fn counters_with(&self, kinds: &Kinds) -> [u64; COUNTERS] {
        // Calls in flight are those entered and not recorded. So both numbers of a CPU are read at a moment without an
        // enter, if four tries find one.
        let (mut sums, mut recorded, mut still) = ([0u64; COUNTERS], 0u64, true);
        for cpu in 0..self.cpus.entries() {
            let enters = || self.cpus.read(cpu).ledger.counters[Counter::Enters as usize];
            let mut before = enters();
            for tries in 1.. {
                let begun: u64 = self.slots.iter().map(|slot| self.cells.begun(cpu, *slot)).sum();
                let counters = self.cpus.read(cpu).ledger.counters;
                let after = counters[Counter::Enters as usize];
                if before == after || tries == 4 {
                    still &= before == after;
                    add(&mut sums, &counters);
                    recorded = recorded.wrapping_add(begun);
                    break;
                }
                before = after;
            }
        }
        let since = recorded.wrapping_sub(kinds.recorded);
        let enters = &mut sums[Counter::Enters as usize];
        *enters = enters.wrapping_sub(since);
        if !still || since > 0 {
            // A call may have been entered on a CPU that was read already, and recorded on another that was not.
            let ended = [
                Counter::Filtered,
                Counter::EndedWithoutExit,
                Counter::Discarded,
                Counter::ExitsMissed,
            ];
            let ended: u64 = ended.iter().map(|counter| sums[*counter as usize]).sum();
            let enters = &mut sums[Counter::Enters as usize];
            *enters = (*enters).max(kinds.recorded + ended);
        }
        sums[Counter::Matched as usize] = kinds.recorded;
        // A CPU may have taken back what another CPU counted after that was read.
        sums.map(|sum| if (sum as i64) < 0 { 0 } else { sum })
    }

    /// A counter of the ledger, summed over all CPUs; not [`Counter::Matched`], which follows from the cells.
    pub(super) fn counter(&self, counter: Counter) -> u64 {
        let counts = self.cpus.iter().map(|cpu| cpu.ledger.counters[counter as usize]);
        counts.fold(0, u64::wrapping_add)
    }
}

/// Adds the counters of a CPU. One may be below zero: a CPU may take back what another CPU has counted.
fn add(sums: &mut [u64; COUNTERS], counters: &[u64; COUNTERS]) {
    for (sum, count) in sums.iter_mut().zip(counters) {
        *sum = sum.wrapping_add(*count);
    }
}
