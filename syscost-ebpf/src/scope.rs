//! Is a task in scope? Asked at every event of every task on the host: the first thing, and cheap.

use aya_ebpf::{bindings::task_struct, helpers::bpf_get_current_pid_tgid};

use crate::{maps::TARGET_TGID, task};

#[inline(always)]
pub(crate) fn covers(task: *mut task_struct) -> bool {
    task::tgid(task) == TARGET_TGID.load()
}

/// As [`covers`], of the running task, where tasks cannot be read.
#[inline(always)]
pub(crate) fn covers_current() -> bool {
    (bpf_get_current_pid_tgid() >> 32) as u32 == TARGET_TGID.load()
}
