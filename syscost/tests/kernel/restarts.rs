//! Interrupted calls: one call to the program, however often the kernel enters it.

use std::time::Instant;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use syscost::{
    probe::{Probe, Snapshot},
    request::Request,
    sample::{Detail, KindKey},
};
use syscost_common::{kind::AbiClass, ledger::Counter};

use crate::{
    harness::{Measured, Stat, Target, choice, eventually, hooks, measure, seeing_hooks, skipped},
    threads::{asleep_in, await_asleep_in, signal, state, thread_ns},
};

const TIMES: u64 = 20;

fn interrupted(how: &str, hooks: &str) -> Measured {
    let measured = measure(&["interrupted", &TIMES.to_string(), how, "0"], hooks);
    measured.assert_exact();
    // The handler made its own calls, and returned.
    assert_eq!(measured.count("getppid"), TIMES, "{hooks}");
    assert_eq!(measured.count("rt_sigreturn"), TIMES);
    assert_eq!(measured.errors("rt_sigreturn"), 0);
    assert_eq!(measured.ledger("in_flight"), 0);
    assert_eq!(measured.ledger("orphan_exits"), 0);
    measured
}

#[test]
fn a_call_restarted_after_a_handler_is_one_call_and_no_error() {
    for hooks in hooks() {
        let measured = interrupted("restart", &hooks);
        assert_eq!(measured.count("readv"), 1, "{hooks}");
        assert_eq!(measured.errors("readv"), 0);
        assert_eq!(measured.ledger("restarts"), TIMES);
        assert_eq!(measured.ledger("interrupted"), TIMES);
    }
}

#[test]
fn a_call_that_returns_eintr_is_a_call_and_an_error() {
    for hooks in hooks() {
        let measured = interrupted("retry", &hooks);
        assert_eq!(measured.count("readv"), TIMES + 1, "{hooks}");
        assert_eq!(measured.errors("readv"), TIMES);
        assert_eq!(measured.row("readv").unwrap()["errnos"]["EINTR"], TIMES);
        assert_eq!(measured.ledger("restarts"), 0);
        assert_eq!(measured.ledger("interrupted"), 0);
    }
}

#[test]
fn a_handlers_call_of_the_same_kind_is_not_mistaken_for_the_restart() {
    for hooks in hooks() {
        let measured = interrupted("same", &hooks);
        assert_eq!(measured.count("readv"), 1 + TIMES, "{hooks}");
        assert_eq!(measured.errors("readv"), TIMES);
        assert_eq!(measured.row("readv").unwrap()["errnos"]["EAGAIN"], TIMES);
        assert_eq!(measured.ledger("restarts"), TIMES);
    }
}

#[test]
fn a_handlers_call_that_is_interrupted_itself_is_one_call_and_so_is_the_outer_one() {
    for hooks in hooks() {
        let measured = measure(&["nested", "10"], &hooks);
        measured.assert_exact();
        // One outer and ten inner ones, and each signal restarts one.
        assert_eq!(measured.count("readv"), 11, "{hooks}");
        assert_eq!(measured.errors("readv"), 0);
        assert_eq!(measured.ledger("restarts"), 20);
        assert_eq!(measured.count("rt_sigreturn"), 20);
        assert_eq!(measured.count("getppid"), 10);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn a_sleep_that_is_stopped_and_continued_is_one_sleep() {
    for hooks in hooks() {
        let mut target = Target::start(&["nap"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.begin();
        let (pid, process) = (target.pid(), Pid::from_raw(target.pid() as i32));
        let sleeps = || {
            let call = asleep_in(pid, pid);
            state(pid) == 'S'
                && (call == Some(libc::SYS_nanosleep) || call == Some(libc::SYS_restart_syscall))
        };
        eventually("it sleeps", sleeps);
        let begin = Instant::now();
        for _ in 0..3 {
            kill(process, Signal::SIGSTOP).unwrap();
            eventually("it is stopped", || state(pid) == 'T');
            kill(process, Signal::SIGCONT).unwrap();
            eventually("it goes on", || state(pid) != 'T');
            eventually("it sleeps", sleeps);
        }
        let slept = begin.elapsed();
        kill(process, Signal::SIGUSR1).unwrap();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        let row = measured.row("nanosleep").unwrap();
        assert_eq!(row["count"], 1, "{hooks}");
        assert_eq!(row["errnos"]["EINTR"], 1, "{row}");
        assert!(u128::from(row["min_ns"].as_u64().unwrap()) >= slept.as_nanos(), "{row}");
        assert_eq!(measured.count("restart_syscall"), 0);
        assert_eq!(measured.ledger("restarts"), 3);
    }
}

/// As many as are kept for each thread.
#[test]
fn three_interrupted_calls_on_top_of_each_other_are_told_apart() {
    for hooks in hooks() {
        let measured = measure(&["stacked", "3"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("readv"), 4, "{hooks}");
        assert_eq!(measured.errors("readv"), 0);
        assert_eq!(measured.ledger("restarts"), 3);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

#[test]
fn more_of_them_are_guessed_and_the_numbers_are_estimates() {
    for hooks in hooks() {
        let measured = measure(&["stacked", "5"], &hooks);
        measured.assert_consistent();
        assert_eq!(measured.ledger("restarts_guessed"), 2, "{hooks}");
        assert_eq!(measured.0["exact"], false);
        // The two oldest are taken for abandoned, and what they go on with for calls of their own.
        assert_eq!(measured.count("readv"), 6 + 2);
        assert_eq!(measured.ledger("abandoned"), 2);
        assert_eq!(measured.ledger("restarts"), 3);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

/// Whatever the handler does on its way out, and whichever code the call was interrupted with.
#[test]
fn a_call_that_a_handler_jumps_out_of_is_a_call() {
    for hooks in hooks() {
        for call in ["readv", "nanosleep"] {
            for how in ["jump", "jump-mask", "jump-call", "jump-stack"] {
                let measured = measure(&["abandoned", "20", how, call], &hooks);
                let context = format!("{hooks} {call} {how}");
                // That of the last one: a thousand calls deeper in the stack may be its handler's.
                measured.assert_consistent();
                assert_eq!(measured.ledger("restarts_guessed"), 1, "{context}");
                assert_eq!(measured.0["exact"], false, "{context}");
                assert_eq!(measured.count(call), TIMES, "{context}");
                assert_eq!(measured.errors(call), 0, "{context}");
                assert_eq!(measured.ledger("abandoned"), TIMES, "{context}");
                assert_eq!(measured.ledger("restarts"), 0, "{context}");
                assert_eq!(measured.ledger("in_flight"), 0, "{context}");
                assert_eq!(measured.count("getpgid"), TIMES, "{context}");
                let calls_first = matches!(how, "jump-call" | "jump-stack");
                let first = if calls_first { TIMES } else { 0 };
                assert_eq!(measured.count("getppid"), 1100 + first, "{context}");
            }
        }
    }
}

#[test]
fn a_handler_that_changes_the_result_ends_the_call_with_it() {
    for hooks in hooks() {
        for call in ["readv", "nanosleep"] {
            let measured = measure(&["abandoned", "20", "edit", call], &hooks);
            measured.assert_exact();
            assert_eq!(measured.count(call), TIMES, "{hooks} {call}");
            assert_eq!(measured.errors(call), 0);
            assert_eq!(measured.ledger("abandoned"), 0);
            assert_eq!(measured.ledger("restarts"), 0);
            assert_eq!(measured.ledger("in_flight"), 0);
        }
    }
}

#[test]
fn the_last_jump_leaves_no_call_in_flight() {
    for hooks in hooks() {
        let mut target = Target::start(&["abandoned", "3", "jump", "nanosleep"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        await_end_of_input(&target);
        let measured = stat.stop();
        measured.assert_consistent();
        assert_eq!(measured.ledger("restarts_guessed"), 1, "the last, deeper in the stack");
        assert_eq!(measured.count("nanosleep"), 3, "{hooks}");
        assert_eq!(measured.ledger("in_flight"), 1);
        if let Some(open) = measured.0["in_flight"].as_array() {
            let names: Vec<_> = open.iter().map(|call| call["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["read"], "{hooks}");
        }
        target.end();
    }
}

/// It has ended although the thread makes no other call.
#[test]
fn a_call_that_failed_with_eintr_counts_at_once() {
    for hooks in hooks() {
        let mut target = Target::start(&["interrupted-then-computing"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", &hooks]);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        signal(&target, Signal::SIGUSR1);
        let before = thread_ns(pid);
        eventually("it computes", || thread_ns(pid) > before + 100_000_000);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!((measured.count("readv"), measured.errors("readv")), (1, 1), "{hooks}");
        assert_eq!(measured.count("rt_sigreturn"), 1);
        assert_eq!(measured.ledger("in_flight"), 0);
        assert_eq!(measured.ledger("interrupted"), 0);
        signal(&target, Signal::SIGUSR2);
        assert_eq!(target.line(), "done");
        target.end();
    }
}

/// While its handler runs, a call is open. After a thousand calls that is no longer believed.
#[test]
fn a_call_whose_handler_makes_many_calls_is_guessed_to_be_abandoned() {
    for hooks in hooks() {
        let mut target = Target::start(&["handled", "late-reading"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", &hooks]);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        signal(&target, Signal::SIGUSR1);
        await_asleep_in(pid, pid, libc::SYS_read);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_ppoll);
        let measured = stat.stop();
        measured.assert_consistent();
        assert_eq!(measured.count("readv"), 1, "{hooks}: which has not ended");
        assert_eq!(measured.ledger("restarts_guessed"), 1, "{hooks}");
        assert_eq!(measured.0["exact"], false);
        assert_eq!(measured.count("getppid"), 1500);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
    }
}

/// A handler can switch to a stack that lies above, and back: each call that it is assumed to have left is said
/// to be a guess.
#[test]
fn calls_in_coroutines_whose_handlers_switch_away_are_guessed() {
    for hooks in hooks() {
        let measured = measure(&["coroutines", "6"], &hooks);
        measured.assert_consistent();
        assert_eq!(measured.ledger("restarts_guessed"), 6, "{hooks}");
        assert_eq!(measured.0["exact"], false, "{hooks}");
        assert_eq!(measured.count("getppid"), 6);
    }
}

/// Handlers that jump, over and over, and others that return to the same place: nothing of it is guessed.
#[test]
fn handlers_that_return_after_others_have_jumped_prove_nothing_wrong() {
    const TIMES: u64 = 200;
    for hooks in hooks() {
        let measured = measure(&["jump-and-return", &TIMES.to_string()], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("readv"), 2 * TIMES, "{hooks}");
        assert_eq!(measured.ledger("abandoned"), TIMES, "{hooks}");
    }
}

/// A debugger lets a thread that sleeps make calls, and puts its registers back (gdb's `call`).
#[test]
#[cfg(target_arch = "x86_64")]
fn a_sleep_in_which_a_debugger_makes_calls_is_one_sleep() {
    // From a frame far below, and from one that no handler's could be as close as.
    for (hooks, below) in hooks().iter().flat_map(|hooks| [8192, 64].map(|below| (hooks, below))) {
        let mut target = Target::start(&["nap"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", hooks]);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_nanosleep);
        debugger::call_getppid(pid, below, None);
        await_asleep_in(pid, pid, libc::SYS_restart_syscall);
        signal(&target, Signal::SIGUSR1);
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_consistent();
        assert_eq!(measured.count("getppid"), 2, "{hooks}: the debugger's and the handler's");
        assert_eq!(measured.count("nanosleep"), 1, "{hooks} {below}");
        assert_eq!(measured.count("restart_syscall"), 0, "{hooks} {below}");
        assert_eq!(measured.ledger("restarts_guessed"), 1, "{hooks} {below}");
        assert_eq!(measured.0["exact"], false, "{hooks} {below}");
    }
}

/// A tracer does not let an interrupted call go on, and says what came of it (`strace --inject`). The next one at
/// the same place is another one.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_that_is_denied_when_it_goes_on_has_ended() {
    for hooks in hooks() {
        let mut target = Target::start(&["handled", "restart"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", &hooks]);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        debugger::deny(pid);
        // The program makes it again.
        await_asleep_in(pid, pid, libc::SYS_readv);
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!((measured.count("readv"), measured.errors("readv")), (2, 1), "{hooks}");
        let readv = measured.rows().find(|row| row["name"] == "readv").unwrap();
        assert_eq!(readv["errnos"]["EAGAIN"], 1, "{hooks}");
        assert_eq!(measured.ledger("restarts"), 0, "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 1, "{hooks}");
    }
}

/// The same of a call that goes on under its own number.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_read_in_which_a_debugger_makes_calls_is_one_read() {
    for (hooks, below) in hooks().iter().flat_map(|hooks| [8192, 64].map(|below| (hooks, below))) {
        for was_attached_before in [false, true] {
            let mut target = Target::start(&["handled", "restart"]);
            let pid = target.pid();
            let attach = || Stat::attach(pid, &["--hooks", hooks]);
            let before = was_attached_before.then(attach);
            target.begin();
            await_asleep_in(pid, pid, libc::SYS_readv);
            let stat = before.unwrap_or_else(attach);
            debugger::call_getppid(pid, below, None);
            await_asleep_in(pid, pid, libc::SYS_readv);
            target.begin();
            assert_eq!(target.line(), "done");
            target.end();
            let measured = stat.finish();
            measured.assert_consistent();
            let (reads, context) = (u64::from(was_attached_before), format!("{hooks} {below}"));
            assert_eq!(measured.count("readv"), reads, "{context}");
            assert_eq!(measured.count("getppid"), 1, "{context}");
            assert_eq!(measured.ledger("restarts_guessed"), 1, "{context}");
            assert_eq!(measured.0["exact"], false, "{context}");
        }
    }
}

/// A handler runs in the debugger's function, and returns there: it has not left the call.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_handler_in_a_debuggers_function_abandons_nothing() {
    for (hooks, below) in hooks().iter().flat_map(|hooks| [8192, 1024].map(|below| (hooks, below)))
    {
        let mut target = Target::start(&["interrupted-then-computing"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", hooks]);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        debugger::call_getppid(pid, below, Some(libc::SIGUSR1));
        await_asleep_in(pid, pid, libc::SYS_readv);
        // The call's own handler, after which the program is done.
        signal(&target, Signal::SIGUSR2);
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_consistent();
        assert_eq!((measured.count("readv"), measured.errors("readv")), (1, 1), "{hooks} {below}");
        assert_eq!(measured.count("rt_sigreturn"), 2, "{hooks} {below}");
        assert_eq!(measured.ledger("abandoned"), 0, "{hooks} {below}");
        // Where the kernel hands the signal over differs: its handler's return, and that the call goes on, may be
        // guesses.
        let guessed = measured.ledger("restarts_guessed");
        assert!(guessed <= 2, "{hooks} {below}: {guessed}");
        assert_eq!(measured.0["exact"], guessed == 0, "{hooks} {below}");
    }
}

/// The handler returns to a frame below that of the call, as from a handler that a debugger's function had. It may
/// have been that: a guess.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_after_which_a_handler_injects_another_function_is_a_call() {
    for hooks in hooks() {
        let measured = measure(&["abandoned", "20", "inject", "readv"], &hooks);
        measured.assert_consistent();
        assert_eq!((measured.count("readv"), measured.errors("readv")), (20, 20), "{hooks}");
        assert_eq!(measured.count("getppid"), 1_120, "{hooks}");
        assert_eq!(measured.ledger("in_flight"), 0, "{hooks}");
        assert_eq!(measured.ledger("restarts_guessed"), 20, "{hooks}");
        assert_eq!(measured.0["exact"], false, "{hooks}");
    }
}

/// It is stopped before its supervisor has let it go on, so that the kernel does not enter it in between.
#[test]
fn a_call_that_is_stopped_while_its_supervisor_is_asked_goes_on() {
    for hooks in hooks() {
        let mut target = Target::start(&["supervised-read"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", &hooks]);
        target.begin();
        assert_eq!(target.line(), "let in");
        let waits_in = |place: &str| {
            await_asleep_in(pid, pid, libc::SYS_readv);
            let path = format!("/proc/{pid}/wchan");
            // Linux 5.10 does not tell.
            let is_there = |wchan: String| wchan == "0" || wchan.contains(place);
            eventually(place, || is_there(std::fs::read_to_string(&path).unwrap()));
        };
        let stop_and_go_on = || {
            signal(&target, Signal::SIGSTOP);
            eventually("it is stopped", || state(pid) == 'T');
            signal(&target, Signal::SIGCONT);
        };
        waits_in("pipe");
        stop_and_go_on();
        waits_in("seccomp");
        stop_and_go_on();
        waits_in("seccomp");
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!((measured.count("readv"), measured.errors("readv")), (1, 0), "{hooks}");
    }
}

/// `fcntl` says -512 to -514 of such process groups, and nothing has interrupted it.
#[test]
fn a_result_that_looks_like_an_interruption_is_one_call_each_time() {
    for hooks in hooks() {
        let mut target = Target::spawn(&["odd-results", "100"]);
        if target.line() == "refused" {
            return skipped("PIDs 512 to 514 are in use");
        }
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("fcntl"), 100, "{hooks}");
        assert_eq!(measured.ledger("restarts"), 0, "{hooks}");
    }
}

/// A signal for the process interrupts the call of a thread, and another thread takes it first.
#[test]
fn a_call_whose_signal_another_thread_takes_goes_on() {
    for hooks in hooks() {
        let measured = measure(&["alarmed", "4", "500"], &hooks);
        measured.assert_exact();
        assert_eq!((measured.count("readv"), measured.errors("readv")), (2_000, 0), "{hooks}");
        assert_eq!(measured.ledger("in_flight"), 0, "{hooks}");
    }
}

/// Both of them have ended, although the thread's next call lasts.
#[test]
fn two_calls_that_one_jump_leaves_count_at_once() {
    for hooks in hooks() {
        let mut target = Target::start(&["jump-out-of-two"]);
        let pid = target.pid();
        let stat = Stat::attach(pid, &["--hooks", &hooks]);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        signal(&target, Signal::SIGUSR1);
        await_asleep_in(pid, pid, libc::SYS_nanosleep);
        signal(&target, Signal::SIGUSR2);
        await_asleep_in(pid, pid, libc::SYS_read);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.ledger("abandoned"), 2, "{hooks}");
        assert_eq!((measured.count("readv"), measured.count("nanosleep")), (1, 1), "{hooks}");
        assert_eq!(measured.ledger("in_flight"), 1, "{hooks}: the one that lasts");
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
    }
}

#[cfg(target_arch = "x86_64")]
mod debugger {
    //! What a debugger does to a thread that waits in a call.

    use std::{mem::MaybeUninit, ptr::null_mut};

    use crate::harness::eventually;

    /// Lets the process `pid`, which has one thread, call `getppid` with its stack pointer moved down by
    /// `below` bytes, and go on with its own call. Before that, `signal` is handled there, by a handler that makes no
    /// call.
    pub(super) fn call_getppid(pid: u32, below: u64, signal: Option<i32>) {
        let traced = Traced::stop(pid);
        let own = traced.registers();
        let mut call = own;
        // No call to go on with.
        call.orig_rax = u64::MAX;
        call.rax = libc::SYS_getppid as u64;
        call.rsp -= below;
        // The `syscall` that it is in.
        call.rip -= 2;
        traced.set(call);
        if let Some(signal) = signal {
            // To the handler, and in and out of its return.
            traced.request(libc::PTRACE_SINGLESTEP, null_mut::<u8>().wrapping_add(signal as usize));
            traced.wait();
            (0..2).for_each(|_| traced.go_on(libc::PTRACE_SYSCALL));
        }
        traced.go_on(libc::PTRACE_SINGLESTEP);
        traced.set(own);
        traced.request(libc::PTRACE_DETACH, null_mut::<u8>());
    }

    /// Lets the call that the process waits in, when it goes on, fail with EAGAIN instead.
    pub(super) fn deny(pid: u32) {
        let traced = Traced::stop(pid);
        // Until it is about to enter it again.
        traced.go_on(libc::PTRACE_SYSCALL);
        let mut registers = traced.registers();
        registers.orig_rax = u64::MAX;
        registers.rax = -i64::from(libc::EAGAIN) as u64;
        traced.set(registers);
        traced.request(libc::PTRACE_DETACH, null_mut::<u8>());
    }

    /// A thread that this one traces.
    struct Traced(libc::pid_t);

    impl Traced {
        fn stop(pid: u32) -> Self {
            let traced = Self(pid as libc::pid_t);
            traced.request(libc::PTRACE_ATTACH, null_mut::<u8>());
            traced.wait();
            traced
        }

        fn request<D>(&self, request: libc::c_uint, data: *mut D) {
            // SAFETY: the thread is traced by this one; `data` is a signal, none, or a place for its registers.
            let done = unsafe { libc::ptrace(request, self.0, null_mut::<u8>(), data) };
            assert_eq!(done, 0, "{request}: {}", std::io::Error::last_os_error());
        }

        fn wait(&self) {
            eventually("the traced thread stops", || {
                // SAFETY: asks for the state of a thread that this one traces.
                match unsafe { libc::waitpid(self.0, null_mut(), libc::__WALL | libc::WNOHANG) } {
                    0 => false,
                    stopped => stopped == self.0,
                }
            });
        }

        fn go_on(&self, how: libc::c_uint) {
            self.request(how, null_mut::<u8>());
            self.wait();
        }

        fn registers(&self) -> libc::user_regs_struct {
            let mut registers = MaybeUninit::uninit();
            self.request(libc::PTRACE_GETREGS, registers.as_mut_ptr());
            // SAFETY: the kernel has filled it in.
            unsafe { registers.assume_init() }
        }

        fn set(&self, mut registers: libc::user_regs_struct) {
            self.request(libc::PTRACE_SETREGS, &raw mut registers);
        }
    }
}

/// Waits until the target, which has done all it had to, waits for the end of its input.
fn await_end_of_input(target: &Target) {
    let path = format!("/proc/{}/syscall", target.pid());
    let read = format!("{} ", libc::SYS_read);
    eventually("it waits for its end", || {
        std::fs::read_to_string(&path).unwrap().starts_with(&read)
    });
}

#[test]
fn a_handler_that_executes_a_program_abandons_the_call() {
    for hooks in hooks() {
        let mut target = Target::start(&["exec-in-handler"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.begin();
        // The new program.
        assert_eq!(target.line(), "ready");
        target.work();
        await_end_of_input(&target);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("readv"), 1, "{hooks}");
        assert_eq!(measured.errors("readv"), 0);
        assert_eq!(measured.count("execve"), 1);
        assert_eq!(measured.ledger("abandoned"), 1);
        assert_eq!(measured.count("getppid"), 20);
        assert_eq!(measured.ledger("in_flight"), 1);
        target.end();
    }
}

#[test]
fn a_thread_that_exits_in_a_handler_abandons_its_call() {
    for hooks in hooks() {
        let measured = measure(&["exit-in-handler", "thread"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("nanosleep"), 1, "{hooks}");
        assert_eq!(measured.count("getppid"), 1);
        assert_eq!(measured.ledger("abandoned"), 1);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

/// -512 is what the kernel calls an interruption; here it is a number of the program's.
#[test]
fn a_handlers_return_is_never_interrupted_whatever_the_program_was_computing() {
    for hooks in hooks() {
        let measured = measure(&["odd-register", "20"], &hooks);
        measured.assert_exact();
        assert_eq!(measured.count("rt_sigreturn"), TIMES, "{hooks}");
        assert_eq!(measured.errors("rt_sigreturn"), 0);
        assert_eq!(measured.ledger("interrupted"), 0);
        assert_eq!(measured.ledger("in_flight"), 0);
    }
}

/// Each `rt_sigreturn` says what became of an interrupted call, so that none may be left out.
#[test]
fn a_sample_does_not_take_calls_that_failed_with_eintr_for_restarts() {
    const CALLS: u64 = 640;
    for hooks in seeing_hooks() {
        let mut target = Target::start(&["interrupted", &CALLS.to_string(), "retry", "0"]);
        let request = Request { hooks: choice(&hooks), ..Request::process(target.pid()) };
        let mut probe = Probe::attach(&request).unwrap();
        probe.set_detail(Detail::Sampling(16)).unwrap();
        target.work();
        let Snapshot { kinds, ledger } = probe.snapshot();
        let counted = |counter: Counter| ledger.counters[counter as usize];
        let row = |nr: i64| {
            let key = KindKey::Call { abi: AbiClass::Native, nr: nr as u32 };
            kinds.iter().find(|kind| kind.key == key).unwrap()
        };
        assert_eq!(counted(Counter::Restarts), 0, "{hooks}");
        assert_eq!(row(libc::SYS_rt_sigreturn).calls(), CALLS, "each one, and for itself");
        let readv = row(libc::SYS_readv);
        let failed: u64 = readv.errnos.iter().map(|(_, count)| *count).sum();
        // All but the last one fail.
        assert!(failed + 16 >= readv.calls(), "{failed} of {}", readv.calls());
        assert_eq!(counted(Counter::Interrupted), 0);
        target.end();
    }
}
