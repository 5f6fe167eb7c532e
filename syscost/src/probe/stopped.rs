//! Threads that are stopped in the middle of an interrupted call when the probes are attached.

use std::fs;

use super::{family::pids, scope::Scope};

/// How many threads of `scope` may be stopped in a call. The kernel makes that call anew when they go on,
/// which cannot be told from one of the program's own, unless the iterator over threads notes it. Where
/// a scope is not given by PIDs, those of the whole host. 0 when `/proc` cannot be read.
pub(super) fn in_calls(scope: &Scope) -> u64 {
    let pids = match scope {
        Scope::Process(pid) => vec![*pid],
        Scope::Processes { tgids, follow: false } => tgids.clone(),
        _ => pids().unwrap_or_default(),
    };
    pids.into_iter().map(of_process).sum()
}

fn of_process(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let is_counted = |thread: &fs::DirEntry| {
        let read = |file: &str| fs::read(thread.path().join(file)).unwrap_or_default();
        is_stopped(&read("stat")) && may_be_in_call(&read("syscall"))
    };
    threads.flatten().filter(is_counted).count() as u64
}

/// The state of a thread follows its name in parentheses, which may hold anything: T or t.
fn is_stopped(stat: &[u8]) -> bool {
    let end = stat.iter().rposition(|byte| *byte == b')');
    end.is_some_and(|end| stat[end..].starts_with(b") T") || stat[end..].starts_with(b") t"))
}

/// x86 tells -1 outside calls. arm64 also does of an interrupted call, see `do_signal` of
/// arch/arm64/kernel/signal.c.
fn may_be_in_call(syscall: &[u8]) -> bool {
    !(cfg!(target_arch = "x86_64") && syscall.starts_with(b"-1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_what_follows_the_name_whatever_that_is() {
        assert!(is_stopped(b"12 (sh) T 1 12"));
        assert!(is_stopped(b"12 (a) S (b) t 1 12"));
        assert!(!is_stopped(b"12 (a) T (b) S 1 12"));
        assert!(!is_stopped(b""));
    }
}
