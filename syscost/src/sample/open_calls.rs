//! The calls that are open.

use serde::{Deserialize, Serialize};
use syscost_common::kind::AbiClass;

use super::kinds::Abi;

/// A call that was open when the sample was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCallSample {
    /// The thread that made it, and its process.
    pub thread: ThreadName,
    /// The ABI that it was made in.
    #[serde(with = "Abi")]
    pub abi: AbiClass,
    /// Its number within the ABI.
    pub nr: u32,
    /// When it was entered, ns of CLOCK_MONOTONIC; `None` if that was before attaching, or is not known.
    pub entered_at_ns: Option<u64>,
    /// Whether a measured call stands for it, because calls are sampled. Then it is not known when it was entered.
    pub sampled_out: bool,
    /// Its arguments, as the registers held them; `None` if it returned before they were read.
    pub args: Option<[u64; 6]>,
    /// Whether the thread was runnable rather than waiting; `None` if the call returned before that was read.
    pub runnable: Option<bool>,
    /// Whether a signal interrupted it and the handler has not returned to it yet.
    pub interrupted: bool,
}

/// A thread and the process it belongs to. Ids are those of the user's PID namespace; 0 for a task that is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ThreadName {
    /// The thread.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// The name of the process, printable.
    pub comm: String,
}
