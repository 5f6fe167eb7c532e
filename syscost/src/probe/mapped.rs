//! A BPF array in the memory of this process.

use std::{marker::PhantomData, os::fd::AsFd, ptr};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use memmap2::{MmapOptions, MmapRaw};

/// A BPF array in the memory of this process, read-only: reading makes no system call.
pub(super) struct Mapped<T> {
    memory: MmapRaw,
    entries: u32,
    stride: usize,
    of: PhantomData<T>,
}

impl<T: Copy> Mapped<T> {
    /// Maps the array `name`, which has `entries` entries.
    pub(super) fn open(ebpf: &Ebpf, name: &str, entries: u32) -> Result<Self> {
        let map =
            array_data(ebpf.map(name)).with_context(|| format!("object has no map {name}"))?;
        // The kernel rounds each value of an array up to 8 bytes (array_map_alloc).
        let stride = size_of::<T>().next_multiple_of(8);
        let memory = MmapOptions::new()
            .len(stride * entries as usize)
            .map_raw_read_only(&map.fd().as_fd())
            .with_context(|| format!("cannot map {name} into memory"))?;
        Ok(Self { memory, entries, stride, of: PhantomData })
    }

    /// All entries, read one after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.entries).map(|index| self.read(index))
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Reads the entry `index`.
    pub(super) fn read(&self, index: u32) -> T {
        // SAFETY: any bytes are a valid `T` (integers only). The kernel writes concurrently, one aligned
        // word at a time, which is why the read is volatile.
        unsafe { ptr::read_volatile(self.place(index)) }
    }

    /// The address of the entry `index`. The kernel may be writing to it.
    pub(super) fn place(&self, index: u32) -> *const T {
        assert!(index < self.entries, "index {index} of {}", self.entries);
        // SAFETY: the index is inside the mapping, whose values are laid out as `T` by the shared
        // declaration.
        unsafe { self.memory.as_ptr().add(index as usize * self.stride).cast::<T>() }
    }
}

pub(super) fn array_data(map: Option<&Map>) -> Option<&MapData> {
    match map? {
        Map::Array(data) => Some(data),
        _ => None,
    }
}
