//! A row: one syscall in one window.

use std::borrow::Cow;

use syscost_common::hist::{BUCKETS, bucket_bounds};

use super::Latency;
use crate::{
    decode::syscall::{self, Abi},
    sample::{KindKey, KindSample},
};

/// One syscall of one ABI in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its identity across windows.
    pub key: KindKey,
    /// Its name; see [`syscall::name`].
    pub name: Cow<'static, str>,
    /// Its ABI; `None` for the shared overflow row.
    pub abi: Option<Abi>,
    /// Its number within the ABI; `None` for the shared overflow row.
    pub nr: Option<u32>,
    /// Finished calls.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Sum of their latencies, ns.
    pub total_ns: u64,
    /// How the latencies are distributed.
    pub latency: Latency,
    /// Failed calls per errno, most first.
    pub errnos: Vec<(u16, u64)>,
}

impl Row {
    /// The row of a kind's calls, less those before; `None` when no call is left.
    pub(super) fn new(kind: &KindSample, before: Option<&KindSample>) -> Option<Self> {
        let mut buckets = kind.buckets.clone();
        let mut total_ns = kind.sum_ns;
        let mut errnos = kind.errnos.clone();
        if let Some(before) = before {
            // Both were read while calls were being recorded: a difference below zero cannot
            // be, and is nothing rather than a wrapped giant.
            for (count, before) in buckets.iter_mut().zip(before.buckets.iter()) {
                *count = count.saturating_sub(*before);
            }
            total_ns = total_ns.saturating_sub(before.sum_ns);
            for (errno, count) in &mut errnos {
                let former = before.errnos.iter().find(|(other, _)| other == errno);
                *count = count.saturating_sub(former.map_or(0, |(_, count)| *count));
            }
            errnos.retain(|(_, count)| *count > 0);
        }
        let calls = buckets.iter().sum();
        if calls == 0 {
            return None;
        }
        errnos.sort_by_key(|(errno, count)| (std::cmp::Reverse(*count), *errno));
        let (min_ns, max_ns) = extremes(kind, before, &buckets);
        let (name, abi, nr) = match kind.key {
            KindKey::Call { abi, nr } => {
                let abi = Abi::of(abi);
                (syscall::name(abi, nr), Some(abi), Some(nr))
            }
            KindKey::Overflow => (Cow::Borrowed("(other)"), None, None),
        };
        Some(Self {
            key: kind.key,
            name,
            abi,
            nr,
            calls,
            errors: errnos.iter().map(|(_, count)| count).sum(),
            total_ns,
            latency: Latency::new(&buckets, min_ns, max_ns),
            errnos,
        })
    }

    /// The name, with the ABI where it is not the machine's usual one.
    pub fn title(&self) -> Cow<'static, str> {
        match self.abi {
            Some(abi) if !abi.is_native() => Cow::Owned(format!("{}/{abi}", self.name)),
            _ => self.name.clone(),
        }
    }

    /// Mean latency, ns.
    pub fn mean_ns(&self) -> u64 {
        self.total_ns / self.calls
    }

    /// Failed calls, percent of all.
    pub fn error_pct(&self) -> f64 {
        self.errors as f64 * 100.0 / self.calls as f64
    }
}

/// The shortest and the longest latency (ns) of a window.
///
/// The kernel keeps extremes since attach only. One that moved was set in this window and is
/// exact; for one that did not, the bounds of the outermost buckets are the best that is known:
/// outwards by at most 1/16, and never beyond the extreme since attach.
fn extremes(
    kind: &KindSample,
    before: Option<&KindSample>,
    buckets: &[u64; BUCKETS],
) -> (u64, u64) {
    let Some(before) = before.filter(|before| before.calls() > 0) else {
        return (kind.min_ns, kind.max_ns);
    };
    let occupied = |index: &usize| buckets[*index] > 0;
    let lowest = (0..BUCKETS).find(occupied).map_or(0, |index| bucket_bounds(index).0);
    let highest = (0..BUCKETS).rfind(occupied).map_or(0, |index| bucket_bounds(index).1);
    let min_ns = if kind.min_ns < before.min_ns { kind.min_ns } else { lowest.max(kind.min_ns) };
    let max_ns = if kind.max_ns > before.max_ns { kind.max_ns } else { highest.min(kind.max_ns) };
    (min_ns, max_ns)
}
