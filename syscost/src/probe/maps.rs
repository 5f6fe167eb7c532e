//! The mmap-ed maps: a snapshot reads kernel memory directly and makes no system call.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd, AsRawFd},
    ptr,
};

use anyhow::{Context, Result, bail};
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use memmap2::{MmapOptions, MmapRaw};
use syscost_common::{
    cell::{self, Cell, OVERFLOW_SLOT, SLOTS},
    cpu_state::CpuState,
    filter::LEFT_OUT,
    group::{DEATHS, Death, Group, Key, MAX_GROUPS},
    interrupted::{InterruptedCalls, MAX_INTERRUPTED_BY_TID},
    kind::{self, KINDS},
    ledger::{COUNTERS, Counter},
    scope::{MAX_TARGETS, TargetState},
    thread_state::{MAX_THREADS_BY_TID, ThreadState},
};

use super::{cells::Cells, fold::Folded};
use crate::sample::{KindKey, KindSample};

/// A view of all that the programs write.
pub(super) struct Maps {
    cells: Cells,
    slot_of_kind: Mapped<u32>,
    cpus: Mapped<CpuState>,
    /// What was read of each slot last, and how many calls had begun to be recorded then.
    folded: BTreeMap<u32, (Folded, Option<Last>)>,
    /// The slots in use at the last reading.
    slots: Vec<u32>,
}

/// A slot that was read with all of each call.
struct Last {
    begun: u64,
    kind: KindSample,
}

/// What was read of all syscall kinds.
pub(super) struct Kinds {
    /// As [`crate::sample::Sample::kinds`] wants them.
    pub(super) kinds: Vec<KindSample>,
    /// How many calls are in them, those in part included.
    pub(super) recorded: u64,
    /// How many of these may be there in part, see [`crate::sample::LedgerSample::recording`].
    pub(super) unfinished: u64,
}

impl Maps {
    /// Maps the maps of a loaded object made for `cpus` possible CPUs.
    pub(super) fn open(ebpf: &Ebpf, cpus: u32) -> Result<Self> {
        Ok(Self {
            cells: Cells::open(ebpf, cpus)?,
            slot_of_kind: Mapped::open(ebpf, "SLOT_OF_KIND", KINDS)?,
            cpus: Mapped::open(ebpf, "CPUS", cpus)?,
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

    /// Reads all of it anew the next time: nothing is recorded any more. A processor that orders its writes
    /// loosely may have shown a call in `begun` before the rest of it.
    pub(super) fn read_anew(&mut self) {
        for (_, last) in self.folded.values_mut() {
            *last = None;
        }
    }

    fn fold(&mut self, key: KindKey, slot: u32, all: &mut Kinds) -> KindSample {
        let (folded, last) = self.folded.entry(slot).or_default();
        let cpus = 0..self.cpus.entries;
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

    /// The ledger's counters, summed over all CPUs. `kinds`: what was read right before. Calls that came
    /// and went since are not counted as entered, nor as recorded.
    pub(super) fn counters_with(&self, kinds: &Kinds) -> [u64; COUNTERS] {
        // Those in flight are what has been entered and not recorded; on each CPU, both are read at the same
        // moment where there is one.
        let (mut sums, mut recorded, mut still) = ([0u64; COUNTERS], 0u64, true);
        for cpu in 0..self.cpus.entries {
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
            // One may have been entered on a CPU that had been read and recorded on one that had not.
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
        // One CPU may take back what another one has counted since that was read.
        sums.map(|sum| if (sum as i64) < 0 { 0 } else { sum })
    }

    /// One of the ledger's counters, summed over all CPUs; not [`Counter::Matched`].
    pub(super) fn counter(&self, counter: Counter) -> u64 {
        let counts = self.cpus.iter().map(|cpu| cpu.ledger.counters[counter as usize]);
        counts.fold(0, u64::wrapping_add)
    }
}

/// Adds the counters of a CPU. It may have taken back what another one counted: its share may be below zero.
fn add(sums: &mut [u64; COUNTERS], counters: &[u64; COUNTERS]) {
    for (sum, count) in sums.iter_mut().zip(counters) {
        *sum = sum.wrapping_add(*count);
    }
}

/// A BPF array map in our address space, read-only.
pub(super) struct Mapped<T> {
    memory: MmapRaw,
    entries: u32,
    stride: usize,
    of: std::marker::PhantomData<T>,
}

impl<T: Copy> Mapped<T> {
    /// The map `name`, which has `entries` entries.
    pub(super) fn open(ebpf: &Ebpf, name: &str, entries: u32) -> Result<Self> {
        let map =
            array_data(ebpf.map(name)).with_context(|| format!("object has no map {name}"))?;
        // The kernel rounds each value of an array up to 8 bytes (array_map_alloc).
        let stride = size_of::<T>().next_multiple_of(8);
        let memory = MmapOptions::new()
            .len(stride * entries as usize)
            .map_raw_read_only(&map.fd().as_fd())
            .with_context(|| format!("cannot map {name} into memory"))?;
        Ok(Self { memory, entries, stride, of: std::marker::PhantomData })
    }

    /// All entries, each as it is when its turn comes.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.entries).map(|index| self.read(index))
    }

    /// How many there are.
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// The entry `index` as it is now.
    pub(super) fn read(&self, index: u32) -> T {
        // SAFETY: any bytes are a valid `T` (integers only). The kernel writes concurrently, one aligned
        // word at a time, which is why the read is volatile.
        unsafe { ptr::read_volatile(self.place(index)) }
    }

    /// Where the entry `index` is, which the kernel may be writing.
    pub(super) fn place(&self, index: u32) -> *const T {
        assert!(index < self.entries, "index {index} of {}", self.entries);
        // SAFETY: the index is inside the mapping, whose values are laid out as `T` by the shared
        // declaration.
        unsafe { self.memory.as_ptr().add(index as usize * self.stride).cast::<T>() }
    }
}

/// Kernel memory (bytes) that the maps take at most on a host with `cpus` possible CPUs, with
/// either kind of hooks. Task storage is not among it: some 200 bytes for each thread measured, and 650
/// more for one that a signal has interrupted in a call.
pub fn map_bytes_at_most(cpus: u32) -> u64 {
    const PAGE: u64 = 4096;
    /// Bookkeeping of a map itself (`struct bpf_array` and the like).
    const HEADER: u64 = 1024;
    let array = |value: usize, entries: u32| {
        let values = value.next_multiple_of(8) as u64 * u64::from(entries);
        values.next_multiple_of(PAGE) + PAGE
    };
    // An element's header, key and value, a bucket of its own, and free lists and locks per CPU
    // (kernel/bpf/hashtab.c).
    let hash = |value: usize, entries: u64| {
        (entries + u64::from(cpus)) * (48 + 8 + value.next_multiple_of(8) as u64)
            + entries.next_power_of_two() * 16
            + u64::from(cpus) * 256
    };
    let maps = [
        array(size_of::<Cell>(), cell::count(cpus)),
        array(size_of::<u32>(), KINDS),
        array(size_of::<CpuState>(), cpus),
        // The queue of free slots.
        array(size_of::<u32>(), SLOTS + 1),
        array(size_of::<u32>(), 1),
        hash(size_of::<u32>(), SLOTS.into()),
        // Of one entry where nothing is followed.
        hash(size_of::<u32>(), MAX_TARGETS.into()),
        array(size_of::<TargetState>(), 1),
        // What only one kind of hooks has: threads by tid, or groups, which take task storage.
        (hash(size_of::<ThreadState>(), MAX_THREADS_BY_TID.into())
            + hash(size_of::<InterruptedCalls>(), MAX_INTERRUPTED_BY_TID.into())
            + array(size_of::<InterruptedCalls>(), 1)
            + 2 * HEADER)
            .max(
                array(size_of::<Group>(), MAX_GROUPS)
                    + hash(size_of::<Key>() + size_of::<u32>(), MAX_GROUPS.into())
                    + array(size_of::<u32>(), MAX_GROUPS + 1)
                    + array(size_of::<Death>(), DEATHS)
                    + array(size_of::<u64>(), 1)
                    + 4 * HEADER,
            ),
        // The globals, and the ring of diagnostics with its two pages of positions.
        2 * PAGE,
        4 * PAGE,
    ];
    maps.iter().map(|bytes| bytes + HEADER).sum()
}

/// What the kernel says the maps of a loaded object take, bytes.
pub(super) fn accounted_bytes(ebpf: &Ebpf) -> Result<u64> {
    let mut bytes = 0;
    for (name, map) in ebpf.maps() {
        let data = match map {
            Map::Array(data)
            | Map::HashMap(data)
            | Map::Queue(data)
            | Map::RingBuf(data)
            | Map::Unsupported(data) => data,
            _ => bail!("map {name} is of a type that nobody thought of"),
        };
        let path = format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd());
        let info = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let memlock = info.lines().find_map(|line| line.strip_prefix("memlock:"));
        bytes += memlock
            .and_then(|bytes| bytes.trim().parse::<u64>().ok())
            .with_context(|| format!("{path} says nothing of memory"))?;
    }
    Ok(bytes)
}

pub(super) fn array_data(map: Option<&Map>) -> Option<&MapData> {
    match map? {
        Map::Array(data) => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_128_cpus_needs_at_most_96_mib_of_maps() {
        for cpus in 1..=128 {
            let bytes = map_bytes_at_most(cpus);
            assert!(bytes <= 96 << 20, "{bytes} bytes for {cpus} CPUs");
        }
        // And a host of two hardly anything.
        assert!(map_bytes_at_most(2) <= 8 << 20);
    }
}
