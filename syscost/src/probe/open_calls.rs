//! The calls that are open: listed by an iterator of the kernel's, which only runs while its program is loaded.

use std::{
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result};
use aya::{Ebpf, programs::Iter};
use syscost_common::{in_flight::InFlight, kind, open_call::RETURNED_LATE};

use super::{
    bpf::{self, Tasks},
    object, scope,
};
use crate::sample::{OpenCallSample, ThreadName};

// SAFETY: integers only.
unsafe impl bpf::Record for InFlight {}

/// The iterator over open calls.
pub(super) struct OpenCalls {
    /// `None` where this kernel cannot list open calls, and once the iterator is closed.
    link: Option<OwnedFd>,
}

impl OpenCalls {
    /// For hooks whose programs cannot list open calls.
    pub(super) const NONE: Self = Self { link: None };

    /// Links the iterator over `tasks`, if its program is loaded.
    ///
    /// # Errors
    /// When the kernel does not link it.
    pub(super) fn link(ebpf: &mut Ebpf, tasks: Tasks) -> Result<Self> {
        let Ok(program) = object::program::<Iter>(ebpf, "open_calls")?.fd() else {
            return Ok(Self::NONE);
        };
        let link = bpf::link_task_iterator(program.as_fd(), tasks);
        Ok(Self { link: Some(link.context("cannot link the iterator over open calls")?) })
    }

    /// Whether this kernel can list open calls.
    pub(super) const fn can_be_listed(&self) -> bool {
        self.link.is_some()
    }

    /// The calls that are open now, in no particular order. `None` where they cannot be listed.
    pub(super) fn list(&self) -> Option<Vec<OpenCallSample>> {
        Some(self.records()?.iter().filter_map(open).collect())
    }

    /// Reads for the last time, when the hooks are detached and nothing is recorded any more, and closes the
    /// iterator.
    pub(super) fn close(&mut self) -> Option<AtEnd> {
        let records = self.records();
        self.link = None;
        records.map(|records| AtEnd::of(&records))
    }

    fn records(&self) -> Option<Vec<InFlight>> {
        bpf::run_iterator(self.link.as_ref()?.as_fd()).ok()
    }
}

/// What the kernel still had of calls when the hooks were detached.
pub(super) struct AtEnd {
    /// The threads that it knew.
    threads: HashSet<u32>,
    /// Calls that are not recorded: thread and begin.
    unrecorded: HashSet<(u32, u64)>,
    /// The same calls.
    calls: Vec<OpenCallSample>,
}

impl AtEnd {
    fn of(records: &[InFlight]) -> Self {
        let call = |record: &InFlight| (record.ids.tid, record.entered_at & !RETURNED_LATE);
        Self {
            threads: records.iter().map(|record| record.ids.tid).collect(),
            unrecorded: records.iter().map(call).collect(),
            calls: records.iter().filter_map(unrecorded).collect(),
        }
    }

    /// Corrects `listed`, the calls that were listed when the measurement ended at `at_ns`. Programs that had begun
    /// by then may have recorded some of these, and others had returned before they were listed, or were entered
    /// just before the end. Removes the recorded ones and adds the missing ones.
    pub(super) fn correct(&self, listed: &mut Vec<OpenCallSample>, at_ns: u64) {
        let call = |call: &OpenCallSample| Some((call.thread.tid, call.entered_at_ns?));
        listed.retain(|open| call(open).is_none_or(|(tid, at_ns)| self.was_open(tid, at_ns)));
        let known: HashSet<_> = listed.iter().filter_map(call).collect();
        let missing =
            self.calls.iter().filter(|left| call(left).is_some_and(|left| !known.contains(&left)));
        listed.extend(missing.cloned());
        // A program that began before the end may have read the clock after it.
        for open in listed {
            open.entered_at_ns = open.entered_at_ns.map(|entered_at| entered_at.min(at_ns));
        }
    }

    /// Whether the call that thread `tid` began at `entered_at` was not recorded. The calls of a thread that has
    /// ended meanwhile were not.
    fn was_open(&self, tid: u32, entered_at: u64) -> bool {
        self.unrecorded.contains(&(tid, entered_at)) || !self.threads.contains(&tid)
    }
}

/// The call of a record. `None` for a call that has returned, or whose number does not exist.
fn open(record: &InFlight) -> Option<OpenCallSample> {
    (record.entered_at & RETURNED_LATE == 0).then(|| sample(record))?
}

/// The unrecorded call of a record that was read after the end of the measurement. If the call has returned since,
/// its thread is in another call: then the record tells no arguments or state of this one.
fn unrecorded(record: &InFlight) -> Option<OpenCallSample> {
    let entered_at = record.entered_at & !RETURNED_LATE;
    if entered_at == 0 {
        return None;
    }
    let call = sample(&InFlight { entered_at, ..*record })?;
    match entered_at == record.entered_at {
        true => Some(call),
        false => Some(OpenCallSample { args: None, runnable: None, interrupted: false, ..call }),
    }
}

fn sample(record: &InFlight) -> Option<OpenCallSample> {
    let (abi, nr) = kind::unpack(record.kind)?;
    Some(OpenCallSample {
        thread: ThreadName {
            tid: record.ids.tid,
            pid: record.ids.tgid,
            comm: scope::name(record.ids.comm),
        },
        abi,
        nr,
        entered_at_ns: (record.entered_at != 0).then_some(record.entered_at),
        sampled_out: record.sampled_out != 0,
        args: Some(record.args),
        runnable: Some(record.runnable != 0),
        interrupted: record.interrupted != 0,
    })
}

#[cfg(test)]
mod tests {
    use syscost_common::in_flight::ThreadIds;

    use super::*;

    #[test]
    fn what_was_recorded_after_all_was_not_open_at_the_end() {
        let record = |tid, entered_at| InFlight {
            ids: ThreadIds { tid, ..ThreadIds::default() },
            entered_at,
            ..InFlight::default()
        };
        // Open still, returned, recorded, in another call.
        let records =
            [record(1, 10), record(2, 20 | RETURNED_LATE), record(3, RETURNED_LATE), record(4, 45)];
        let left = AtEnd::of(&records);
        let calls = [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)];
        let was_open = calls.map(|(tid, entered_at)| left.was_open(tid, entered_at));
        assert_eq!(
            was_open,
            [true, true, false, false, true],
            "and one of a thread that has ended"
        );

        let mut calls = vec![open(&record(3, 30)).unwrap(), open(&record(1, 10)).unwrap()];
        left.correct(&mut calls, 42);
        let open: Vec<_> = calls
            .iter()
            .map(|call| (call.thread.tid, call.entered_at_ns, call.args.is_some()))
            .collect();
        let noted_late = (4, Some(42), true);
        assert_eq!(open, [(1, Some(10), true), (2, Some(20), false), noted_late]);
    }
}
