//! A thread known by its ids, for kernels without BTF pointers. What else is read of its task takes kernel BTF.

use core::ptr::null;

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated::bpf_get_current_task},
};
use syscost_common::{
    comm::{self, Comm},
    config::{UPID_BYTES, UPID_NAMESPACE},
    interrupted::UNKNOWN_STACK,
};

use crate::{
    constant::constant,
    kind,
    maps::{OFFSETS, SCOPE},
    thread::Thread,
};

/// A thread known by its ids.
pub(crate) struct RawThread {
    pub(crate) tid: u32,
    tgid: u32,
    /// Its `task_struct`; null for the running thread.
    task: *const u8,
}

impl RawThread {
    /// The thread behind `task`, which need not be the running one. Takes kernel BTF.
    #[inline(always)]
    pub(crate) fn of(task: *const u8) -> Self {
        Self {
            tid: read(task, constant!(OFFSETS.task_pid)),
            tgid: read(task, constant!(OFFSETS.task_tgid)),
            task,
        }
    }

    /// The running thread, as it was while it had the tid `tid`.
    #[inline(always)]
    pub(crate) fn current_as(tid: u32) -> Self {
        Self { tid, ..Self::current() }
    }

    #[inline(always)]
    fn task(&self) -> *const u8 {
        if self.task.is_null() { running() } else { self.task }
    }

    /// The cgroup of the unified hierarchy that it is in.
    #[inline(always)]
    fn cgroup(&self) -> *const u8 {
        let set: *const u8 = read(self.task(), constant!(OFFSETS.task_cgroups));
        read(set, constant!(OFFSETS.css_set_cgroup))
    }
}

impl Thread for RawThread {
    #[inline(always)]
    fn current() -> Self {
        let ids = bpf_get_current_pid_tgid();
        Self { tid: ids as u32, tgid: (ids >> 32) as u32, task: null() }
    }

    #[inline(always)]
    fn tid(&self) -> u32 {
        self.tid
    }

    #[inline(always)]
    fn tgid(&self) -> u32 {
        self.tgid
    }

    #[inline(always)]
    fn process_comm(&self) -> Comm {
        let leader: *const u8 = read(self.task(), constant!(OFFSETS.task_leader));
        comm::padded(read(leader, constant!(OFFSETS.task_comm)))
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        let cred: *const u8 = read(self.task(), constant!(OFFSETS.task_cred));
        read(cred, constant!(OFFSETS.cred_uid))
    }

    #[inline(always)]
    fn is_in_shown_namespace(&self) -> bool {
        let pid: *const u8 = read(self.task(), constant!(OFFSETS.task_thread_pid));
        let level: u32 = read(pid, constant!(OFFSETS.pid_level));
        if level != constant!(SCOPE.pid_level) {
            return false;
        }
        let at = constant!(OFFSETS.pid_numbers) + level * UPID_BYTES + UPID_NAMESPACE;
        let namespace: *const u8 = read(pid, at);
        let number: u32 = read(namespace, constant!(OFFSETS.pid_ns_number));
        u64::from(number) == constant!(SCOPE.pid_ns_ino)
    }

    #[inline(always)]
    fn ancestor_cgroup_id(&self, level: u32) -> u64 {
        let cgroup = self.cgroup();
        let ancestors = constant!(OFFSETS.cgroup_ancestors) + 8 * level;
        if read::<u32>(cgroup, constant!(OFFSETS.cgroup_level)) < level {
            return 0;
        }
        if constant!(OFFSETS.cgroup_ancestors_are_ids) != 0 {
            return read(cgroup, ancestors);
        }
        let ancestor: *const u8 = read(cgroup, ancestors);
        let node: *const u8 = read(ancestor, constant!(OFFSETS.cgroup_kn));
        read(node, constant!(OFFSETS.kn_id))
    }

    #[inline(always)]
    fn process_is_dead(&self) -> bool {
        let signal: *const u8 = read(self.task(), constant!(OFFSETS.task_signal));
        read::<u32>(signal, constant!(OFFSETS.signal_live)) == 0
    }

    #[inline(always)]
    fn is_in_compat_call(&self) -> bool {
        let at = constant!(OFFSETS.task_compat);
        at != 0 && kind::is_compat(read(running(), at))
    }

    #[inline(always)]
    fn regs_prove_native(_regs: *const pt_regs) -> bool {
        false
    }

    #[inline(always)]
    fn register(regs: *const pt_regs, offset: u32) -> u64 {
        read(regs.cast(), offset)
    }

    #[inline(always)]
    fn signal_stack(&self) -> [u64; 2] {
        if constant!(OFFSETS.task_signal_stack) == 0 {
            return [0, UNKNOWN_STACK];
        }
        [
            read(running(), constant!(OFFSETS.task_signal_stack)),
            read(running(), constant!(OFFSETS.task_signal_stack_bytes)),
        ]
    }

    #[inline(always)]
    fn thread_flags(&self) -> u32 {
        read(self.task(), constant!(OFFSETS.task_thread_flags))
    }

    #[inline(always)]
    fn has_io_uring_work(&self) -> bool {
        let (works, io_uring) = (constant!(OFFSETS.task_works), constant!(OFFSETS.task_io_uring));
        io_uring != 0
            && read::<u64>(self.task(), io_uring) != 0
            && read::<u64>(self.task(), works) != 0
    }
}

#[inline(always)]
fn running() -> *const u8 {
    // SAFETY: the helper has no preconditions and always returns the running task.
    unsafe { bpf_get_current_task() as *const u8 }
}

/// What lies `offset` bytes into kernel memory at `from`; zero where that cannot be read.
#[inline(always)]
fn read<V: Zero>(from: *const u8, offset: u32) -> V {
    // SAFETY: the read helper checks the address itself.
    unsafe { bpf_probe_read_kernel(from.wrapping_add(offset as usize).cast::<V>()) }
        .unwrap_or(V::ZERO)
}

trait Zero {
    const ZERO: Self;
}

impl Zero for u32 {
    const ZERO: Self = 0;
}

impl Zero for u64 {
    const ZERO: Self = 0;
}

impl Zero for Comm {
    const ZERO: Self = [0; 2];
}

impl Zero for *const u8 {
    const ZERO: Self = null();
}

/// The `sa_handler` that a `struct k_sigaction` begins with.
#[inline(always)]
pub(crate) fn handler_of(action: *const u8) -> u64 {
    read(action, 0)
}
