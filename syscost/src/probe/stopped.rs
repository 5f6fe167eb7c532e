//! Threads that are stopped in the middle of an interrupted call when the probes are attached.

use std::{collections::HashSet, fs};

use crate::{
    proc::{pids, stat::Stat},
    scope::{Scope, ThreadId},
};

/// The tids of threads of `scope` that may be stopped in a call. When such a thread goes on, the kernel makes the call
/// again, and that looks like a new call, unless the iterator over open calls has noted it. For a cgroup, the threads
/// of the whole host. Empty if `/proc` cannot be read.
pub(super) fn in_calls(scope: &Scope) -> HashSet<u32> {
    let threads = match scope {
        Scope::Process(pid) => threads_of(*pid),
        Scope::Processes { tgids, follow: false } => of_all(tgids.clone()),
        Scope::Thread(thread) => vec![*thread],
        Scope::Threads(threads) => threads.clone(),
        _ => of_all(pids().unwrap_or_default()),
    };
    let counts = |thread: &ThreadId| is_stopped_in_call(*thread) && may_contain(scope, thread.tgid);
    threads.into_iter().filter(counts).map(|thread| thread.tid).collect()
}

fn of_all(tgids: Vec<u32>) -> Vec<ThreadId> {
    tgids.into_iter().flat_map(threads_of).collect()
}

fn threads_of(tgid: u32) -> Vec<ThreadId> {
    let Ok(threads) = fs::read_dir(format!("/proc/{tgid}/task")) else { return Vec::new() };
    let tids = threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    tids.map(|tid| ThreadId { tid, tgid }).collect()
}

fn is_stopped_in_call(ThreadId { tid, tgid }: ThreadId) -> bool {
    let thread = format!("/proc/{tgid}/task/{tid}");
    let is_stopped = Stat::at(&format!("{thread}/stat")).is_some_and(|stat| match stat.state {
        'T' | 't' => true,
        // Frozen with its cgroup (`do_freezer_trap` of kernel/signal.c), which looks like any other sleep.
        'S' | 'D' => {
            let place = fs::read_to_string(format!("{thread}/wchan")).unwrap_or_default();
            place.contains("freezer") || place.starts_with("get_signal")
        }
        _ => false,
    });
    is_stopped && may_be_in_call(&fs::read(format!("{thread}/syscall")).unwrap_or_default())
}

/// x86 shows -1 outside of calls. arm64 shows it for an interrupted call as well (`do_signal` of
/// arch/arm64/kernel/signal.c).
fn may_be_in_call(syscall: &[u8]) -> bool {
    !(cfg!(target_arch = "x86_64") && syscall.starts_with(b"-1"))
}

/// Whether the process `tgid` may be in `scope`, as far as `/proc` shows.
fn may_contain(scope: &Scope, tgid: u32) -> bool {
    match scope {
        Scope::Processes { tgids, follow: true } => descends_from(tgids, tgid),
        Scope::Comm(name) => fs::read(format!("/proc/{tgid}/comm"))
            .is_ok_and(|comm| comm.strip_suffix(b"\n") == Some(name.as_bytes())),
        Scope::User(uid) => fs::read_to_string(format!("/proc/{tgid}/status"))
            .map_or(true, |status| real_uid(&status).is_none_or(|real| real == *uid)),
        _ => true,
    }
}

/// Whether the process is one of `ancestors`, or descends from one.
fn descends_from(ancestors: &[u32], mut tgid: u32) -> bool {
    while tgid != 0 && !ancestors.contains(&tgid) {
        let Some(stat) = Stat::at(&format!("/proc/{tgid}/stat")) else { return false };
        tgid = stat.ppid;
    }
    tgid != 0
}

/// The first number of the line `Uid:` of proc_pid_status(5).
fn real_uid(status: &str) -> Option<u32> {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_its_own_processes_and_no_others() {
        let (own, parent) = (std::process::id(), std::os::unix::process::parent_id());
        assert!(descends_from(&[own], own) && descends_from(&[parent], own));
        assert!(!descends_from(&[own], parent) && !descends_from(&[], own));
        let uid = real_uid("Name:\tsh\nUid:\t7\t8\t9\t10\n");
        assert_eq!(uid, Some(7));
        let comm = fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
        assert!(may_contain(&Scope::Comm(comm.clone()), own));
        assert!(!may_contain(&Scope::Comm(format!("{comm}x")), own));
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let uid = real_uid(&status).unwrap();
        assert!(may_contain(&Scope::User(uid), own) && !may_contain(&Scope::User(uid + 1), own));
    }
}
