//! A ring of records: programs write them, user space takes them out, each once and in order.

use std::marker::PhantomData;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};

/// What a program writes into a ring.
pub(super) trait Record: Sized {
    /// The record in `bytes`. `None` if these are not such a record.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// The reading end of a ring. A program that finds the ring full drops its record.
pub(super) struct Ring<R> {
    ring: RingBuf<MapData>,
    records: PhantomData<R>,
}

impl<R: Record> Ring<R> {
    /// The map called `name`, taken out of a loaded object before its programs are loaded.
    ///
    /// # Errors
    /// When the object has no such ring, or it cannot be mapped into memory.
    pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Self> {
        let map = ebpf.take_map(name).with_context(|| format!("object has no map {name}"))?;
        let ring =
            RingBuf::try_from(map).with_context(|| format!("cannot map {name} into memory"))?;
        Ok(Self { ring, records: PhantomData })
    }

    /// Takes out at most `at_most` records, the oldest first; others stay for the next time. Makes no system call, so
    /// that it works without privileges.
    pub(super) fn drain(&mut self, at_most: usize) -> Vec<R> {
        let mut records = Vec::new();
        for _ in 0..at_most {
            let Some(bytes) = self.ring.next() else { break };
            records.extend(R::read(&bytes));
        }
        records
    }
}
