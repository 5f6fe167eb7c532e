//! A task, read through a BTF pointer: plain loads at offsets known when loading.

use aya_ebpf::{
    bindings::task_struct,
    helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task_btf},
};
use syscost_common::{
    comm::{self, Comm},
    config::{UPID_BYTES, UPID_NAMESPACE},
    in_flight::ThreadIds,
};

use crate::{
    constant::constant,
    kind,
    maps::{OFFSETS, SCOPE},
};

/// The running task.
#[inline(always)]
pub(crate) fn current() -> *mut task_struct {
    // SAFETY: the helper has no preconditions and always returns the running task.
    unsafe { bpf_get_current_task_btf().cast() }
}

/// The tgid of `task`, in the root PID namespace.
#[inline(always)]
pub(crate) fn tgid(task: *mut task_struct) -> u32 {
    read(task.cast(), constant!(OFFSETS.task_tgid))
}

/// The tid of `task`, in the root PID namespace.
#[inline(always)]
pub(crate) fn tid(task: *mut task_struct) -> u32 {
    read(task.cast(), constant!(OFFSETS.task_pid))
}

/// The first thread of the process that `task` belongs to.
#[inline(always)]
pub(crate) fn leader(task: *mut task_struct) -> *mut task_struct {
    pointer(task.cast(), constant!(OFFSETS.task_leader)).cast()
}

/// The name of the process that `task` belongs to.
#[inline(always)]
pub(crate) fn process_comm(task: *mut task_struct) -> Comm {
    own_comm(leader(task))
}

/// The name of `task` itself.
#[inline(always)]
pub(crate) fn own_comm(task: *mut task_struct) -> Comm {
    let at = task.cast::<u8>().wrapping_add(constant!(OFFSETS.task_comm) as usize);
    // SAFETY: a BTF pointer, as below.
    let words =
        unsafe { [at.cast::<u64>().read_volatile(), at.cast::<u64>().add(1).read_volatile()] };
    comm::padded(words)
}

/// When `task` was started, ns of CLOCK_MONOTONIC.
#[inline(always)]
pub(crate) fn started_at(task: *mut task_struct) -> u64 {
    let at = task.cast::<u8>().wrapping_add(constant!(OFFSETS.task_start_time) as usize);
    // SAFETY: a BTF pointer, as below.
    unsafe { at.cast::<u64>().read_volatile() }
}

/// Whether all threads of the process that `task` belongs to have begun to exit.
#[inline(always)]
pub(crate) fn process_is_dead(task: *mut task_struct) -> bool {
    let signal = pointer(task.cast(), constant!(OFFSETS.task_signal));
    read(signal, constant!(OFFSETS.signal_live)) == 0
}

/// The id of the cgroup that `task` is in, of the unified hierarchy.
#[inline(always)]
pub(crate) fn cgroup_id(task: *mut task_struct) -> u64 {
    let node = pointer(cgroup(task), constant!(OFFSETS.cgroup_kn));
    let id = node.wrapping_add(constant!(OFFSETS.kn_id) as usize);
    // SAFETY: a BTF pointer, as below.
    unsafe { id.cast::<u64>().read_volatile() }
}

/// The `struct cgroup` that `task` is in, of the unified hierarchy.
#[inline(always)]
pub(crate) fn cgroup(task: *mut task_struct) -> *mut u8 {
    let set = pointer(task.cast(), constant!(OFFSETS.task_cgroups));
    pointer(set, constant!(OFFSETS.css_set_cgroup))
}

/// The id of the cgroup at depth `level` that `task` is in or below; 0 if it is not that deep.
#[inline(always)]
pub(crate) fn ancestor_cgroup_id(task: *mut task_struct, level: u32) -> u64 {
    let cgroup = cgroup(task);
    let ancestors = constant!(OFFSETS.cgroup_ancestors) + 8 * level;
    if probe_read::<u32>(cgroup, constant!(OFFSETS.cgroup_level)) < level {
        return 0;
    }
    if constant!(OFFSETS.cgroup_ancestors_are_ids) != 0 {
        return probe_read(cgroup, ancestors);
    }
    let ancestor = probe_read::<u64>(cgroup, ancestors) as *const u8;
    let node = probe_read::<u64>(ancestor, constant!(OFFSETS.cgroup_kn)) as *const u8;
    probe_read(node, constant!(OFFSETS.kn_id))
}

/// Read by the helper: an array whose length its type does not say cannot be followed otherwise.
#[inline(always)]
fn probe_read<V: Default>(from: *const u8, offset: u32) -> V {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(from.wrapping_add(offset as usize).cast::<V>()) }
        .unwrap_or_default()
}

/// The real uid of `task`, in the root user namespace.
#[inline(always)]
pub(crate) fn uid(task: *mut task_struct) -> u32 {
    read(pointer(task.cast(), constant!(OFFSETS.task_cred)), constant!(OFFSETS.cred_uid))
}

/// The ids of `task` in the PID namespace that they are shown in; 0 for what it does not hold.
#[inline(always)]
pub(crate) fn shown_ids(task: *mut task_struct) -> ThreadIds {
    let comm = process_comm(task);
    let level = constant!(SCOPE.pid_level);
    if level == 0 {
        return ThreadIds { tid: tid(task), tgid: tgid(task), comm };
    }
    ThreadIds { tid: id_at(task, level), tgid: id_at(leader(task), level), comm }
}

/// The tid of `task` in its PID namespace of depth `level`; 0 if it lives in none that deep.
#[inline(always)]
pub(crate) fn id_at(task: *mut task_struct, level: u32) -> u32 {
    if level_of(task) < level {
        return 0;
    }
    let pid = pointer(task.cast(), constant!(OFFSETS.task_thread_pid));
    let at = constant!(OFFSETS.pid_numbers) + level * UPID_BYTES;
    // The array has an entry for each level, which its type does not say.
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(pid.wrapping_add(at as usize).cast::<u32>()) }.unwrap_or(0)
}

/// Whether `task` lives in the PID namespace that ids are shown of, which is not the root one.
#[inline(always)]
pub(crate) fn is_in_shown_namespace(task: *mut task_struct) -> bool {
    let level = constant!(SCOPE.pid_level);
    if level_of(task) != level {
        return false;
    }
    let pid = pointer(task.cast(), constant!(OFFSETS.task_thread_pid));
    let at = constant!(OFFSETS.pid_numbers) + level * UPID_BYTES + UPID_NAMESPACE;
    let namespace = probe_read::<u64>(pid, at) as *const u8;
    let number: u32 = probe_read(namespace, constant!(OFFSETS.pid_ns_number));
    u64::from(number) == constant!(SCOPE.pid_ns_ino)
}

/// How deep the PID namespace is that `task` lives in; 0 for the root one.
#[inline(always)]
pub(crate) fn level_of(task: *mut task_struct) -> u32 {
    let pid = pointer(task.cast(), constant!(OFFSETS.task_thread_pid));
    read(pid, constant!(OFFSETS.pid_level))
}

/// Whether `task` can run, rather than waits.
#[inline(always)]
pub(crate) fn is_runnable(task: *mut task_struct) -> bool {
    // The field is a long before Linux 5.14; its low half is what it is later.
    read(task.cast(), constant!(OFFSETS.task_state)) == 0
}

/// Whether a signal or a tracer has stopped `task`.
#[inline(always)]
pub(crate) fn is_stopped(task: *mut task_struct) -> bool {
    // __TASK_STOPPED and __TASK_TRACED of include/linux/sched.h.
    read(task.cast(), constant!(OFFSETS.task_state)) & 0xc != 0
}

/// The `PF_*` bits of `task`.
#[inline(always)]
pub(crate) fn flags(task: *mut task_struct) -> u32 {
    read(task.cast(), constant!(OFFSETS.task_flags))
}

/// Whether `task` has begun to exit.
#[inline(always)]
pub(crate) fn is_exiting(task: *mut task_struct) -> bool {
    /// `PF_EXITING` (include/linux/sched.h).
    const EXITING: u32 = 0x4;
    flags(task) & EXITING != 0
}

/// Whether `task` holds a ring of io_uring's, as a descriptor or without one; `false` where that is not known.
#[inline(always)]
pub(crate) fn has_ring(task: *mut task_struct) -> bool {
    let (at, rings) = (constant!(OFFSETS.task_io_uring), constant!(OFFSETS.io_uring_rings));
    if at == 0 || rings == 0 {
        return false;
    }
    // By the helper, which fails where nothing can be read: not every kernel's BTF says what this points to, and some
    // let nothing be added to it before it is known not to be null.
    let io_uring = task.cast::<u8>().wrapping_add(at as usize).cast::<u64>();
    // SAFETY: the helper has no preconditions.
    let first = unsafe { bpf_probe_read_kernel(io_uring) }.and_then(|io_uring| {
        // SAFETY: as above.
        unsafe { bpf_probe_read_kernel((io_uring + u64::from(rings)) as *const u64) }
    });
    first.is_ok_and(|first| first != 0)
}

/// The CPU that `task` runs on; `None` while it does not run, or where that is not known.
#[inline(always)]
pub(crate) fn runs_on(task: *mut task_struct) -> Option<u32> {
    let (on_cpu, cpu) = (constant!(OFFSETS.task_on_cpu), constant!(OFFSETS.task_cpu));
    if on_cpu == 0 || cpu == 0 {
        return None;
    }
    // One byte since Linux 7, and 1 in the first one before.
    // SAFETY: a BTF pointer, as below.
    let runs = unsafe { task.cast::<u8>().add(on_cpu as usize).read_volatile() };
    if runs == 0 {
        return None;
    }
    Some(read(task.cast(), cpu))
}

/// How long `task`, which is losing the CPU, has had it, ns; `None` where the scheduler does not say.
#[inline(always)]
pub(crate) fn slice_ns(task: *mut task_struct) -> Option<u64> {
    /// `MAX_RT_PRIO` (include/linux/sched/prio.h): below are real-time tasks, whose slices have no mark.
    const MAX_RT_PRIO: i32 = 100;
    let before = constant!(OFFSETS.task_runtime_before);
    if before == 0 || (read(task.cast(), constant!(OFFSETS.task_prio)) as i32) < MAX_RT_PRIO {
        return None;
    }
    // SAFETY: a BTF pointer, as below.
    let ns = |at: u32| unsafe { task.cast::<u8>().add(at as usize).cast::<u64>().read_volatile() };
    Some(ns(constant!(OFFSETS.task_runtime)).saturating_sub(ns(before)))
}

/// How long `task` has waited for CPUs, ns, until it was last given one; `None` where the scheduler
/// keeps no account.
#[inline(always)]
pub(crate) fn run_delay(task: *mut task_struct) -> Option<u64> {
    let at = constant!(OFFSETS.task_run_delay);
    if at == 0 {
        return None;
    }
    // SAFETY: a BTF pointer, as below.
    Some(unsafe { task.cast::<u8>().add(at as usize).cast::<u64>().read_volatile() })
}

/// The alternate signal stack of `task`: its lowest address and its size, bytes.
#[inline(always)]
pub(crate) fn signal_stack(task: *mut task_struct) -> [u64; 2] {
    let word = |offset: u32| {
        // SAFETY: a BTF pointer, as below.
        unsafe { task.cast::<u8>().add(offset as usize).cast::<u64>().read_volatile() }
    };
    [word(constant!(OFFSETS.task_signal_stack)), word(constant!(OFFSETS.task_signal_stack_bytes))]
}

/// The `TIF_*` bits of `task`.
#[inline(always)]
pub(crate) fn thread_flags(task: *mut task_struct) -> u32 {
    read(task.cast(), constant!(OFFSETS.task_thread_flags))
}

/// Whether io_uring has work for `task`, as far as that can be told: it has a ring, and work of any kind is queued.
#[inline(always)]
pub(crate) fn has_io_uring_work(task: *mut task_struct) -> bool {
    let (works, io_uring) = (constant!(OFFSETS.task_works), constant!(OFFSETS.task_io_uring));
    io_uring != 0
        && !pointer(task.cast(), io_uring).is_null()
        && !pointer(task.cast(), works).is_null()
}

/// Whether any BPF program has storage in `task`. It saves most tasks a look-up. Where the member is not known, all may
/// have.
#[inline(always)]
pub(crate) fn may_have_storage(task: *mut task_struct) -> bool {
    let at = constant!(OFFSETS.task_bpf_storage);
    at == 0 || !pointer(task.cast(), at).is_null()
}

/// Whether the call that `task` is in is a compat call; where that is not known, it passes for a native one.
#[inline(always)]
pub(crate) fn is_in_compat_call(task: *mut task_struct) -> bool {
    let at = constant!(OFFSETS.task_compat);
    at != 0 && kind::is_compat(read(task.cast(), at))
}

#[inline(always)]
fn read(from: *mut u8, offset: u32) -> u32 {
    // SAFETY: a BTF pointer; the verifier checks the offset against the type, and the kernel turns
    // a faulting load into 0.
    unsafe { from.add(offset as usize).cast::<u32>().read_volatile() }
}

#[inline(always)]
fn pointer(from: *mut u8, offset: u32) -> *mut u8 {
    // SAFETY: as above; the verifier knows what the pointer read there points to.
    unsafe { from.add(offset as usize).cast::<*mut u8>().read_volatile() }
}
