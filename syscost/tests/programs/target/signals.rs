//! Calls that signals interrupt, a known number of times.

use std::{
    mem::MaybeUninit,
    ptr::null_mut,
    sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use crate::{done, getppid, ready, sleep_for};

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

/// Sleeps in one `nanosleep` until a signal (SIGUSR1) ends it.
pub(crate) fn nap() {
    handle(libc::SIGUSR1, plain, false);
    ready();
    sleep_for(Duration::from_secs(3600));
    done();
}

/// Is interrupted in one `readv` by a signal (SIGUSR1), which it fails with. Makes no call then until the
/// next signal (SIGUSR2).
pub(crate) fn interrupted_then_computing() {
    let (read, _write) = pipe();
    handle(libc::SIGUSR1, only_count, false);
    handle(libc::SIGUSR2, only_count, false);
    ready();
    assert_eq!(readv(read), -1);
    while HANDLED.load(SeqCst) < 2 {
        std::hint::spin_loop();
    }
    done();
}

/// Stops itself.
pub(crate) fn stops_itself() {
    ready();
    // SAFETY: a signal to ourselves.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
    done();
}

/// Reads a line from stdin in one `readv`, unless a signal (SIGUSR1) comes first: its handler reads a
/// line in a `read`. `how` says what follows: "restart" (SA_RESTART), "late" (the same, after 1,500
/// `getppid`), "late-reading" (the same, and one more line after them, which it waits for in `ppoll`), "fork" (the same in two processes: the handler forks), "retry" (the call fails with EINTR, and the
/// program makes it again).
pub(crate) fn handled(how: &str) {
    let handler = match how {
        "late" => reading_at_length,
        "late-reading" => reading_after_many_calls,
        "fork" => reading_and_forking,
        _ => reading as extern "C" fn(i32),
    };
    handle(libc::SIGUSR1, handler, how != "retry");
    ready();
    let process = std::process::id();
    while readv(libc::STDIN_FILENO) == -1 {}
    if std::process::id() != process {
        // SAFETY: ends the child without any cleanup.
        unsafe { libc::_exit(0) };
    }
    done();
}

extern "C" fn reading(_signal: i32) {
    let mut line = [0_u8; 2];
    // SAFETY: the kernel writes two bytes, which live.
    let read =
        unsafe { libc::read(libc::STDIN_FILENO, line.as_mut_ptr().cast(), size_of_val(&line)) };
    assert_eq!(read, 2);
}

extern "C" fn reading_and_forking(signal: i32) {
    reading(signal);
    // SAFETY: there is one thread.
    assert_ne!(unsafe { libc::fork() }, -1);
}

extern "C" fn reading_at_length(signal: i32) {
    reading(signal);
    (0..1500).for_each(|_| getppid());
}

extern "C" fn reading_after_many_calls(signal: i32) {
    reading_at_length(signal);
    let mut stdin = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: the kernel reads and writes one pollfd, which lives.
    unsafe { libc::syscall(libc::SYS_ppoll, &raw mut stdin, 1, 0, 0, 0) };
    reading(signal);
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

/// Most interrupted calls on top of each other.
const MOST: usize = 8;
static PIPES: [AtomicI32; MOST + 1] = [const { AtomicI32::new(-1) }; MOST + 1];

/// Blocks in a `readv`, which a signal interrupts, whose handler blocks in one, and so on: `depth`
/// interrupted calls on top of each other. Then each gets its byte, the innermost first.
pub(crate) fn stacked(depth: u64) {
    let depth = usize::try_from(depth).expect("a small number");
    let mut inputs = Vec::new();
    for pipe_of in &PIPES[..=depth] {
        let (output, input) = pipe();
        pipe_of.store(output, SeqCst);
        inputs.push(input);
    }
    for level in 0..depth {
        handle(libc::SIGRTMIN() + level as i32, one_more, true);
    }
    // SAFETY: takes nothing.
    let reader = unsafe { libc::gettid() };
    ready();
    let helper = thread::spawn(move || {
        for (level, pipe_of) in PIPES.iter().enumerate().take(depth) {
            wait_until_in_readv_of(reader, pipe_of.load(SeqCst));
            let signal = libc::SIGRTMIN() + level as i32;
            // SAFETY: the thread lives until the last byte is written.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), reader, signal) };
        }
        for level in (0..=depth).rev() {
            wait_until_in_readv_of(reader, PIPES[level].load(SeqCst));
            // SAFETY: writes one byte that lives.
            unsafe { libc::write(inputs[level], c"x".as_ptr().cast(), 1) };
        }
    });
    while readv(PIPES[0].load(SeqCst)) != 1 {}
    helper.join().expect("the helper");
    done();
}

extern "C" fn one_more(signal: i32) {
    let level = (signal - libc::SIGRTMIN()) as usize + 1;
    assert_eq!(readv(PIPES[level].load(SeqCst)), 1);
}

extern "C" fn blocking(_signal: i32) {
    assert_eq!(readv(EMPTY.load(SeqCst)), 1);
}

extern "C" fn plain(_signal: i32) {
    getppid();
    HANDLED.fetch_add(1, SeqCst);
}

extern "C" fn only_count(_signal: i32) {
    HANDLED.fetch_add(1, SeqCst);
}

extern "C" fn same(signal: i32) {
    assert_eq!(readv(EMPTY.load(SeqCst)), -1);
    plain(signal);
}

/// By number, so that it is `readv` and nothing else.
fn readv(fd: i32) -> i64 {
    let mut bytes = [0u8; 2];
    let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: the kernel writes two bytes at most, which live.
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

/// `threads` threads read a byte `each` times, which another one writes about every millisecond. Meanwhile a timer
/// sends signals to the process, whose handler does nothing.
pub(crate) fn alarmed(threads: u64, each: u64) {
    extern "C" fn nothing(_: i32) {}
    ready();
    // SAFETY: the handler does nothing; the kernel reads one timer.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, null_mut()), 0);
        let every = libc::timeval { tv_sec: 0, tv_usec: 300 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, null_mut()), 0);
    }
    let pipes: Vec<[i32; 2]> = (0..threads)
        .map(|_| {
            let mut pipe = [0; 2];
            // SAFETY: the kernel writes two descriptors.
            assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
            pipe
        })
        .collect();
    let readers: Vec<_> = pipes
        .iter()
        .map(|pipe| {
            let end = pipe[0];
            thread::spawn(move || {
                for _ in 0..each {
                    let mut byte = 0u8;
                    let buffer = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
                    // SAFETY: the kernel reads one buffer, and writes a byte there.
                    let read = unsafe { libc::syscall(libc::SYS_readv, end, &raw const buffer, 1) };
                    assert_eq!(read, 1);
                }
            })
        })
        .collect();
    for _ in 0..each {
        thread::sleep(Duration::from_millis(1));
        for pipe in &pipes {
            // SAFETY: a byte is written.
            assert_eq!(unsafe { libc::write(pipe[1], b"x".as_ptr().cast(), 1) }, 1);
        }
    }
    for reader in readers {
        reader.join().expect("a reader");
    }
    // SAFETY: the kernel reads one timer.
    unsafe {
        let none: libc::itimerval = std::mem::zeroed();
        libc::setitimer(libc::ITIMER_REAL, &raw const none, null_mut());
    }
    done();
}
