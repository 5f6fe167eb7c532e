//! What a user might do to take over a process of his own that has privileges.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd},
};

use super::say;

/// Tries to take over the process `pid`, again and again until it is gone. Prints "tried" after the
/// first round, and at the end every attempt that succeeded, or "nothing".
pub(crate) fn steal(pid: u64) {
    let pid = i32::try_from(pid).expect("a PID");
    say("ready");
    let mut stolen: Vec<&str> = Vec::new();
    let mut first = true;
    let held = pidfd_open(pid).expect("it is there");
    while !has_exited(&held) {
        for (what, attempt) in ATTEMPTS {
            match attempt(pid) {
                Ok(()) if !stolen.contains(what) => stolen.push(what),
                Ok(()) => {}
                // ESRCH and ENOENT: it is gone. EBADF: it has nothing at that number.
                Err(error) => assert!(
                    matches!(
                        error.raw_os_error(),
                        Some(libc::EPERM | libc::EACCES | libc::ESRCH | libc::ENOENT | libc::EBADF)
                    ),
                    "{what}: {error}"
                ),
            }
        }
        if std::mem::take(&mut first) {
            say("tried");
        }
    }
    let stolen = if stolen.is_empty() { "nothing".to_owned() } else { stolen.join(", ") };
    say(&stolen);
}

/// Whether this process may be looked into by others of its user: "1" where nothing changed that.
pub(crate) fn dumpable() {
    // SAFETY: takes nothing and touches no memory.
    say(&unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }.to_string());
}

type Attempt = fn(i32) -> io::Result<()>;

static ATTEMPTS: &[(&str, Attempt)] = &[
    ("memory", |pid| open(pid, "mem")),
    ("list of mappings", |pid| {
        // Opening it may be allowed, and reading it not.
        std::fs::read(format!("/proc/{pid}/maps")).and_then(|bytes| {
            if bytes.is_empty() { Err(io::Error::from_raw_os_error(libc::EACCES)) } else { Ok(()) }
        })
    }),
    ("environment", |pid| open(pid, "environ")),
    ("links to descriptors", |pid| std::fs::read_link(format!("/proc/{pid}/fd/0")).map(drop)),
    ("reading memory", process_vm_readv),
    ("descriptors", descriptors),
    ("tracing", trace),
];

fn open(pid: i32, file: &str) -> io::Result<()> {
    File::open(format!("/proc/{pid}/{file}")).map(drop)
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn process_vm_readv(pid: i32) -> io::Result<()> {
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // Where nothing is mapped: a process that may be read answers EFAULT.
    let there = libc::iovec { iov_base: std::ptr::without_provenance_mut(4096), iov_len: 1 };
    // SAFETY: at most one byte is written, to `byte`.
    let read = unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) };
    match checked(read as libc::c_long) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        result => result.map(drop),
    }
}

fn pidfd_open(pid: i32) -> io::Result<File> {
    // SAFETY: takes two integers.
    let pidfd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: opened for us just now.
    Ok(unsafe { File::from_raw_fd(pidfd as i32) })
}

/// Also a process that nobody has waited for.
fn has_exited(pidfd: &File) -> bool {
    let mut fds = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one element, which outlives the call.
    unsafe { libc::poll(&raw mut fds, 1, 0) != 0 }
}

/// Takes every descriptor that there may be.
fn descriptors(pid: i32) -> io::Result<()> {
    let pidfd = pidfd_open(pid)?;
    let mut last = io::Error::from_raw_os_error(libc::EPERM);
    for fd in 0..64 {
        // SAFETY: takes three integers.
        match checked(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) }) {
            Ok(taken) => {
                // SAFETY: opened for us just now.
                drop(unsafe { File::from_raw_fd(taken as i32) });
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// By a child, whose end sets free what it traces.
fn trace(pid: i32) -> io::Result<()> {
    // SAFETY: there is one thread, and the child makes two system calls.
    let child = checked(unsafe { libc::fork() }.into())? as i32;
    if child == 0 {
        // SAFETY: touches no memory of ours.
        let seized = checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) });
        let code = seized.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0);
        // SAFETY: ends without any cleanup.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child, and writes one integer.
    checked(unsafe { libc::waitpid(child, &raw mut status, 0) }.into())?;
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
