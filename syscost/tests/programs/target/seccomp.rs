//! Calls that seccomp decides on.

use std::{os::fd::RawFd, thread};

use super::{done, ready, say, wait_for_line};

/// `times` calls of `getpriority` are denied by a filter, with EPERM.
pub(crate) fn denied(times: u64) {
    filter(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0);
    ready();
    for _ in 0..times {
        assert_eq!(getpriority(), -1);
    }
    done();
}

/// Of `getpriority`, a supervisor answers `answered` calls itself and lets `let_through` be made.
pub(crate) fn supervised(answered: u64, let_through: u64) {
    let listener =
        filter(libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32);
    let supervisor = thread::spawn(move || {
        (0..answered).for_each(|_| answer(listener, 0));
        (0..let_through).for_each(|_| answer(listener, CONTINUE));
    });
    ready();
    for _ in 0..answered {
        assert_eq!(getpriority(), ANSWER);
    }
    for _ in 0..let_through {
        assert_ne!(getpriority(), ANSWER);
    }
    supervisor.join().expect("the supervisor");
    done();
}

/// Reads from a pipe, which a supervisor lets it do: at once for the first time ("let in"), and after a line
/// whenever it is asked again. Then it writes what the call waits for.
pub(crate) fn supervised_read() {
    let mut pipe = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    ready();
    let listener = filter_call(
        libc::SYS_readv,
        libc::SECCOMP_RET_USER_NOTIF,
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32,
    );
    let supervisor = thread::spawn(move || {
        answer(listener, CONTINUE);
        say("let in");
        wait_for_line();
        // Those that the program was stopped in are gone.
        while !try_to_answer(listener, CONTINUE) {}
        // SAFETY: one byte that lives.
        assert_eq!(unsafe { libc::write(pipe[1], b"x".as_ptr().cast(), 1) }, 1);
    });
    let mut byte = 0u8;
    let buffer = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the kernel reads one buffer, and writes a byte there.
    assert_eq!(unsafe { libc::syscall(libc::SYS_readv, pipe[0], &raw const buffer, 1) }, 1);
    supervisor.join().expect("the supervisor");
    done();
}

/// What no `getpriority` returns: it is 1 to 40.
const ANSWER: i64 = 1_000;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (include/uapi/linux/seccomp.h).
const CONTINUE: u32 = 1;
/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND`, the same.
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;

/// Waits for a call that is to be decided on, and decides.
fn answer(listener: RawFd, flags: u32) {
    assert!(try_to_answer(listener, flags), "answered");
}

/// The same. `false`: the call was interrupted meanwhile.
fn try_to_answer(listener: RawFd, flags: u32) -> bool {
    // SAFETY: integers, which are to be zero before; the kernel writes and reads whole structs.
    unsafe {
        let mut call: libc::seccomp_notif = std::mem::zeroed();
        if libc::ioctl(listener, RECEIVE as _, &raw mut call) != 0 {
            return false;
        }
        let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
        answer.id = call.id;
        answer.flags = flags;
        answer.val = if flags == 0 { ANSWER } else { 0 };
        libc::ioctl(listener, SEND as _, &raw mut answer) == 0
    }
}

fn getpriority() -> i64 {
    // SAFETY: takes integers and touches no memory.
    unsafe { libc::syscall(libc::SYS_getpriority, 0, 0) }
}

/// Makes `getpriority` come to `verdict`. Returns what seccomp(2) does.
fn filter(verdict: u32, flags: u32) -> i32 {
    filter_call(libc::SYS_getpriority, verdict, flags)
}

/// The same of the call `nr`.
fn filter_call(nr: i64, verdict: u32, flags: u32) -> i32 {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let number_at = 0;
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, number_at),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: nr as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, verdict),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the filter, which lives.
    let result = unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter)
    };
    assert!(result >= 0, "seccomp is there");
    result as i32
}
