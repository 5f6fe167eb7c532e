//! An id that is used again is never measured in place of the one that had it, not even while syscost
//! itself is stopped and cannot see the end.

use std::process::Command;

use nix::sys::signal::{Signal, kill};

use syscost::{
    probe::{Probe, Snapshot},
    request::Request,
    scope::{Scope, ThreadId},
};
use syscost_common::ledger::Counter;

use crate::harness::{Stat, Target, choice, hooks, installed, seeing_hooks, skipped, syscost};

/// Calls of the one that is measured. The other one makes a thousand times as many.
const EACH: u64 = 7;

/// As [`with_an_heir_by`], by syscost itself.
fn with_an_heir(mode: &str, hooks: &str, args: impl Fn(&str) -> Vec<String>, is_stopped: bool) {
    with_an_heir_by(&mut syscost(), mode, hooks, args, is_stopped);
}

/// Starts `mode`, measures the process or thread that it names by `args`, and lets another one have its id.
fn with_an_heir_by(
    command: &mut Command,
    mode: &str,
    hooks: &str,
    args: impl Fn(&str) -> Vec<String>,
    is_stopped: bool,
) {
    let mut target = Target::spawn(&[mode, &EACH.to_string()]);
    let id = target.line();
    let args = args(&id);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let stat = Stat::start_by(command, &[&args[..], &["--hooks", hooks]].concat());
    target.begin();
    assert_eq!(target.line(), "made");
    let tracer = stat.pid();
    if is_stopped {
        kill(tracer, Signal::SIGSTOP).unwrap();
    }
    target.work();
    if is_stopped {
        kill(tracer, Signal::SIGCONT).unwrap();
    }
    // All that was given has ended, or is ended here.
    let measured =
        if args.iter().any(|arg| arg.contains(',')) { stat.stop() } else { stat.finish() };
    let what = format!("{args:?} {is_stopped} {:#}", measured.0["ledger"]);
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), EACH, "{what}");
    assert_eq!(measured.ledger("in_flight"), 0, "{what}");
    if let Some(calls) = measured.0["in_flight"].as_array() {
        let id: u64 = id.parse().unwrap();
        assert!(calls.iter().all(|call| call["tid"] != id), "{calls:?}");
    }
    if let Some(groups) = measured.0["groups"].as_array() {
        let calls: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
        assert_eq!(calls, measured.ledger("matched"), "{groups:?}");
    }
    target.end();
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_process_that_gets_the_pid_is_not_measured() {
    for hooks in hooks() {
        for is_stopped in [false, true] {
            let other = Target::start(&["calls", "1", "1"]);
            let list = |id: &str| words(&["-p", &format!("{id},{}", other.pid())]);
            with_an_heir("pid-heir", &hooks, |id| words(&["-p", id]), is_stopped);
            with_an_heir("pid-heir", &hooks, list, is_stopped);
            with_an_heir("pid-heir", &hooks, |id| words(&["-p", id, "-f"]), is_stopped);
        }
    }
}

#[test]
fn a_thread_that_gets_the_tid_is_not_measured() {
    for hooks in hooks() {
        for is_stopped in [false, true] {
            let other = Target::start(&["calls", "1", "1"]);
            let list = |id: &str| words(&["-t", &format!("{id},{}", other.pid())]);
            for mode in ["pid-heir", "tid-heir"] {
                with_an_heir(mode, &hooks, |id| words(&["-t", id]), is_stopped);
                with_an_heir(mode, &hooks, list, is_stopped);
            }
        }
    }
}

#[test]
fn groups_do_not_count_the_process_that_gets_the_pid() {
    for hooks in seeing_hooks() {
        for by in ["process", "thread"] {
            with_an_heir("pid-heir", &hooks, |id| words(&["-p", id, "--by", by]), true);
            with_an_heir("tid-heir", &hooks, |id| words(&["-t", id, "--by", by]), true);
        }
    }
}

/// The program in a mount namespace of its own, in which the kernel has no BTF.
fn without_btf() -> Option<Command> {
    if !installed("unshare") {
        skipped("no unshare");
        return None;
    }
    let script = "mount --bind /dev/null /sys/kernel/btf/vmlinux && exec \"$0\" \"$@\"";
    let program = syscost();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(program.get_program());
    for (key, value) in program.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    Some(command)
}

#[test]
fn without_kernel_btf_a_process_that_gets_the_pid_is_not_measured() {
    for is_stopped in [false, true] {
        let Some(mut command) = without_btf() else { return };
        with_an_heir_by(&mut command, "pid-heir", "raw", |id| words(&["-p", id]), is_stopped);
    }
}

#[test]
fn without_kernel_btf_a_process_outlives_its_first_thread() {
    // The first thread has ended before; it ends while measured; it is another one after exec.
    for (mode, count) in [("leaderless", 1_000), ("leader-leaves", 0), ("exec-by-thread", 1_000)] {
        let Some(mut command) = without_btf() else { return };
        let mut target = Target::spawn(&[mode, "1000"]);
        while target.line() != "ready" {}
        let stat = Stat::attach_by(&mut command, target.pid(), &["--hooks", "raw"]);
        match mode {
            "leaderless" => target.work(),
            "exec-by-thread" => {
                target.begin();
                assert_eq!(target.line(), "ready");
                target.work();
            }
            _ => target.begin(),
        }
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), count, "{mode}");
        assert_eq!(measured.ledger("in_flight"), 0, "{mode}");
        assert_eq!(measured.0["target_exited"], true);
    }
}

/// What has ended after it was found and before its end could be seen.
#[test]
fn what_ended_before_the_programs_were_attached_is_not_measured() {
    for hooks in hooks() {
        let mut target = Target::start(&["calls", "1", "10"]);
        let tgid = target.pid();
        let thread = ThreadId { tid: tgid, tgid };
        let scopes = [
            Scope::Process(tgid),
            Scope::Processes { tgids: vec![tgid], follow: true },
            Scope::Processes { tgids: vec![tgid, std::process::id()], follow: false },
            Scope::Thread(thread),
            Scope::Threads(vec![thread]),
        ];
        let attach = |scope: &Scope| {
            let request =
                Request { scope: scope.clone(), hooks: choice(&hooks), ..Request::process(tgid) };
            Probe::attach_to(&request, &|id| id != tgid).unwrap()
        };
        let mut probes: Vec<_> = scopes.iter().map(attach).collect();
        target.work();
        target.end();
        for (probe, scope) in probes.iter_mut().zip(&scopes) {
            let left =
                u64::from(matches!(scope, Scope::Processes { tgids, .. } if tgids.len() == 2));
            assert_eq!(probe.targets_left(), left, "{hooks} {scope:?}");
            assert_eq!(probe.children(), 0);
            let getppid = |kind: &&syscost::sample::KindSample| {
                matches!(kind.key, syscost::sample::KindKey::Call { nr, .. }
                    if i64::from(nr) == libc::SYS_getppid)
            };
            let Snapshot { kinds, ledger } = probe.snapshot();
            assert!(!kinds.iter().any(|kind| getppid(&kind)), "{hooks} {scope:?}");
            if left == 0 {
                assert_eq!(ledger.counters[Counter::Enters as usize], 0, "{hooks} {scope:?}");
            }
        }
    }
}
