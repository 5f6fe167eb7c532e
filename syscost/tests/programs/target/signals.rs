//! Calls that signals interrupt, a known number of times.

use std::{
    mem::MaybeUninit,
    ptr::null_mut,
    sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use crate::{done, getppid, ready};

/// How often the handler has run.
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// An empty, non-blocking pipe, for the handler to read from.
static EMPTY: AtomicI32 = AtomicI32::new(-1);

/// Blocks in one `readv`, which `times` signals interrupt, until it gets its byte. `how` says what
/// the handler is: "restart" (SA_RESTART), "retry" (without it: the program calls again), "same"
/// (SA_RESTART, and itself calls `readv`). Each time it sleeps for `ms` milliseconds at least before
/// the next thing happens.
pub(crate) fn interrupted(times: u64, how: &str, ms: u64) {
    let (read, write) = pipe();
    EMPTY.store(nonblocking_pipe(), SeqCst);
    let handler = if how == "same" { same as extern "C" fn(i32) } else { plain };
    handle(libc::SIGUSR1, handler, how != "retry");
    // SAFETY: takes nothing.
    let reader = unsafe { libc::gettid() };
    ready();
    let helper = thread::spawn(move || {
        let let_it_sleep = || {
            wait_until_in_readv(reader);
            thread::sleep(Duration::from_millis(ms));
        };
        for handled in 0..times {
            let_it_sleep();
            // SAFETY: the thread lives until this one has written to the pipe.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), reader, libc::SIGUSR1) };
            while HANDLED.load(SeqCst) == handled {
                thread::yield_now();
            }
        }
        let_it_sleep();
        // SAFETY: writes one byte that lives.
        unsafe { libc::write(write, c"x".as_ptr().cast(), 1) };
    });
    while readv(read) != 1 {}
    helper.join().expect("the helper");
    done();
}

/// Blocks in one `readv`; `times` signals interrupt it, and in each handler another signal
/// interrupts a `readv` of the handler's own. All of them return in the end, with their bytes.
pub(crate) fn nested(times: u64) {
    let ((outer, outer_in), (inner, inner_in)) = (pipe(), pipe());
    EMPTY.store(inner, SeqCst);
    handle(libc::SIGUSR1, blocking, true);
    handle(libc::SIGUSR2, plain, true);
    // SAFETY: takes nothing.
    let reader = unsafe { libc::gettid() };
    // SAFETY: the thread lives until the last byte is written.
    let signal = move |signal: i32| unsafe {
        libc::syscall(libc::SYS_tgkill, libc::getpid(), reader, signal)
    };
    // SAFETY: writes one byte that lives.
    let give = |end| unsafe { libc::write(end, c"x".as_ptr().cast(), 1) };
    ready();
    let helper = thread::spawn(move || {
        for handled in 0..times {
            wait_until_in_readv_of(reader, outer);
            signal(libc::SIGUSR1);
            wait_until_in_readv_of(reader, inner);
            signal(libc::SIGUSR2);
            while HANDLED.load(SeqCst) == handled {
                thread::yield_now();
            }
            wait_until_in_readv_of(reader, inner);
            give(inner_in);
        }
        wait_until_in_readv_of(reader, outer);
        give(outer_in);
    });
    while readv(outer) != 1 {}
    helper.join().expect("the helper");
    done();
}

extern "C" fn blocking(_signal: i32) {
    assert_eq!(readv(EMPTY.load(SeqCst)), 1);
}

extern "C" fn plain(_signal: i32) {
    getppid();
    HANDLED.fetch_add(1, SeqCst);
}

extern "C" fn same(signal: i32) {
    assert_eq!(readv(EMPTY.load(SeqCst)), -1);
    plain(signal);
}

/// By number, so that it is `readv` and nothing else.
fn readv(fd: i32) -> i64 {
    let mut byte = 0u8;
    let vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the kernel writes one byte, which lives.
    unsafe { libc::syscall(libc::SYS_readv, fd, &raw const vector, 1) }
}

/// Being in a call is seen in `/proc`: its number, where a running thread shows "running".
fn wait_until_in_readv(tid: i32) {
    let path = format!("/proc/self/task/{tid}/syscall");
    let number = format!("{} ", libc::SYS_readv);
    while !std::fs::read_to_string(&path).expect("a task of ours").starts_with(&number) {
        thread::yield_now();
    }
}

/// The same, with this descriptor: the first argument.
fn wait_until_in_readv_of(tid: i32, fd: i32) {
    let path = format!("/proc/self/task/{tid}/syscall");
    let call = format!("{} {fd:#x} ", libc::SYS_readv);
    while !std::fs::read_to_string(&path).expect("a task of ours").starts_with(&call) {
        thread::yield_now();
    }
}

fn handle(signal: i32, handler: extern "C" fn(i32), restart: bool) {
    // SAFETY: an all-zero action is valid; the handler only makes system calls and counts.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = if restart { libc::SA_RESTART } else { 0 };
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}

fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    (ends[0], ends[1])
}

fn nonblocking_pipe() -> i32 {
    let mut ends = [0; 2];
    // SAFETY: as above.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK) }, 0);
    ends[0]
}
