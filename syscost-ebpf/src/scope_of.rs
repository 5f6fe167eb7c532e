//! Whether any task, not only the running one, is in scope: for iterators, new children and CPU time. It is slower than
//! the test for the running one (`scope`), for which the kernel has helpers.

use syscost_common::scope::{CGROUP, COMM, HOST, PROCESS, PROCESSES, THREAD, THREADS, USER};

use crate::{
    constant::constant,
    maps::SCOPE,
    scope::{is_target, is_target_thread, is_the_thread, the_process_lives},
    thread::Thread,
};

/// Whether `thread` is in scope.
#[inline(always)]
pub(crate) fn contains<T: Thread>(thread: &T) -> bool {
    match constant!(SCOPE.mode) {
        PROCESS => thread.tgid() == constant!(SCOPE.id) && the_process_lives(),
        THREAD => is_the_thread(thread),
        PROCESSES => is_target(thread.tgid()),
        THREADS => is_target_thread(thread),
        _ if thread.tgid() == constant!(SCOPE.not_tgid) => false,
        // An iterator sees the reader's PID namespace and those below it, other hooks see all. Only the reader's own counts.
        _ if constant!(SCOPE.pid_level) != 0 && !thread.is_in_shown_namespace() => false,
        COMM => thread.process_comm() == [constant!(SCOPE.comm[0]), constant!(SCOPE.comm[1])],
        CGROUP => {
            thread.ancestor_cgroup_id(constant!(SCOPE.cgroup_level)) == constant!(SCOPE.cgroup_id)
        }
        USER => thread.uid() == constant!(SCOPE.id),
        HOST => true,
        _ => false,
    }
}
