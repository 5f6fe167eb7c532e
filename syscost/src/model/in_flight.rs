//! The calls that are open now: what each thread is stuck in, and for how long.

use std::borrow::Cow;

use crate::{
    decode::syscall::{self, Abi},
    reading::Reading,
    sample::{OpenCallSample, Sample, ThreadName},
};

/// A call that has not returned yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The thread that made it, and its process.
    pub thread: ThreadName,
    /// The call's name; see [`syscall::name`].
    pub name: Cow<'static, str>,
    /// Its ABI.
    pub abi: Abi,
    /// Its number within the ABI.
    pub nr: u32,
    /// How long it has been open, ns. At least the time attached, when it began before that.
    pub age_ns: Reading<u64>,
    /// Its arguments, as the registers hold them.
    pub args: [u64; 6],
    /// Whether the thread waits, rather than works or wants to.
    pub waiting: bool,
}

impl InFlight {
    /// The open calls of a sample, oldest first; `None` where they cannot be listed.
    pub(super) fn of(sample: &Sample) -> Option<Vec<Self>> {
        let mut calls: Vec<_> =
            sample.open_calls.as_ref()?.iter().map(|call| Self::new(call, sample)).collect();
        // Those from before attaching are the oldest, whatever their age is.
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
                // It may have been entered while the sample was being read.
                Some(at_ns) => Reading::Exact(sample.at_ns.saturating_sub(at_ns)),
                None => Reading::Partial(sample.at_ns.saturating_sub(sample.attached_at_ns)),
            },
            args: call.args,
            waiting: !call.runnable,
        }
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
