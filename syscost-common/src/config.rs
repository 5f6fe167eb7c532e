//! The knobs that user space sets before the programs are loaded.
//!
//! They are frozen read-only data: the verifier sees constants and drops the code they switch off.

/// Offsets (bytes) of kernel structs' members, read from the kernel's BTF; all 0 without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.thread_info.status` (x86), where the compat bit is.
    pub task_status: u32,
}
