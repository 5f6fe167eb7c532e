//! Threads that go from CPU to CPU, in their calls and between them.

use crate::{
    done, getppid,
    parts::{
        Which::{First, Last},
        pin, pipe, read_byte, spawn, wait_until_in, write_byte,
    },
    ready, wait_for_line,
};

/// `times` calls on each of two CPUs, each after a call that came in on the other one.
pub(crate) fn hop(times: u64) {
    pin(First);
    ready();
    for _ in 0..times {
        pin(Last);
        getppid();
        pin(First);
        getppid();
    }
    done();
}

/// Each time it is told to, a thread makes one long call that waits for nothing, which goes on for as
/// long as it may. Told to go on, the first thread makes `times` short calls on the CPU where the other
/// one came in. Told to go on again, it ends the long one.
pub(crate) fn moved(times: u64) {
    pin(Last);
    let mut computing = Computing::new();
    let begin = pipe();
    let other = spawn(move || {
        loop {
            pin(Last);
            // Nothing takes the CPU away from it before it has been told to leave. Where a kernel
            // refuses that, it may take another attempt.
            schedule(libc::SCHED_FIFO, 1);
            read_byte(begin.0);
            computing.until_a_signal_comes();
        }
    });
    loop {
        wait_until_in(other, libc::SYS_read);
        // The next line is read when the long call has left this CPU.
        ready();
        write_byte(begin.1);
        wait_for_line();
        (0..times).for_each(|_| getppid());
        done();
        wait_for_line();
        // SAFETY: a thread of ours that does not end.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), other, libc::SIGUSR1) };
        done();
    }
}

fn schedule(policy: i32, priority: i32) {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads parameters that live.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
}

/// A call that computes in the kernel and waits for nothing: two gigabytes of random bytes, over and over
/// into the same memory. Takes seconds on a fast machine, and longer where everything does; a signal ends
/// it before.
struct Computing {
    fd: i32,
    bytes: Vec<u8>,
}

impl Computing {
    fn new() -> Self {
        extern "C" fn nothing(_signal: i32) {}
        // SAFETY: the path lives, and the handler does nothing.
        let fd = unsafe {
            libc::signal(libc::SIGUSR1, nothing as extern "C" fn(i32) as libc::sighandler_t);
            libc::open(c"/dev/urandom".as_ptr(), libc::O_RDONLY)
        };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        Self { fd, bytes: vec![0; 2 << 20] }
    }

    fn until_a_signal_comes(&mut self) {
        let part =
            libc::iovec { iov_base: self.bytes.as_mut_ptr().cast(), iov_len: self.bytes.len() };
        // As many as there may be (UIO_MAXIOV).
        let parts = [part; 1024];
        // SAFETY: all that the kernel writes to lives.
        let read = unsafe { libc::syscall(libc::SYS_readv, self.fd, parts.as_ptr(), parts.len()) };
        assert!(read > 0, "{}", std::io::Error::last_os_error());
        // The kernel reads a page less than 2 GiB at most (MAX_RW_COUNT).
        assert!(read < (1 << 31) - 4096, "no signal came before the end");
    }
}
