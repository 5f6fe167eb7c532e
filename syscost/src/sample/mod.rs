//! A sample: everything that one reading of the kernel's counters found. Raw, cumulative, owned.
//!
//! Holds facts only: no rates, no percentiles, no syscall names, no text made for people, and nothing about the
//! machine that was not read together with the counters. The model derives all of that.
//!
//! # Serialised form
//!
//! Every type here serialises and deserialises with serde, so that a recording can hold samples and nothing else,
//! and a newer model can read an older recording. The rules:
//!
//! - The first field is the format number ([`Format`]). A reader refuses a number that is greater than its own.
//! - A reader ignores unknown fields. So a later version may add a field without a new format number, if the field
//!   has `#[serde(default)]` and its default means "not collected". Unknown ledger counters are the exception: such a
//!   counter may say that calls were lost, so the sample is refused.
//! - Removing a field, or changing what a field means, takes a new format number, and code that still reads the
//!   older ones. `tests/formats` has one file for each format; a test reads all of them.
//! - Enums are named by variant, ledger counters and parts of latencies by name. No position in a kernel table is
//!   stored. Histograms are sparse: pairs of bucket index and count, of the bucket schemes in
//!   [`syscost_common::hist`]. Another scheme takes a new format number.
//! - The encoding must be self-describing (JSON, CBOR), because only such a one can leave out and skip fields.
//!
//! The scenarios that tests play (`source/scenario.rs`) are the opposite: their files belong to one version of the program, so
//! unknown fields are errors there.

#[cfg(test)]
pub(crate) mod arbitrary;
mod by_part;
mod cpu;
mod detail;
mod difference;
mod format;
mod groups;
mod kinds;
mod ledger;
mod open_calls;
mod sparse;
mod subject;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use cpu::CpuSample;
pub use detail::{Detail, DetailSample};
pub use difference::Difference;
pub use format::Format;
pub use groups::{GroupKey, GroupSample, GroupsSample};
pub use kinds::{KindKey, KindSample, PartSample};
#[cfg(test)]
pub(crate) use ledger::counter_named;
pub use ledger::{LedgerSample, SkippedRuns};
pub use open_calls::{OpenCallSample, ThreadName};
pub use subject::{GivenProcess, GivenThread, Measured, Subject, WhyEmpty};

/// What one reading found: everything that was counted since the probes were attached.
///
/// Its parts are read one after another: open calls, groups, syscalls with the ledger, CPU time. Whatever is in the
/// groups is in the syscalls as well. Calls that end between [`begin_ns`](Self::begin_ns) and
/// [`end_ns`](Self::end_ns) may be in it or not.
///
/// Times are ns of CLOCK_MONOTONIC, which stops while the machine is suspended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The format of the serialised form.
    pub format: Format,
    /// When the probes were attached.
    pub attached_at_ns: u64,
    /// When the first part was read. A window reaches from one sample's begin to the next sample's begin.
    pub begin_ns: u64,
    /// When the last part was read; not before `begin_ns`.
    pub end_ns: u64,
    /// What is measured.
    pub subject: Subject,
    /// One entry for each syscall kind that has occurred, in ascending order of key. So the shared overflow entry, if
    /// it counts anything, is the last one.
    pub kinds: Vec<KindSample>,
    /// The calls that were open, in ascending order of thread; `None` where they cannot be listed.
    pub open_calls: Option<Vec<OpenCallSample>>,
    /// The calls added up by process, thread, cgroup or name; `None` where that was not asked for.
    pub groups: Option<GroupsSample>,
    /// What became of every event that the programs saw.
    pub ledger: LedgerSample,
    /// Which optional measurements were on.
    pub detail: DetailSample,
    /// The CPU time that the target has used.
    pub cpu: CpuSample,
    /// Whether one of the target's processes held an io_uring when the probes were attached.
    pub ring_at_attach: bool,
    /// How many other BPF programs were attached to the syscall tracepoints just before ours; `None` where that is
    /// not known.
    pub other_tracers: Option<u32>,
}

impl Sample {
    /// How long the probes had been attached when the reading began, ns.
    pub fn attached_ns(&self) -> u64 {
        self.begin_ns.saturating_sub(self.attached_at_ns)
    }

    /// How long the reading took, ns.
    pub fn read_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }
}
