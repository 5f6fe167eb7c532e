//! What was counted of each syscall kind.

use serde::{Deserialize, Serialize};
use syscost_common::{
    cell::PARTS,
    hist::{BUCKETS, PART_BUCKETS},
    kind::AbiClass,
};

use super::{by_part, sparse};

/// How an [`AbiClass`] is serialised. `syscost-common` itself depends on nothing.
#[derive(Serialize, Deserialize)]
#[serde(remote = "AbiClass", rename_all = "snake_case")]
pub(super) enum Abi {
    Native,
    Compat,
    X32,
}

/// Which syscalls a [`KindSample`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindKey {
    /// One number of one ABI. [`syscost_common::kind::NR_OUT_OF_RANGE`] stands for all numbers beyond the table.
    Call {
        /// The ABI that the calls were made in.
        #[serde(with = "Abi")]
        abi: AbiClass,
        /// Their number within the ABI.
        nr: u32,
    },
    /// All kinds for which there was no slot left.
    Overflow,
}

/// The calls of one syscall kind since attach, added up over all CPUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindSample {
    /// Which syscalls.
    pub key: KindKey,
    /// Sum of the latencies, ns.
    pub sum_ns: u64,
    /// Shortest latency since attach, ns. Without meaning if no bucket counts anything.
    pub min_ns: u64,
    /// Longest latency since attach, ns.
    pub max_ns: u64,
    /// Calls per latency bucket; see [`syscost_common::hist::LATENCY`].
    #[serde(with = "sparse")]
    pub buckets: Box<[u64; BUCKETS]>,
    /// The parts of the latencies, indexed by [`syscost_common::cell::PartOf`].
    #[serde(with = "by_part")]
    pub parts: Box<[PartSample; PARTS]>,
    /// Failed calls per errno, in ascending order of errno, without the errnos that did not occur. Errno 0 stands for
    /// errors beyond the kernel's table.
    pub errnos: Vec<(u16, u64)>,
}

/// One part of the latencies of a kind's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSample {
    /// Sum over the calls, ns.
    pub sum_ns: u64,
    /// Calls per bucket; see [`syscost_common::hist::PART`] and [`syscost_common::cell::Part`].
    #[serde(with = "sparse")]
    pub buckets: [u64; PART_BUCKETS],
}

impl PartSample {
    const EMPTY: Self = Self { sum_ns: 0, buckets: [0; PART_BUCKETS] };
}

impl KindSample {
    /// A kind without a call.
    pub fn empty(key: KindKey) -> Self {
        Self {
            key,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            buckets: Box::new([0; BUCKETS]),
            parts: Box::new([PartSample::EMPTY; PARTS]),
            errnos: Vec::new(),
        }
    }

    /// The number of finished calls.
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }
}
