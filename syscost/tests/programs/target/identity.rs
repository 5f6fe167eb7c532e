//! Threads and processes whose tid, name or cgroup changes.

use std::{
    env,
    ffi::CString,
    fs::File,
    io::{Read, stdin},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
    thread,
};

use super::{
    burn::burn,
    done,
    families::{clone3_into, fork, wait},
    getppid, ready, say,
};

/// Says the tid of a thread, which executes this program again at a line: in mode `tree 0 0 EACH`, where the
/// first thread makes all calls. Before that, it uses `ms` ms of CPU time.
pub(crate) fn exec_by_thread(each: u64, ms: u64) {
    let begin = std::sync::mpsc::channel::<()>();
    let tid = std::sync::mpsc::channel();
    thread::spawn(move || {
        tid.0.send(own_tid()).expect("someone listens");
        begin.1.recv().expect("a line");
        burn(ms);
        let program = env::current_exe().expect("our path");
        let error = Command::new(program).args(["tree", "0", "0", &each.to_string()]).exec();
        panic!("cannot exec: {error}");
    });
    say(&tid.1.recv().expect("a tid").to_string());
    ready();
    begin.0.send(()).expect("a thread");
    loop {
        thread::park();
    }
}

/// The first thread ends at a line; another one goes on until stdin ends.
pub(crate) fn leader_leaves() {
    let left = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        left.1.recv().expect("a line");
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    ready();
    left.0.send(()).expect("a thread");
    // SAFETY: ends this thread only; nothing on its stack is needed by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Takes `name` and lays it down again, `times` times, with two calls under it and three without.
pub(crate) fn toggle(name: &str, times: u64) {
    ready();
    for _ in 0..times {
        (0..3).for_each(|_| getppid());
        take_name(name);
        (0..2).for_each(|_| getppid());
        take_name("somebody-else");
    }
    done();
}

/// A thread called `name` forks a child that makes `each` calls.
pub(crate) fn fork_as(name: &str, each: u64) {
    ready();
    let name = name.to_owned();
    let forks = thread::spawn(move || {
        take_name(&name);
        let child = fork();
        if child == 0 {
            call_and_exit(each);
        }
        wait(child);
    });
    forks.join().expect("a thread");
    done();
}

/// Forks a child into the cgroup at `path`; it makes `each` calls.
pub(crate) fn into_cgroup(path: &str, each: u64) {
    let folder = File::open(path).expect("a cgroup");
    ready();
    let child = clone3_into(folder.as_raw_fd());
    assert!(child >= 0, "a child");
    if child == 0 {
        call_and_exit(each);
    }
    wait(child);
    done();
}

fn call_and_exit(each: u64) {
    (0..each).for_each(|_| getppid());
    // SAFETY: ends without running any cleanup.
    unsafe { libc::_exit(0) };
}

fn take_name(name: &str) {
    let name = CString::new(name).expect("no zero");
    // SAFETY: the kernel reads a string that ends with zero.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }, 0);
}

fn own_tid() -> i32 {
    // SAFETY: takes nothing and touches no memory.
    unsafe { libc::gettid() }
}
