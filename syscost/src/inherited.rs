//! What this process inherited: whether there was a stdout, which signals were ignored, and the limits of its stack and
//! its open files. A command that it runs gets the same, although Rust's runtime and this program change some of it. And
//! the capabilities that a thread inherits from the thread that starts it.

use std::{
    mem::zeroed,
    ptr::{null, null_mut},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use anyhow::{Result, bail};
use libc::{SIG_DFL, SIG_IGN, SIGPIPE, SIGXFSZ};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Whether SIGPIPE was ignored. Rust's runtime ignores it before `main`.
static PIPE: AtomicBool = AtomicBool::new(false);
/// Whether SIGXFSZ was ignored.
static FILE_SIZE: AtomicBool = AtomicBool::new(false);

/// Whether stdout was closed. Rust's runtime opens `/dev/null` in its place.
static NO_STDOUT: AtomicBool = AtomicBool::new(false);

/// Called before Rust's runtime starts.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    PIPE.store(is_ignored(SIGPIPE), Relaxed);
    FILE_SIZE.store(is_ignored(SIGXFSZ), Relaxed);
    // SAFETY: takes two integers.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    NO_STDOUT.store(flags == -1, Relaxed);
}

/// Whether the process was started without a stdout.
pub fn has_no_stdout() -> bool {
    NO_STDOUT.load(Relaxed)
}

/// Makes a write beyond the limit of a file's size fail, instead of ending the process.
pub fn ignore_file_size_limit() {
    set(SIGXFSZ, SIG_IGN);
}

/// The soft and the hard limit of the stack, bytes, before the soft one was raised.
static STACK: OnceLock<(u64, u64)> = OnceLock::new();

/// The most that the first thread needs, bytes: 192 KiB, and about four times as much without optimization.
const STACK_NEEDED: u64 = 256 * 1024;
/// The limit that is set if the hard limit permits it, bytes.
const STACK_WANTED: u64 = 1024 * 1024;

/// Raises the limit of the stack if the first thread might overflow it. The kernel checks the limit whenever the stack
/// grows.
///
/// # Errors
/// When it cannot be raised.
pub fn raise_stack_limit() -> Result<()> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_STACK) else { return Ok(()) };
    if soft >= STACK_WANTED {
        return Ok(());
    }
    let wanted = STACK_WANTED.min(hard);
    if wanted < STACK_NEEDED || setrlimit(Resource::RLIMIT_STACK, wanted, hard).is_err() {
        let (kib, needed) = (soft / 1024, STACK_NEEDED / 1024);
        bail!(
            "the stack may take only {kib} KiB: raise the limit to at least {needed} (ulimit -s {needed})"
        );
    }
    let _ = STACK.set((soft, hard));
    Ok(())
}

/// The soft and the hard limit of open files before the soft one was raised.
static FILES: OnceLock<(u64, u64)> = OnceLock::new();

/// Raises the limit of open files to `needed`. `false`: this is not permitted.
pub fn raise_open_files(needed: u64) -> bool {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return false };
    if hard < needed || setrlimit(Resource::RLIMIT_NOFILE, needed, hard).is_err() {
        return false;
    }
    let _ = FILES.set((soft, hard));
    true
}

/// Ignores the signals that were ignored at the start and no others, and restores the limits. Only makes system calls,
/// for a child between fork and exec.
pub(crate) fn restore() {
    let limits = [(Resource::RLIMIT_STACK, &STACK), (Resource::RLIMIT_NOFILE, &FILES)];
    for (resource, limit) in limits {
        if let Some((soft, hard)) = limit.get() {
            let _ = setrlimit(resource, *soft, *hard);
        }
    }
    for (signal, was_ignored) in [(SIGPIPE, &PIPE), (SIGXFSZ, &FILE_SIZE)] {
        set(signal, if was_ignored.load(Relaxed) { SIG_IGN } else { SIG_DFL });
    }
}

/// Whether `signal` is ignored now.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: plain data, for which zeroes are valid.
    let mut action: libc::sigaction = unsafe { zeroed() };
    // SAFETY: only asks; the answer is written to the place given.
    let asked = unsafe { libc::sigaction(signal, null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == SIG_IGN
}

fn set(signal: libc::c_int, to: libc::sighandler_t) {
    // SAFETY: plain data, for which zeroes are valid.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = to;
    // SAFETY: no handler is set that could be called.
    unsafe { libc::sigaction(signal, &raw const action, null_mut()) };
}

/// Gives up the capabilities of this thread. Call it first in a thread that needs none: with `--max-overhead` or the list
/// of processes, the thread that starts it still has some permitted.
pub fn drop_capabilities() {
    for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
        let _ = caps::clear(None, set);
    }
}
