//! The knobs that user space sets before the programs are loaded.
//!
//! They are frozen read-only data: the verifier sees constants and drops the code they switch off.

/// Offsets (bytes) of kernel structs' members, read from the kernel's BTF. 0 in the raw path,
/// which needs none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.thread_info.status` (x86), where the compat bit is.
    pub task_status: u32,
}

/// What differs between machines in how syscalls are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Machine {
    /// Offset (bytes) of the user stack pointer in `struct pt_regs`.
    pub regs_stack_pointer: u32,
    /// The native number of `restart_syscall`.
    pub restart_syscall: u32,
    /// The native number of `rt_sigreturn`.
    pub rt_sigreturn: u32,
}

impl Machine {
    /// x86-64: `struct pt_regs` of arch/x86/include/asm/ptrace.h.
    pub const X86_64: Self =
        Self { regs_stack_pointer: 152, restart_syscall: 219, rt_sigreturn: 15 };
    /// AArch64: `struct user_pt_regs` of arch/arm64/include/uapi/asm/ptrace.h.
    pub const AARCH64: Self =
        Self { regs_stack_pointer: 248, restart_syscall: 128, rt_sigreturn: 139 };
}
