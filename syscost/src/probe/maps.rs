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
    cpu::Cpu,
    filter::LEFT_OUT,
    group::{Group, Key, MAX_GROUPS},
    kind::{self, KINDS},
    ledger::COUNTERS,
    open_call::{MAX_OPEN_BY_TID, OpenCall},
    scope::MAX_TARGETS,
};

use super::fold::Folded;
use crate::sample::{KindKey, KindSample};

/// A view of all that the programs write.
pub(super) struct Maps {
    cells: Mapped<Cell>,
    slot_of_kind: Mapped<u32>,
    cpus: Mapped<Cpu>,
    folded: BTreeMap<u32, Folded>,
}

impl Maps {
    /// Maps the maps of a loaded object made for `cpus` possible CPUs.
    pub(super) fn open(ebpf: &Ebpf, cpus: u32) -> Result<Self> {
        Ok(Self {
            cells: Mapped::open(ebpf, "CELLS", cell::count(cpus))?,
            slot_of_kind: Mapped::open(ebpf, "SLOT_OF_KIND", KINDS)?,
            cpus: Mapped::open(ebpf, "CPUS", cpus)?,
            folded: BTreeMap::new(),
        })
    }

    /// What has been recorded of each syscall kind, as [`crate::sample::Sample::kinds`] wants it.
    pub(super) fn kinds(&mut self) -> Vec<KindSample> {
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
        let mut kinds: Vec<_> = found.into_iter().map(|(key, slot)| self.fold(key, slot)).collect();
        kinds.retain(|kind| kind.calls() > 0);
        kinds
    }

    fn fold(&mut self, key: KindKey, slot: u32) -> KindSample {
        let cells = &self.cells;
        let of_slot = (0..self.cpus.entries).map(|cpu| cells.read(cell::index(cpu, slot)));
        self.folded.entry(slot).or_default().advance(key, of_slot)
    }

    /// The ledger's counters, summed over all CPUs.
    pub(super) fn counters(&self) -> [u64; COUNTERS] {
        let mut sums = [0u64; COUNTERS];
        for cpu in self.cpus.iter() {
            for (sum, count) in sums.iter_mut().zip(cpu.ledger.counters) {
                // A CPU may have taken back what another one counted: its share may be below zero.
                *sum = sum.wrapping_add(count);
            }
        }
        sums
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

/// Kernel memory (bytes) that the maps take at most on a host with `cpus` possible CPUs, with
/// either kind of hooks. Task storage is not among it: some 250 bytes for each thread measured.
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
        array(size_of::<Cpu>(), cpus),
        // The queue of free slots.
        array(size_of::<u32>(), SLOTS + 1),
        hash(size_of::<u32>(), SLOTS.into()),
        // Of one entry where nothing is followed.
        hash(size_of::<u32>(), MAX_TARGETS.into()),
        // What only one kind of hooks has: open calls by tid, or groups, which take task storage.
        hash(size_of::<OpenCall>(), MAX_OPEN_BY_TID.into()).max(
            array(size_of::<Group>(), MAX_GROUPS)
                + hash(size_of::<Key>() + size_of::<u32>(), MAX_GROUPS.into())
                + array(size_of::<u32>(), MAX_GROUPS + 1)
                + 2 * HEADER,
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
