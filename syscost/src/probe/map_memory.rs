//! How much kernel memory the maps take.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

use anyhow::{Context, Result, bail};
use aya::{Ebpf, maps::Map};
use syscost_common::{
    cell::{self, Cell, SLOTS},
    cpu_state::CpuState,
    group::{DEATHS, Death, Group, Key, MAX_GROUPS},
    interrupted::{InterruptedCalls, MAX_INTERRUPTED_BY_TID},
    kind::KINDS,
    scope::{MAX_TARGETS, TargetState},
    thread_state::{MAX_THREADS_BY_TID, ThreadState},
};

/// Kernel memory, bytes, that the maps take at most on a host with `cpus` possible CPUs, with any hooks. Task storage
/// is extra: some 200 bytes for each measured thread, and 650 more if a signal has interrupted a call of it.
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
        array(size_of::<CpuState>(), super::cpu_states::room_for(cpus)),
        // The queue of free slots.
        array(size_of::<u32>(), SLOTS + 1),
        array(size_of::<u32>(), 1),
        hash(size_of::<u32>(), SLOTS.into()),
        // Forks. One entry where no children are followed.
        hash(size_of::<u32>(), MAX_TARGETS.into()),
        array(size_of::<TargetState>(), 1),
        // Either the states of threads by tid (raw hooks), or groups, which need task storage.
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

/// Kernel memory, bytes, of the maps of a loaded object, as the kernel says.
pub(super) fn accounted_bytes(ebpf: &Ebpf) -> Result<u64> {
    let mut bytes = 0;
    for (name, map) in ebpf.maps() {
        let data = match map {
            Map::Array(data)
            | Map::HashMap(data)
            | Map::Queue(data)
            | Map::RingBuf(data)
            | Map::Unsupported(data) => data,
            _ => bail!("map {name} is of an unknown type"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_128_cpus_needs_at_most_96_mib_of_maps() {
        for cpus in 1..=128 {
            let bytes = map_bytes_at_most(cpus);
            assert!(bytes <= 96 << 20, "{bytes} bytes for {cpus} CPUs");
        }
        // A host of two CPUs needs little.
        assert!(map_bytes_at_most(2) <= 8 << 20);
    }
}
