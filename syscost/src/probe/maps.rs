//! The mmap-ed maps: a snapshot reads kernel memory directly and makes no system call.

use std::{collections::BTreeMap, os::fd::AsFd, ptr};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use memmap2::{MmapOptions, MmapRaw};
use syscost_common::{
    cell::{self, Cell, OVERFLOW_SLOT},
    kind::{self, KINDS},
    ledger::{COUNTERS, Ledger},
};

use super::fold::Folded;
use crate::sample::{KindKey, KindSample};

/// A view of all that the programs write.
pub(super) struct Maps {
    cpus: u32,
    cells: Mapped<Cell>,
    slot_of_kind: Mapped<u32>,
    ledger: Mapped<Ledger>,
    folded: BTreeMap<u32, Folded>,
}

impl Maps {
    /// Maps the maps of a loaded object made for `cpus` possible CPUs.
    pub(super) fn open(ebpf: &Ebpf, cpus: u32) -> Result<Self> {
        Ok(Self {
            cpus,
            cells: Mapped::open(ebpf, "CELLS", cell::count(cpus))?,
            slot_of_kind: Mapped::open(ebpf, "SLOT_OF_KIND", KINDS)?,
            ledger: Mapped::open(ebpf, "LEDGER", cpus)?,
            folded: BTreeMap::new(),
        })
    }

    /// What has been recorded of each syscall kind, as [`crate::sample::Sample::kinds`] wants it.
    pub(super) fn kinds(&mut self) -> Vec<KindSample> {
        let mut found = Vec::new();
        for index in 0..KINDS {
            let slot = self.slot_of_kind.read(index);
            if slot != OVERFLOW_SLOT
                && let Some((abi, nr)) = kind::unpack(index)
            {
                found.push((KindKey::Call { abi, nr }, slot));
            }
        }
        found.push((KindKey::Overflow, OVERFLOW_SLOT));
        let mut kinds: Vec<_> = found.into_iter().map(|(key, slot)| self.fold(key, slot)).collect();
        kinds.retain(|kind| kind.calls() > 0);
        kinds
    }

    fn fold(&mut self, key: KindKey, slot: u32) -> KindSample {
        let cells = &self.cells;
        let of_slot = (0..self.cpus).map(|cpu| cells.read(cell::index(cpu, slot)));
        self.folded.entry(slot).or_default().advance(key, of_slot)
    }

    /// The ledger's counters, summed over all CPUs.
    pub(super) fn counters(&self) -> [u64; COUNTERS] {
        let mut sums = [0u64; COUNTERS];
        for cpu in 0..self.cpus {
            let ledger = self.ledger.read(cpu);
            for (sum, count) in sums.iter_mut().zip(ledger.counters) {
                *sum += count;
            }
        }
        sums
    }
}

/// A BPF array map in our address space, read-only.
struct Mapped<T> {
    memory: MmapRaw,
    entries: u32,
    stride: usize,
    of: std::marker::PhantomData<T>,
}

impl<T: Copy> Mapped<T> {
    fn open(ebpf: &Ebpf, name: &str, entries: u32) -> Result<Self> {
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

    fn read(&self, index: u32) -> T {
        assert!(index < self.entries, "index {index} of {}", self.entries);
        // SAFETY: the index is inside the mapping, whose values are laid out as `T` by the shared
        // declaration; any bytes are a valid `T` (integers only). The kernel writes concurrently,
        // one aligned word at a time, which is why the read is volatile.
        unsafe {
            ptr::read_volatile(self.memory.as_ptr().add(index as usize * self.stride).cast::<T>())
        }
    }
}

fn array_data(map: Option<&Map>) -> Option<&MapData> {
    match map? {
        Map::Array(data) => Some(data),
        _ => None,
    }
}
