//! The calls that are open now: what each thread is stuck in, and for how long.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    decode::{
        arguments,
        syscall::{self, Abi},
    },
    reading::Reading,
    sample::{OpenCallSample, Sample, ThreadName},
};

/// A call that has not returned yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The thread that made the call, and its process.
    pub thread: ThreadName,
    /// The call's name; see [`syscall::name`].
    pub name: Cow<'static, str>,
    /// Its ABI.
    pub abi: Abi,
    /// Its number within the ABI.
    pub nr: u32,
    /// How long it has been open, ns. At least the time attached, when it began before that; not collected
    /// of a call that another one of a sample stands for.
    pub age_ns: Reading<u64>,
    /// Its arguments, as the registers hold them; `None` for a call that was open at the end of the measurement
    /// and returned before they were read.
    pub args: Option<[u64; 6]>,
    /// What file descriptors among the arguments refer to, printable, as far as that was looked up. It is what
    /// they referred to when it was looked up, not when the call was made.
    pub descriptor_names: BTreeMap<u32, String>,
    /// Whether the thread waits: it is not running and not runnable. `None` where `args` is.
    pub waiting: Option<bool>,
    /// Whether a signal interrupted it and its handler has not returned yet.
    pub interrupted: bool,
}

impl InFlight {
    /// The calls that were open at the time of a sample, oldest first; `None` where they cannot be
    /// listed.
    pub(super) fn of(sample: &Sample) -> Option<Vec<Self>> {
        // Calls are listed a moment after the window ends: some were entered in between.
        let was_open = |call: &&OpenCallSample| {
            call.entered_at_ns.is_none_or(|at_ns| at_ns <= sample.begin_ns)
        };
        let open = sample.open_calls.as_ref()?.iter().filter(was_open);
        let mut calls: Vec<_> = open.map(|call| Self::new(call, sample)).collect();
        // Calls from before attaching are the oldest, whatever age is known.
        let partial = |call: &Self| matches!(call.age_ns, Reading::Partial(_));
        calls.sort_by(|a, b| {
            (partial(b), b.age_ns.value(), a.thread.tid).cmp(&(
                partial(a),
                a.age_ns.value(),
                b.thread.tid,
            ))
        });
        Some(calls)
    }

    fn new(call: &OpenCallSample, sample: &Sample) -> Self {
        let abi = Abi::of(call.abi);
        Self {
            thread: call.thread.clone(),
            name: syscall::name(abi, call.nr),
            abi,
            nr: call.nr,
            age_ns: match call.entered_at_ns {
                Some(at_ns) => Reading::Exact(sample.begin_ns.saturating_sub(at_ns)),
                None if call.sampled_out => Reading::NotCollected,
                None => Reading::Partial(sample.attached_ns()),
            },
            args: call.args,
            descriptor_names: BTreeMap::new(),
            waiting: call.runnable.map(|runnable| !runnable),
            interrupted: call.interrupted,
        }
    }

    /// What the thread does, in a word of at most seven letters; `None` where that is not known.
    pub fn state(&self) -> Option<&'static str> {
        match (self.interrupted, self.waiting) {
            (true, _) => Some("handler"),
            (false, Some(true)) => Some("waits"),
            (false, Some(false)) => Some("running"),
            (false, None) => None,
        }
    }

    /// Its arguments as text, where they are known; see [`arguments::texts`].
    pub fn arguments(&self) -> Option<Vec<String>> {
        let texts = |args| arguments::texts(self.abi, self.nr, args, &self.descriptor_names);
        self.args.as_ref().map(texts)
    }

    /// The file descriptors among its arguments.
    pub fn descriptors(&self) -> Vec<u32> {
        let descriptors = |args| arguments::descriptors(self.abi, self.nr, args);
        self.args.as_ref().map(descriptors).unwrap_or_default()
    }

    /// The name, with the ABI where it is not the machine's usual one.
    pub fn title(&self) -> Cow<'static, str> {
        if self.abi.is_native() {
            self.name.clone()
        } else {
            Cow::Owned(format!("{}/{}", self.name, self.abi))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    #[test]
    fn the_age_of_a_call_that_another_one_stands_for_is_not_known() {
        let mut sample = fixture::nginx();
        let calls = sample.open_calls.as_mut().unwrap();
        calls.truncate(2);
        (calls[0].entered_at_ns, calls[0].sampled_out) = (None, true);
        (calls[1].entered_at_ns, calls[1].sampled_out) = (None, false);
        let ages: Vec<_> =
            InFlight::of(&sample).unwrap().into_iter().map(|call| call.age_ns).collect();
        let attached_ns = sample.attached_ns();
        assert_eq!(ages, [Reading::Partial(attached_ns), Reading::NotCollected]);
    }

    #[test]
    fn a_call_entered_after_the_sample_was_not_open_then() {
        let mut sample = fixture::nginx();
        let at_ns = sample.begin_ns;
        let calls = sample.open_calls.as_mut().unwrap();
        calls.truncate(1);
        for (entered_at_ns, age_ns) in [
            (Some(at_ns - 5), Some(Reading::Exact(5))),
            (Some(at_ns), Some(Reading::Exact(0))),
            (Some(at_ns + 1), None),
            (None, Some(Reading::Partial(sample.attached_ns()))),
        ] {
            sample.open_calls.as_mut().unwrap()[0].entered_at_ns = entered_at_ns;
            let shown = InFlight::of(&sample).unwrap();
            assert_eq!(shown.first().map(|call| call.age_ns), age_ns, "{entered_at_ns:?}");
        }
    }
}
