//! What threads do at the moment, as /proc tells.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{harness::Target, running::eventually};

/// Sends a target a signal.
pub(crate) fn signal(target: &Target, signal: Signal) {
    kill(Pid::from_raw(target.pid() as i32), signal).expect("it is there");
}

/// The CPU time of a process's first thread, ns.
pub(crate) fn thread_ns(pid: u32) -> u64 {
    let accounts = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it is there");
    accounts.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// The number of the call in which a thread is asleep: off its CPU and out of the queue, or the kernel
/// does not tell. `None` while it runs or could run.
pub(crate) fn asleep_in(pid: u32, tid: u32) -> Option<i64> {
    let call = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    call.split_whitespace().next()?.parse().ok()
}

/// Waits until a thread is asleep in call `nr`. A state of S is not enough: a thread has it already on
/// its way there.
pub(crate) fn await_asleep_in(pid: u32, tid: u32, nr: i64) {
    eventually("it sleeps in its call", || asleep_in(pid, tid) == Some(nr));
}

/// The state of a process's first thread: R, S, T, Z, …
pub(crate) fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).expect("a state")
}

/// The ids of a process's threads, in their order.
pub(crate) fn threads(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let id = |task: std::io::Result<fs::DirEntry>| {
        let name = task.expect("it runs").file_name();
        name.to_str().and_then(|name| name.parse().ok()).expect("a number")
    };
    let mut ids: Vec<u32> = tasks.map(id).collect();
    ids.sort_unstable();
    ids
}
