//! The constants that user space sets before the programs are loaded.
//!
//! They are frozen read-only data: the verifier knows their values, and removes the code that they switch off.

/// `sizeof(struct upid)` (include/linux/pid.h): an int, padding, a pointer.
pub const UPID_BYTES: u32 = 16;
/// The offset of that pointer, `upid.ns`.
pub const UPID_NAMESPACE: u32 = 8;

/// Offsets (bytes) of kernel structs' members, read from the kernel's BTF; all 0 without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.thread_info.status` (x86) or `.flags` (arm64), where [`Machine::compat_bit`] is.
    pub task_compat: u32,
    /// `task_struct.pid`: the tid.
    pub task_pid: u32,
    /// `task_struct.__state`, or `state` before Linux 5.14: 0 while the task can run.
    pub task_state: u32,
    /// `task_struct.group_leader`.
    pub task_leader: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.start_time`: ns of CLOCK_MONOTONIC.
    pub task_start_time: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `signal_struct.live`: how many threads of the process have not begun to exit.
    pub signal_live: u32,
    /// `task_struct.thread_pid`.
    pub task_thread_pid: u32,
    /// `pid.level`: how deep the PID namespace is that the task lives in.
    pub pid_level: u32,
    /// `pid.numbers`: a `struct upid` for each level.
    pub pid_numbers: u32,
    /// `pid_namespace.ns.inum`: the inode number that `/proc/PID/ns/pid` has.
    pub pid_ns_number: u32,
    /// `task_struct.cgroups`.
    pub task_cgroups: u32,
    /// `css_set.dfl_cgrp`: the cgroup of the unified hierarchy.
    pub css_set_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `cgroup.level`: its depth.
    pub cgroup_level: u32,
    /// `cgroup.ancestors`, or `cgroup.ancestor_ids` before Linux 6.1: an entry for each level.
    pub cgroup_ancestors: u32,
    /// 1: those are ids, not pointers to cgroups.
    pub cgroup_ancestors_are_ids: u32,
    /// `kernfs_node.id`.
    pub kn_id: u32,
    /// `task_struct.cred`.
    pub task_cred: u32,
    /// `cred.uid`.
    pub cred_uid: u32,
    /// `task_struct.bpf_storage`: null while no BPF program has storage in the task.
    pub task_bpf_storage: u32,
    /// `task_struct.sched_info.run_delay`: ns that the task has waited for a CPU; 0 where the kernel
    /// keeps no such account.
    pub task_run_delay: u32,
    /// 1: the tracepoint `sched_switch` hands over the state of the task that is switched out, as its fourth argument
    /// (Linux 5.18).
    pub switch_tells_state: u32,
    /// `task_struct.sas_ss_sp`: the lowest address of the alternate signal stack.
    pub task_signal_stack: u32,
    /// `task_struct.sas_ss_size`: its size, bytes; 0 where there is none.
    pub task_signal_stack_bytes: u32,
    /// `task_struct.flags`: the `PF_*` bits.
    pub task_flags: u32,
    /// `task_struct.on_cpu`: not 0 while the task runs; 0 where it is not known.
    pub task_on_cpu: u32,
    /// `task_struct.thread_info.cpu`, or `cpu` before Linux 5.16: the CPU that the task is on.
    pub task_cpu: u32,
    /// `task_struct.prio`: from 100 on of the fair scheduling class.
    pub task_prio: u32,
    /// `task_struct.se.sum_exec_runtime`: CPU time, ns, up to date when the task loses the CPU.
    pub task_runtime: u32,
    /// `task_struct.se.prev_sum_exec_runtime`: the same when the fair class gave it the CPU; 0 where that
    /// class does not serve all tasks of such priorities.
    pub task_runtime_before: u32,
    /// `task_struct.thread_info.flags`: the `TIF_*` bits.
    pub task_thread_flags: u32,
    /// No offset, but the bit there that says that a signal waits for the task (`TIF_SIGPENDING`); 0 where it is not
    /// known.
    pub signal_flag: u32,
    /// `task_struct.task_works`: null while no work is queued for the task.
    pub task_works: u32,
    /// `task_struct.io_uring`: null while the task has no ring; 0 where there is no such thing.
    pub task_io_uring: u32,
    /// `io_uring_task.xa.xa_head`: null while it holds none any more.
    pub io_uring_rings: u32,
}

impl Offsets {
    /// Where there is no kernel BTF.
    pub const UNKNOWN: Self = Self {
        task_tgid: 0,
        task_compat: 0,
        task_pid: 0,
        task_state: 0,
        task_leader: 0,
        task_comm: 0,
        task_start_time: 0,
        task_signal: 0,
        signal_live: 0,
        task_thread_pid: 0,
        pid_level: 0,
        pid_numbers: 0,
        pid_ns_number: 0,
        task_cgroups: 0,
        css_set_cgroup: 0,
        cgroup_kn: 0,
        cgroup_level: 0,
        cgroup_ancestors: 0,
        cgroup_ancestors_are_ids: 0,
        kn_id: 0,
        task_cred: 0,
        cred_uid: 0,
        task_bpf_storage: 0,
        task_run_delay: 0,
        switch_tells_state: 0,
        task_signal_stack: 0,
        task_signal_stack_bytes: 0,
        task_flags: 0,
        task_on_cpu: 0,
        task_cpu: 0,
        task_prio: 0,
        task_runtime: 0,
        task_runtime_before: 0,
        task_thread_flags: 0,
        signal_flag: 0,
        task_works: 0,
        task_io_uring: 0,
        io_uring_rings: 0,
    };
}

/// What differs between machines in how syscalls are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Machine {
    /// Offset (bytes) of the user stack pointer in `struct pt_regs`.
    pub regs_stack_pointer: u32,
    /// Offset (bytes) of the user instruction pointer there.
    pub regs_instruction_pointer: u32,
    /// The native number of `execve`.
    pub execve: u32,
    /// The native number of `execveat`.
    pub execveat: u32,
    /// The native number of `restart_syscall`.
    pub restart_syscall: u32,
    /// The native number of `rt_sigreturn`.
    pub rt_sigreturn: u32,
    /// How long the system call instruction is, bytes. Of a 32-bit program in Thumb code on arm64 it is
    /// only 2.
    pub syscall_bytes: u32,
    /// Offset (bytes) in `struct pt_regs` of the number of the call that is being served; negative
    /// there while none is.
    pub regs_nr: u32,
    /// Offset (bytes) in `struct pt_regs` of a call's result.
    pub regs_result: u32,
    /// 1: before a signal stops a thread, the registers of its interrupted call lead back to it already.
    pub stops_at_the_call: u32,
    /// Offsets (bytes) in `struct pt_regs` of the arguments of a native call.
    pub regs_args: [u32; 6],
    /// The same of a compat call; 32 bits of each count.
    pub regs_compat_args: [u32; 6],
    /// The bit that is set in [`Offsets::task_compat`] while a 32-bit call is served.
    pub compat_bit: u32,
    /// 1: the registers of a call may show that it is a native one.
    pub regs_tell_native: u32,
}

impl Machine {
    /// x86-64: `struct pt_regs` of arch/x86/include/asm/ptrace.h.
    pub const X86_64: Self = Self {
        regs_stack_pointer: 152,
        regs_instruction_pointer: 128,
        execve: 59,
        execveat: 322,
        restart_syscall: 219,
        rt_sigreturn: 15,
        syscall_bytes: 2,
        regs_nr: 120,
        regs_result: 80,
        stops_at_the_call: 0,
        // di, si, dx, r10, r8, r9
        regs_args: [112, 104, 96, 56, 72, 64],
        // bx, cx, dx, si, di, bp
        regs_compat_args: [40, 88, 96, 104, 112, 32],
        // TS_COMPAT of arch/x86/include/asm/thread_info.h.
        compat_bit: 0x0002,
        regs_tell_native: 1,
    };
    /// AArch64: `struct pt_regs` of arch/arm64/include/asm/ptrace.h.
    pub const AARCH64: Self = Self {
        regs_stack_pointer: 248,
        regs_instruction_pointer: 256,
        execve: 221,
        execveat: 281,
        restart_syscall: 128,
        rt_sigreturn: 139,
        syscall_bytes: 4,
        regs_nr: 280,
        regs_result: 0,
        // do_signal of arch/arm64/kernel/signal.c.
        stops_at_the_call: 1,
        // orig_x0, x1 to x5
        regs_args: [272, 8, 16, 24, 32, 40],
        regs_compat_args: [272, 8, 16, 24, 32, 40],
        // TIF_32BIT of arch/arm64/include/asm/thread_info.h: of all calls of a 32-bit program.
        compat_bit: 1 << 22,
        regs_tell_native: 0,
    };
}
