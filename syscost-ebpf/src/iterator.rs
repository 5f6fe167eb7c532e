//! Iterators: programs that the kernel runs once for each task when user space reads their output.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{seq_file, task_struct},
    helpers::generated::bpf_seq_write,
};

/// `struct bpf_iter__task` of kernel/bpf/task_iter.c.
#[repr(C)]
pub(crate) struct Context {
    /// Where to write.
    pub(crate) meta: *const Meta,
    /// The task; null in the last run, after all tasks.
    pub(crate) task: *mut task_struct,
}

/// The beginning of `struct bpf_iter_meta` (include/linux/bpf.h).
#[repr(C)]
pub(crate) struct Meta {
    seq: *mut seq_file,
    /// The number of this reading of the iterator; no other reading on the host has it.
    pub(crate) session_id: u64,
}

/// Writes a record.
///
/// # Safety
/// `meta` must be of the context, and `record` `bytes` long, live and without padding.
#[inline(always)]
pub(crate) unsafe fn write(meta: *const Meta, record: *const c_void, bytes: usize) {
    // A full buffer makes the kernel run the program again with a larger one.
    // SAFETY: as the caller says.
    unsafe { bpf_seq_write((*meta).seq, record.cast_mut(), bytes as u32) };
}
