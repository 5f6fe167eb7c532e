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
    /// `task_struct.pid`: the tid.
    pub task_pid: u32,
    /// `task_struct.__state`, or `state` before Linux 5.14: 0 while the task can run.
    pub task_state: u32,
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
    /// Offset (bytes) in `struct pt_regs` of the number of the call that is being served; negative
    /// there while none is.
    pub regs_nr: u32,
    /// Offsets (bytes) in `struct pt_regs` of the arguments of a native call.
    pub regs_args: [u32; 6],
    /// The same of a compat call; 32 bits of each count.
    pub regs_compat_args: [u32; 6],
}

impl Machine {
    /// x86-64: `struct pt_regs` of arch/x86/include/asm/ptrace.h.
    pub const X86_64: Self = Self {
        regs_stack_pointer: 152,
        restart_syscall: 219,
        rt_sigreturn: 15,
        regs_nr: 120,
        // di, si, dx, r10, r8, r9
        regs_args: [112, 104, 96, 56, 72, 64],
        // bx, cx, dx, si, di, bp
        regs_compat_args: [40, 88, 96, 104, 112, 32],
    };
    /// AArch64: `struct pt_regs` of arch/arm64/include/asm/ptrace.h.
    pub const AARCH64: Self = Self {
        regs_stack_pointer: 248,
        restart_syscall: 128,
        rt_sigreturn: 139,
        regs_nr: 280,
        // orig_x0, x1 to x5
        regs_args: [272, 8, 16, 24, 32, 40],
        regs_compat_args: [272, 8, 16, 24, 32, 40],
    };
}
