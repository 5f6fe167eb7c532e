//! Calls that a signal had interrupted before they were seen: what goes on afterwards is no new call.

use nix::sys::signal::Signal;

use crate::{
    harness::{Measured, Stat, Target, eventually, hooks, newborn_exits},
    threads::{asleep_in, await_asleep_in, signal, state, thread_ns},
};

fn await_call(target: &Target, nr: i64) {
    await_asleep_in(target.pid(), target.pid(), nr);
}

fn stop(target: &Target) {
    signal(target, Signal::SIGSTOP);
    eventually("it is stopped", || state(target.pid()) == 'T');
}

fn go_on(target: &Target) {
    signal(target, Signal::SIGCONT);
    eventually("it goes on", || state(target.pid()) != 'T');
}

/// A target that is blocked in its `readv`, where SIGUSR1 does what `how` says.
fn blocked(how: &str) -> Target {
    let mut target = Target::start(&["handled", how]);
    target.begin();
    await_call(&target, libc::SYS_readv);
    target
}

/// The same, in its handler's `read` by now.
fn in_handler(how: &str) -> Target {
    let target = blocked(how);
    signal(&target, Signal::SIGUSR1);
    await_call(&target, libc::SYS_read);
    target
}

/// Ends the handler with a line. The call that it interrupted goes on.
fn return_from_handler(target: &mut Target) {
    target.begin();
    await_call(target, libc::SYS_readv);
}

/// Nothing but exactly `open_at_attach` calls whose begin was not seen.
fn assert_open_at_attach(measured: &Measured, open_at_attach: u64, context: &str) {
    measured.assert_exact();
    assert_eq!(measured.ledger("open_at_attach"), open_at_attach, "{context}");
    for nothing in ["interrupted", "restarts", "abandoned", "in_flight", "orphan_exits"] {
        assert_eq!(measured.ledger(nothing), 0, "{context}: {nothing}");
    }
}

/// A thread was stopped at attach, and its registers were not read.
fn assert_restart_is_guessed(measured: &Measured) {
    measured.assert_consistent();
    assert_eq!(measured.0["exact"], false);
    assert_eq!(measured.ledger("restarts_guessed"), 1);
}

/// A call open at attach, from which a handler returns as `how` says.
fn handled_after_attach(how: &str, hooks: &str) -> Measured {
    let mut target = blocked(how);
    let stat = attach(&target, hooks);
    signal(&target, Signal::SIGUSR1);
    await_call(&target, libc::SYS_read);
    return_from_handler(&mut target);
    end(target, stat)
}

/// A call in whose handler the target is at attach, and which returns as `how` says.
fn handled_at_attach(how: &str, hooks: &str) -> Measured {
    let mut target = in_handler(how);
    let stat = attach(&target, hooks);
    return_from_handler(&mut target);
    end(target, stat)
}

/// A call that is stopped at attach, and interrupted by a handler when it goes on.
fn handled_after_a_stop(how: &str, hooks: &str) -> Measured {
    let mut target = blocked(how);
    stop(&target);
    let stat = attach(&target, hooks);
    signal(&target, Signal::SIGUSR1);
    go_on(&target);
    await_call(&target, libc::SYS_read);
    return_from_handler(&mut target);
    end(target, stat)
}

fn attach(target: &Target, hooks: &str) -> Stat {
    Stat::attach(target.pid(), &["--hooks", hooks])
}

fn end(mut target: Target, stat: Stat) -> Measured {
    target.work();
    target.end();
    stat.finish()
}

#[test]
fn a_call_open_at_attach_that_a_handler_interrupts_and_that_goes_on() {
    for hooks in hooks() {
        let measured = handled_after_attach("restart", &hooks);
        assert_open_at_attach(&measured, 1, &hooks);
        assert_eq!(measured.count("readv"), 0, "{hooks}");
        assert_eq!(measured.count("rt_sigreturn"), 1);
    }
}

#[test]
fn a_call_open_at_attach_that_fails_with_eintr_and_is_made_again() {
    for hooks in hooks() {
        let measured = handled_after_attach("retry", &hooks);
        assert_open_at_attach(&measured, 1, &hooks);
        assert_eq!(measured.count("readv"), 1, "{hooks}");
        assert_eq!(measured.errors("readv"), 0);
    }
}

#[test]
fn a_call_open_at_attach_that_is_stopped_and_goes_on() {
    for hooks in hooks() {
        let target = blocked("restart");
        let stat = attach(&target, &hooks);
        for _ in 0..3 {
            stop(&target);
            go_on(&target);
            await_call(&target, libc::SYS_readv);
        }
        let measured = end(target, stat);
        assert_open_at_attach(&measured, 1, &hooks);
        assert_eq!(measured.count("readv"), 0, "{hooks}");
    }
}

#[test]
fn a_call_that_was_in_a_handler_at_attach_and_goes_on() {
    for hooks in hooks() {
        let measured = handled_at_attach("restart", &hooks);
        // The handler's own call, and the one that it interrupted.
        assert_open_at_attach(&measured, 2, &hooks);
        assert_eq!(measured.count("readv"), 0, "{hooks}");
        assert_eq!(measured.count("rt_sigreturn"), 1);
    }
}

#[test]
fn a_call_that_was_in_a_handler_at_attach_and_is_made_again() {
    for hooks in hooks() {
        let measured = handled_at_attach("retry", &hooks);
        assert_open_at_attach(&measured, 1, &hooks);
        assert_eq!(measured.count("readv"), 1, "{hooks}");
    }
}

/// The handler that began unseen is interrupted itself, once more than it returns.
#[test]
fn handlers_that_were_seen_do_not_stand_for_one_that_was_not() {
    for hooks in hooks() {
        let mut target = in_handler("restart");
        let stat = attach(&target, &hooks);
        for _ in 0..3 {
            stop(&target);
            go_on(&target);
            await_call(&target, libc::SYS_read);
        }
        return_from_handler(&mut target);
        signal(&target, Signal::SIGUSR1);
        await_call(&target, libc::SYS_read);
        return_from_handler(&mut target);
        let measured = end(target, stat);
        assert_open_at_attach(&measured, 2, &hooks);
        assert_eq!(measured.count("readv"), 0, "{hooks}");
        assert_eq!(measured.count("read"), 1 + 1, "the second handler's, and for the end");
        assert_eq!(measured.count("rt_sigreturn"), 2);
    }
}

/// A sleep goes on as `restart_syscall`.
#[test]
fn a_sleep_that_was_stopped_at_attach() {
    for hooks in hooks() {
        for was_attached_before in [false, true] {
            let mut target = Target::start(&["nap"]);
            target.begin();
            await_call(&target, libc::SYS_nanosleep);
            if !was_attached_before {
                stop(&target);
            }
            let stat = attach(&target, &hooks);
            if was_attached_before {
                stop(&target);
            }
            for _ in 0..2 {
                go_on(&target);
                await_call(&target, libc::SYS_restart_syscall);
                stop(&target);
            }
            go_on(&target);
            await_call(&target, libc::SYS_restart_syscall);
            signal(&target, Signal::SIGUSR1);
            assert_eq!(target.line(), "done");
            target.end();
            let measured = stat.finish();
            if hooks == "raw" && !was_attached_before {
                assert_restart_is_guessed(&measured);
            } else {
                assert_open_at_attach(&measured, 1, &hooks);
            }
            assert_eq!(measured.count("restart_syscall"), 0, "{hooks}");
            assert_eq!(measured.count("nanosleep"), 0);
        }
    }
}

#[test]
fn a_sleep_that_the_filter_leaves_out_is_left_out_when_it_goes_on() {
    for hooks in hooks() {
        let mut target = Target::start(&["nap"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-e", "!nanosleep"]);
        target.begin();
        await_call(&target, libc::SYS_nanosleep);
        stop(&target);
        go_on(&target);
        await_call(&target, libc::SYS_restart_syscall);
        signal(&target, Signal::SIGUSR1);
        assert_eq!(target.line(), "done");
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("restart_syscall"), 0, "{hooks}");
        assert_eq!(measured.count("nanosleep"), 0);
    }
}

/// Such a call is entered anew under its own number. Before it goes on, its registers show it; without
/// an iterator they are not read.
#[test]
fn a_call_that_was_stopped_at_attach_and_goes_on() {
    for hooks in hooks() {
        let target = blocked("restart");
        stop(&target);
        let stat = attach(&target, &hooks);
        go_on(&target);
        await_call(&target, libc::SYS_readv);
        let measured = end(target, stat);
        if hooks == "raw" {
            assert_restart_is_guessed(&measured);
        } else {
            assert_open_at_attach(&measured, 1, &hooks);
            assert_eq!(measured.count("readv"), 0, "{hooks}");
        }
    }
}

/// The signal for its handler comes while it is stopped.
#[test]
fn a_call_that_was_stopped_at_attach_and_goes_on_after_a_handler() {
    for hooks in hooks() {
        let measured = handled_after_a_stop("restart", &hooks);
        if hooks == "raw" {
            assert_restart_is_guessed(&measured);
        } else {
            assert_open_at_attach(&measured, 1, &hooks);
            assert_eq!(measured.count("readv"), 0, "{hooks}");
        }
    }
}

/// What is stopped between two calls makes a new one when it goes on.
#[test]
fn a_thread_that_was_stopped_outside_any_call_at_attach() {
    for hooks in hooks() {
        let target = Target::spawn(&["burn-at-once", "600000"]);
        eventually("it is stopped outside a call", || {
            stop(&target);
            let is_outside = asleep_in(target.pid(), target.pid()) == Some(-1);
            if !is_outside {
                go_on(&target);
            }
            is_outside
        });
        let stat = attach(&target, &hooks);
        go_on(&target);
        let before = thread_ns(target.pid());
        // One call at least in each 5 ms.
        eventually("it computes again", || thread_ns(target.pid()) > before + 200_000_000);
        let measured = stat.stop();
        assert!(measured.count("getppid") > 0, "{hooks}");
        // Of a stopped thread, arm64's /proc does not tell whether it is in a call.
        if hooks == "raw" && cfg!(target_arch = "aarch64") {
            assert_restart_is_guessed(&measured);
        } else {
            measured.assert_exact();
        }
        assert_eq!(measured.ledger("open_at_attach"), 0, "{hooks}");
    }
}

/// The child was seen from its birth: what it returns to is a call of its own.
#[test]
fn a_child_forked_in_a_handler_that_began_before_makes_its_call() {
    for hooks in hooks() {
        let mut target = in_handler("fork");
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-f"]);
        return_from_handler(&mut target);
        let pid = target.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let child = children.trim().parse().expect("one child");
        await_asleep_in(child, child, libc::SYS_readv);
        target.begin();
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("readv"), 1, "{hooks}: the child's");
        assert_eq!(measured.ledger("open_at_attach"), 2, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(1), "{hooks}");
    }
}

/// More calls in the handler than are waited for: what the call was taken for is wrong, and said to be.
#[test]
fn a_wrong_guess_about_a_call_that_was_not_seen_makes_an_estimate() {
    for hooks in hooks() {
        let measured = handled_after_a_stop("late", &hooks);
        measured.assert_consistent();
        assert_eq!(measured.count("getppid"), 1500, "{hooks}");
        assert_eq!(measured.ledger("restarts_guessed"), 1, "{hooks}");
        assert_eq!(measured.0["exact"], false, "{hooks}");
    }
}

/// Such a return leads to a call as one of a handler would that began unseen. Of three that can be.
#[test]
#[cfg(target_arch = "x86_64")]
fn returns_without_any_handler_make_an_estimate() {
    for hooks in hooks() {
        let measured = crate::harness::measure(&["bare-returns", "1000"], &hooks);
        measured.assert_consistent();
        assert_eq!(measured.count("rt_sigreturn"), 1000, "{hooks}");
        assert_eq!(measured.ledger("restarts_guessed"), 997, "{hooks}");
        assert_eq!(measured.0["exact"], false, "{hooks}");
    }
}

#[test]
fn a_restart_that_the_program_makes_itself_is_counted_though_the_call_before_was_left_out() {
    for hooks in hooks() {
        let mut target = Target::start(&["abandoned", "20", "jump-restart", "readv"]);
        let args = ["--hooks", &hooks, "-e", "restart_syscall"];
        let stat = Stat::attach(target.pid(), &args);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("restart_syscall"), 20, "{hooks}");
    }
}

/// Which call it is was not seen, so that only that of its handler is listed.
#[test]
fn a_call_open_at_attach_is_not_listed_while_its_handler_makes_another() {
    for hooks in hooks() {
        let target = blocked("restart");
        let stat = attach(&target, &hooks);
        signal(&target, Signal::SIGUSR1);
        await_call(&target, libc::SYS_read);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.ledger("in_flight"), 1, "{hooks}");
        if let Some(open) = measured.0["in_flight"].as_array() {
            let names: Vec<_> = open.iter().map(|call| &call["name"]).collect();
            assert_eq!(names, ["read"], "{hooks}");
        }
    }
}

/// It has its result already, and is only not back yet. Elsewhere the registers do not tell.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_that_has_returned_is_not_listed_while_its_thread_is_stopped() {
    let mut target = Target::start(&["stops-itself"]);
    target.begin();
    eventually("it is stopped", || state(target.pid()) == 'T');
    for hooks in hooks() {
        let measured = attach(&target, &hooks).stop();
        // Without an iterator, its registers are not read.
        if hooks == "raw" {
            assert_restart_is_guessed(&measured);
        } else {
            measured.assert_exact();
            assert_eq!(measured.0["in_flight"], serde_json::json!([]), "{hooks}");
        }
    }
    go_on(&target);
    assert_eq!(target.line(), "done");
    target.end();
}
