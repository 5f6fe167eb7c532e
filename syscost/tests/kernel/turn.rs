//! Which tests run at the same time.
//!
//! libtest runs as many tests at a time as `--test-threads` says. A test that only watches processes of its own is
//! not disturbed by another one of this kind, and shares its turn. Every other test has a turn alone: it counts the
//! whole host, keeps the CPUs busy, compares times, makes the kernel use ids again, changes a setting, or counts the
//! programs that this process itself has loaded.

use std::{
    cell::RefCell,
    process::Command,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
};

use crate::running::run;

/// The tests that share turns, by the beginning of their names. A test that is not here runs alone.
const TOGETHER: [&str; 11] = [
    "causes::",
    "compat::",
    "counts::",
    "filters::",
    "identity::",
    "lifecycle::",
    "output::",
    "privileges::",
    "restarts::",
    "unseen::",
    "weather::",
];

/// The exceptions: tests that run alone although their modules share turns.
const ALONE: [&str; 9] = [
    // They compare times.
    "counts::a_call_that_blocks_50_ms_lands_in_the_right_bucket",
    "identity::a_leaders_cpu_time_does_not_become",
    "output::an_interval_and_a_half_second_is_not_rounded",
    "output::a_window_that_is_shorter_than_measuring_the_cost_takes",
    "weather::calibrating_measures_all_there_is",
    // They keep both CPUs busy for seconds.
    "counts::of_a_million_calls_none_is_lost",
    "lifecycle::after_100_000_short_lived_threads_nothing_is_left_behind",
    "lifecycle::of_10_000_threads_at_once_every_call_is_counted",
    // It sets the next PID of the host.
    "lifecycle::a_pid_that_is_used_again_inherits_no_open_call",
];

static TURNS: RwLock<()> = RwLock::new(());

/// What a running test holds. Held for its destructor.
enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

thread_local! {
    /// The turn of the test that runs in this thread. It ends with the thread.
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// Waits for the running test's turn, unless it has it already. Whatever starts processes calls this first.
pub(crate) fn take() {
    let thread = thread::current();
    // libtest calls a test's thread by the test's name. Where it runs one test at a time, that is the main thread.
    // Threads that tests start have no name: they belong to a turn that is taken.
    let Some(test) = thread.name().filter(|name| name.contains("::")) else { return };
    TURN.with_borrow_mut(|turn| {
        turn.get_or_insert_with(|| {
            if runs_alone(test) {
                Turn::Alone { _guard: TURNS.write().unwrap_or_else(PoisonError::into_inner) }
            } else {
                Turn::Shared { _guard: TURNS.read().unwrap_or_else(PoisonError::into_inner) }
            }
        });
    });
}

fn runs_alone(test: &str) -> bool {
    let begins_with_any = |names: &[&str]| names.iter().any(|name| test.starts_with(name));
    begins_with_any(&ALONE) || !begins_with_any(&TOGETHER)
}

#[test]
fn every_name_in_the_tables_is_that_of_a_test() {
    let this = std::env::current_exe().expect("it runs");
    let list = run(Command::new(this).args(["--list", "--format=terse"])).stdout;
    for name in TOGETHER.iter().chain(&ALONE) {
        assert!(list.lines().any(|test| test.starts_with(name)), "no test begins with {name}");
    }
}
