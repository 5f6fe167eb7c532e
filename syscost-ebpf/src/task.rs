//! The running task, read through a BTF pointer: plain loads at offsets known when loading.

use aya_ebpf::{bindings::task_struct, helpers::generated::bpf_get_current_task_btf};

use crate::{
    frozen::frozen,
    kind,
    maps::{OFFSETS, TARGET_TGID},
};

/// The running task.
#[inline(always)]
pub(crate) fn current() -> *mut task_struct {
    // SAFETY: the helper has no preconditions and always returns the running task.
    unsafe { bpf_get_current_task_btf().cast() }
}

/// Whether `task` is to be measured. Asked at every event of every task on the host.
#[inline(always)]
pub(crate) fn in_scope(task: *mut task_struct) -> bool {
    read(task, frozen!(OFFSETS.task_tgid)) == TARGET_TGID.load()
}

/// The tid of `task`.
#[inline(always)]
pub(crate) fn tid(task: *mut task_struct) -> u32 {
    read(task, frozen!(OFFSETS.task_pid))
}

/// Whether `task` can run, rather than waits.
#[inline(always)]
pub(crate) fn is_runnable(task: *mut task_struct) -> bool {
    // The field is a long before Linux 5.14; its low half is what it is later.
    read(task, frozen!(OFFSETS.task_state)) == 0
}

/// The kind of call `nr` that `task` has entered.
#[inline(always)]
pub(crate) fn kind_of(task: *mut task_struct, nr: u64) -> u32 {
    let status_at = frozen!(OFFSETS.task_status);
    let status = if status_at == 0 { 0 } else { read(task, status_at) };
    kind::of_call(nr as u32, status)
}

#[inline(always)]
fn read(task: *mut task_struct, offset: u32) -> u32 {
    // SAFETY: a BTF pointer; the verifier checks the offset against the type, and the kernel turns
    // a faulting load into 0.
    unsafe { task.cast::<u8>().add(offset as usize).cast::<u32>().read_volatile() }
}
