//! Processes that make processes.

use std::{os::unix::process::CommandExt, process::Command};

use super::{done, getppid, ready, wait_for_ever};

/// A process that makes `each` calls from its first instruction on, and then `width` children which
/// do the same, down to `depth` below the first one.
pub(crate) fn tree(depth: u64, width: u64, each: u64) {
    ready();
    branch(depth, width, each);
    done();
}

fn branch(depth: u64, width: u64, each: u64) {
    (0..each).for_each(|_| getppid());
    if depth == 0 {
        return;
    }
    for index in 0..width {
        let child = if index % 2 == 0 { fork() } else { clone3() };
        if child == 0 {
            branch(depth - 1, width, each);
            // SAFETY: ends without running any cleanup.
            unsafe { libc::_exit(0) };
        }
        wait(child);
    }
}

/// `children` processes live at the same time, and make `each` calls each before and after all do.
pub(crate) fn herd(children: u64, each: u64) {
    ready();
    let mut gate = [0; 2];
    let mut ready_pipe = [0; 2];
    // SAFETY: the kernel writes two descriptors to each place.
    assert_eq!(unsafe { libc::pipe(gate.as_mut_ptr()) | libc::pipe(ready_pipe.as_mut_ptr()) }, 0);
    let herd: Vec<i32> = (0..children)
        .map(|_| {
            let child = fork();
            if child == 0 {
                (0..each).for_each(|_| getppid());
                let mut byte = 0u8;
                // SAFETY: a byte is written and read; the write end of the gate is not ours to hold.
                unsafe {
                    libc::close(gate[1]);
                    libc::write(ready_pipe[1], (&raw const byte).cast(), 1);
                    libc::read(gate[0], (&raw mut byte).cast(), 1);
                }
                (0..each).for_each(|_| getppid());
                // SAFETY: ends without running any cleanup.
                unsafe { libc::_exit(0) };
            }
            child
        })
        .collect();
    for _ in &herd {
        let mut byte = 0u8;
        // SAFETY: a byte is read.
        assert_eq!(unsafe { libc::read(ready_pipe[0], (&raw mut byte).cast(), 1) }, 1);
    }
    // SAFETY: our own descriptor.
    unsafe { libc::close(gate[1]) };
    herd.into_iter().for_each(wait);
    done();
}

/// Becomes the program at `path`, in mode `calls 1 EACH`.
pub(crate) fn exec_as(path: &str, each: u64) {
    ready();
    let error = Command::new(path).args(["calls", "1", &each.to_string()]).exec();
    panic!("cannot exec {path}: {error}");
}

fn fork() -> i32 {
    // SAFETY: the child makes plain system calls only.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "a child");
    child
}

/// One after the other, `children` processes with the same PID make `each` calls and are killed in
/// the middle of another one.
pub(crate) fn reuse(children: u64, each: u64) {
    ready();
    let mut pid = 0;
    for _ in 0..children {
        let child = clone3_as(pid);
        if child == 0 {
            (0..each).for_each(|_| getppid());
            wait_for_ever();
        }
        pid = child;
        let path = format!("/proc/{pid}/syscall");
        let waits = format!("{} ", libc::SYS_ppoll);
        while !std::fs::read_to_string(&path).expect("our child").starts_with(&waits) {
            std::thread::yield_now();
        }
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
        wait(pid);
    }
    done();
}

/// The newest way to fork, without the runtime's knowledge.
fn clone3() -> i32 {
    clone3_as(0)
}

/// The same; `pid` is the one that the child is to have, if not 0.
fn clone3_as(pid: i32) -> i32 {
    let wanted = [pid];
    // SAFETY: plain integers, for which zeroes are valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    if pid != 0 {
        args.set_tid = wanted.as_ptr() as u64;
        args.set_tid_size = 1;
    }
    // SAFETY: the kernel reads the arguments; without flags the child has memory of its own.
    let child =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    assert!(child >= 0, "a child");
    child as i32
}

fn wait(child: i32) {
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}
