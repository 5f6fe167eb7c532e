//! Whether any task, not only the running one, is in scope: for iterators. Slower than the question
//! about the running one (`scope`), which helpers of the kernel answer.

use aya_ebpf::{bindings::task_struct, helpers::bpf_probe_read_kernel};
use syscost_common::scope::{CGROUP, COMM, HOST, PROCESS, PROCESSES, THREAD, THREADS, USER};

use crate::{
    frozen::frozen,
    maps::{OFFSETS, SCOPE},
    scope::is_target,
    task,
};

/// Whether `task` is in scope.
#[inline(always)]
pub(crate) fn contains(task: *mut task_struct) -> bool {
    match frozen!(SCOPE.mode) {
        PROCESS => task::tgid(task) == frozen!(SCOPE.id),
        THREAD => task::tid(task) == frozen!(SCOPE.id),
        PROCESSES => is_target(task::tgid(task)),
        THREADS => is_target(task::tid(task)),
        _ if task::tgid(task) == frozen!(SCOPE.not_tgid) => false,
        // The iterator sees the reader's PID namespace and those in it; only its own counts.
        _ if frozen!(SCOPE.pid_level) != 0 && task::level_of(task) != frozen!(SCOPE.pid_level) => {
            false
        }
        COMM => task::process_comm(task) == [frozen!(SCOPE.comm[0]), frozen!(SCOPE.comm[1])],
        CGROUP => ancestor_id(task) == frozen!(SCOPE.cgroup_id),
        USER => task::uid(task) == frozen!(SCOPE.id),
        HOST => true,
        _ => false,
    }
}

/// The id of the cgroup at the scope's depth that `task` is in or below; 0 if it is not that deep.
#[inline(always)]
fn ancestor_id(task: *mut task_struct) -> u64 {
    let level = frozen!(SCOPE.cgroup_level);
    let cgroup = task::cgroup(task);
    let ancestors = frozen!(OFFSETS.cgroup_ancestors) + 8 * level;
    if read::<u32>(cgroup, frozen!(OFFSETS.cgroup_level)) < level {
        return 0;
    }
    if frozen!(OFFSETS.cgroup_ancestors_are_ids) != 0 {
        return read(cgroup, ancestors);
    }
    let ancestor = read::<u64>(cgroup, ancestors) as *const u8;
    let node = read::<u64>(ancestor, frozen!(OFFSETS.cgroup_kn)) as *const u8;
    read(node, frozen!(OFFSETS.kn_id))
}

/// Read by the helper: an array whose length its type does not say cannot be followed otherwise.
#[inline(always)]
fn read<V: Default>(from: *const u8, offset: u32) -> V {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(from.wrapping_add(offset as usize).cast::<V>()) }
        .unwrap_or_default()
}
