//! What the helper gives up before it answers anything, and what it keeps.
//!
//! It keeps CAP_SYS_PTRACE, three descriptors, and the system calls that [`filter`] lets through. A call
//! that is not among them kills it.

use std::{collections::BTreeMap, io};

use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    errno::Errno,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{SigSet, Signal},
    },
    unistd::{Gid, Pid, Uid, getppid, setfsgid, setfsuid, setgroups, setsid},
};
use rustix::{
    fd::{BorrowedFd, RawFd},
    fs::OFlags,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::mapping::PROCMAP_QUERY;

/// The socket to the main process.
pub(super) const SOCKET: RawFd = 3;
/// `/proc`.
pub(super) const PROC: RawFd = 4;
/// The helper's own `/proc/self/fd`.
pub(super) const OWN_FDS: RawFd = 5;
/// The first descriptor that is opened to look at something, and closed again.
const FIRST_OPENED: RawFd = 6;

/// How the helper opens files: to read only.
pub(super) const READ_ONLY: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

/// How many descriptors the helper may have: it uses eight.
const MAX_FDS: u64 = 16;

/// The name that `ps` shows, at most 15 bytes. It is not the program's own, so that neither `killall syscost`
/// nor `--comm syscost` means the helper.
const NAME: &std::ffi::CStr = c"syscost-names";

/// The user and group that own no files.
const NOBODY: u32 = 65_534;

/// What has failed.
pub(super) type Failure = (&'static str, io::Error);

/// Gives up all but what the head of this file says. To be called in a new process with one thread, whose
/// descriptors are [placed](place_descriptors) and whose parent is `parent`.
///
/// # Errors
/// What could not be given up. The process must end then.
pub(super) fn enter(parent: Pid, filter: &BpfProgram) -> Result<(), Failure> {
    let failed = |what| move |errno: Errno| (what, io::Error::from(errno));
    // It ends when the main process has ended, and not by what a terminal or `kill` sends to both.
    SigSet::all().thread_block().map_err(failed("block signals"))?;
    setsid().map_err(failed("leave the terminal"))?;
    prctl::set_name(NAME).map_err(failed("set the name"))?;
    for (resource, limit) in [
        (Resource::RLIMIT_NOFILE, MAX_FDS),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(resource, limit, limit).map_err(failed("lower limits"))?;
    }
    own_no_files().map_err(failed("give up files"))?;
    prctl::set_no_new_privs().map_err(failed("refuse new privileges"))?;
    keep_one_capability().map_err(|error| ("give up capabilities", io::Error::other(error)))?;
    // Neither may others of its user look into it; what it gives up may have changed that.
    prctl::set_dumpable(false).map_err(failed("protect itself"))?;
    // Last of these: a change of ids or capabilities clears it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("end with the main process"))?;
    if getppid() != parent {
        return Err(("find the main process", io::ErrorKind::NotFound.into()));
    }
    seccompiler::apply_filter(filter)
        .map_err(|error| ("filter system calls", io::Error::other(error)))
}

/// Moves the descriptors to their numbers and closes all others. Stdin, stdout and stderr become `/proc`,
/// opened as a path only: nothing can be read from or written to it.
pub(super) fn place_descriptors(socket: BorrowedFd<'_>, proc: BorrowedFd<'_>) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let check = |result: libc::c_int| match result {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd),
    };
    // Out of the way first: they may have one of the numbers.
    let up = |fd: BorrowedFd<'_>| {
        // SAFETY: takes integers.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, FIRST_OPENED) })
    };
    let (socket, proc) = (up(socket)?, up(proc)?);
    // SAFETY: what is replaced is used by nothing in this process any more, which runs no code but the helper's.
    unsafe {
        for number in [0, 1, 2, PROC] {
            check(libc::dup2(proc, number))?;
        }
        check(libc::dup2(socket, SOCKET))?;
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let own_fds = check(libc::openat(PROC, c"self/fd".as_ptr(), flags))?;
        if own_fds != OWN_FDS {
            check(libc::dup2(own_fds, OWN_FDS))?;
        }
        let closed = libc::syscall(libc::SYS_close_range, FIRST_OPENED, libc::c_uint::MAX, 0);
        check(closed as libc::c_int)?;
    }
    Ok(())
}

/// Opens files as nobody from now on, where that is allowed: root owns most files even without a capability.
/// Only the ids that count for files change, so that no other process of that user may send signals.
fn own_no_files() -> nix::Result<()> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if has(Capability::CAP_SETGID) {
        setgroups(&[])?;
        setfsgid(Gid::from_raw(NOBODY));
    }
    if has(Capability::CAP_SETUID) {
        setfsuid(Uid::from_raw(NOBODY));
    }
    Ok(())
}

fn keep_one_capability() -> Result<(), caps::errors::CapsError> {
    // Without CAP_SETPCAP the bounding set stays; no-new-privs alone keeps it from mattering.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let kept = CapsHashSet::from_iter([Capability::CAP_SYS_PTRACE]);
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// The system calls of the helper, with the arguments they may have; all others kill the process.
///
/// What can be checked are numbers, not what a pointer points to. So files are opened by openat(2), whose
/// flags are a number, not by openat2(2), whose flags are in memory; nothing can be opened for writing.
/// The socket and the two folders cannot be closed or replaced, so what is written goes to the main process
/// only. Files are read by pread64(2), which fails on pipes and sockets of which a copy was taken.
///
/// # Errors
/// On a processor for which there are no filters.
pub(super) fn filter() -> Result<BpfProgram, BackendError> {
    let read_only = READ_ONLY.union(OFlags::LARGEFILE).bits();
    let socket_option = |name: libc::c_int| {
        rule([opened(), word(1, libc::SOL_SOCKET as u32), word(2, name as u32)])
    };
    let rules = BTreeMap::from([
        (libc::SYS_recvfrom, vec![rule([fd(SOCKET), word(3, 0)])?]),
        (
            libc::SYS_sendto,
            // Without an address.
            vec![rule([fd(SOCKET), word(3, libc::MSG_NOSIGNAL as u32), long(4, 0)])?],
        ),
        (libc::SYS_openat, vec![rule([fd(PROC), word(2, read_only)])?]),
        (libc::SYS_readlinkat, vec![rule([fd(OWN_FDS)])?]),
        (libc::SYS_pread64, vec![rule([opened()])?]),
        (libc::SYS_fstat, vec![rule([opened()])?]),
        (libc::SYS_close, vec![rule([opened()])?]),
        // Rust's checks in debug builds, before it closes one.
        (libc::SYS_fcntl, vec![rule([opened(), word(1, libc::F_GETFD as u32)])?]),
        (libc::SYS_ioctl, vec![rule([opened(), word(1, PROCMAP_QUERY)])?]),
        (libc::SYS_pidfd_open, vec![rule([word(1, 0)])?]),
        (libc::SYS_pidfd_getfd, vec![rule([opened(), word(2, 0)])?]),
        (libc::SYS_getsockname, vec![rule([opened()])?]),
        (libc::SYS_getpeername, vec![rule([opened()])?]),
        (
            libc::SYS_getsockopt,
            vec![
                socket_option(libc::SO_DOMAIN)?,
                socket_option(libc::SO_TYPE)?,
                socket_option(libc::SO_PROTOCOL)?,
                socket_option(libc::SO_ACCEPTCONN)?,
            ],
        ),
        // The allocator's. No memory is executable, and no file is mapped.
        (libc::SYS_brk, vec![]),
        (
            libc::SYS_mmap,
            vec![rule([
                bits(2, libc::PROT_EXEC as u32, 0),
                bits(3, libc::MAP_ANONYMOUS as u32, libc::MAP_ANONYMOUS as u32),
            ])?],
        ),
        (libc::SYS_mprotect, vec![rule([bits(2, libc::PROT_EXEC as u32, 0)])?]),
        (libc::SYS_mremap, vec![]),
        (libc::SYS_madvise, vec![]),
        (libc::SYS_munmap, vec![]),
        (libc::SYS_exit_group, vec![]),
    ]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}

type Condition = Result<SeccompCondition, BackendError>;

/// All of the conditions.
fn rule<const N: usize>(conditions: [Condition; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

/// The first argument is this descriptor.
fn fd(number: RawFd) -> Condition {
    word(0, number as u32)
}

/// The first argument is a descriptor that was opened to look at something.
fn opened() -> Condition {
    let first = FIRST_OPENED as u64;
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, first)
}

/// An argument, counted from 0, is `value`. The kernel reads 32 bits of it.
fn word(argument: u8, value: u32) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value.into())
}

/// The bits of `mask` are as in `value`.
fn bits(argument: u8, mask: u32, value: u32) -> Condition {
    let operator = SeccompCmpOp::MaskedEq(mask.into());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())
}

/// An argument is `value`, in all of its 64 bits.
fn long(argument: u8, value: u64) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use nix::{
        sys::wait::{WaitStatus, waitpid},
        unistd::{ForkResult, fork},
    };

    use super::*;

    /// How a process ends that is filtered and makes the call `nr`. It exits with 0 where the call succeeds, else
    /// with 1.
    fn outcome(nr: libc::c_long, args: [u64; 6]) -> WaitStatus {
        let filter = filter().unwrap();
        let socket = File::open("/dev/null").unwrap();
        let proc = File::open("/proc").unwrap();
        // SAFETY: the child makes system calls only.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
            ForkResult::Child => {
                let is_ready = place_descriptors(socket.as_fd(), proc.as_fd()).is_ok()
                    && setrlimit(Resource::RLIMIT_CORE, 0, 0).is_ok()
                    && prctl::set_no_new_privs().is_ok()
                    && seccompiler::apply_filter(&filter).is_ok();
                let [a, b, c, d, e, f] = args;
                // SAFETY: pointers among the arguments are valid for what the call does; exits at once.
                unsafe {
                    let done = is_ready && libc::syscall(nr, a, b, c, d, e, f) >= 0;
                    libc::_exit(i32::from(!done))
                }
            }
        }
    }

    #[track_caller]
    fn assert_killed(nr: libc::c_long, args: [u64; 6]) {
        let outcome = outcome(nr, args);
        assert!(matches!(outcome, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{outcome:?}");
    }

    #[track_caller]
    fn assert_let_through(nr: libc::c_long, args: [u64; 6], code: i32) {
        let outcome = outcome(nr, args);
        assert!(matches!(outcome, WaitStatus::Exited(_, c) if c == code), "{outcome:?}");
    }

    const CWD: u64 = libc::AT_FDCWD as u64;

    fn path(path: &'static std::ffi::CStr) -> u64 {
        path.as_ptr() as u64
    }

    fn read_only() -> u64 {
        READ_ONLY.union(OFlags::LARGEFILE).bits().into()
    }

    #[test]
    fn files_are_opened_to_read_and_by_way_of_proc_only() {
        let open = libc::SYS_openat;
        let stat = path(c"self/stat");
        assert_let_through(open, [PROC as u64, stat, read_only(), 0, 0, 0], 0);
        assert_let_through(open, [PROC as u64, path(c"none"), read_only(), 0, 0, 0], 1);
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC, libc::O_PATH] {
            assert_killed(open, [PROC as u64, stat, read_only() | flags as u64, 0o600, 0, 0]);
        }
        assert_killed(open, [CWD, path(c"/proc/self/stat"), read_only(), 0, 0, 0]);
        assert_killed(open, [OWN_FDS as u64, path(c"4"), read_only(), 0, 0, 0]);
        let how = [read_only(), 0, 0];
        assert_killed(libc::SYS_openat2, [PROC as u64, stat, how.as_ptr() as u64, 24, 0, 0]);
        let buffer = [0_u8; 64];
        let (to, length) = (buffer.as_ptr() as u64, buffer.len() as u64);
        assert_let_through(libc::SYS_readlinkat, [OWN_FDS as u64, path(c"4"), to, length, 0, 0], 0);
        assert_killed(libc::SYS_readlinkat, [CWD, path(c"/proc/self/exe"), to, length, 0, 0]);
    }

    #[test]
    fn the_socket_is_the_only_way_out_and_stays_where_it_is() {
        let byte = [0_u8; 1];
        let (at, flags) = (byte.as_ptr() as u64, libc::MSG_NOSIGNAL as u64);
        // Let through, and fails, as it is no socket in this test.
        assert_let_through(libc::SYS_sendto, [SOCKET as u64, at, 1, flags, 0, 0], 1);
        assert_let_through(libc::SYS_recvfrom, [SOCKET as u64, at, 1, 0, 0, 0], 1);
        assert_killed(libc::SYS_sendto, [FIRST_OPENED as u64, at, 1, flags, 0, 0]);
        assert_killed(libc::SYS_sendto, [SOCKET as u64, at, 1, flags, at, 16]);
        assert_killed(libc::SYS_sendto, [SOCKET as u64, at, 1, flags, 1 << 32, 16]);
        assert_killed(libc::SYS_recvfrom, [FIRST_OPENED as u64, at, 1, 0, 0, 0]);
        assert_killed(libc::SYS_sendmsg, [SOCKET as u64, at, 0, 0, 0, 0]);
        for fd in [0, 1, 2, SOCKET, PROC, OWN_FDS] {
            assert_killed(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]);
            assert_killed(libc::SYS_write, [fd as u64, at, 1, 0, 0, 0]);
        }
        assert_killed(libc::SYS_dup3, [PROC as u64, SOCKET as u64, 0, 0, 0, 0]);
        assert_killed(libc::SYS_fcntl, [SOCKET as u64, libc::F_DUPFD as u64, 0, 0, 0, 0]);
        let stream = libc::SOCK_STREAM as u64;
        assert_killed(libc::SYS_socket, [libc::AF_INET as u64, stream, 0, 0, 0, 0]);
    }

    #[test]
    fn of_descriptors_that_were_taken_nothing_but_what_they_are_is_learned() {
        let buffer = [0_u8; 64];
        let (at, opened) = (buffer.as_ptr() as u64, FIRST_OPENED as u64);
        let socket = libc::SOL_SOCKET as u64;
        // Nothing is open there: let through, and fails.
        for (nr, args) in [
            (libc::SYS_close, [opened, 0, 0, 0, 0, 0]),
            (libc::SYS_pread64, [opened, at, 1, 0, 0, 0]),
            (libc::SYS_getsockopt, [opened, socket, libc::SO_TYPE as u64, at, at, 0]),
            (libc::SYS_ioctl, [opened, PROCMAP_QUERY.into(), at, 0, 0, 0]),
            (libc::SYS_pidfd_getfd, [opened, 0, 0, 0, 0, 0]),
        ] {
            assert_let_through(nr, args, 1);
        }
        for (nr, args) in [
            (libc::SYS_read, [opened, at, 1, 0, 0, 0]),
            (libc::SYS_pwrite64, [opened, at, 1, 0, 0, 0]),
            (libc::SYS_getsockopt, [opened, socket, libc::SO_PEERCRED as u64, at, at, 0]),
            (libc::SYS_setsockopt, [opened, socket, libc::SO_SNDBUF as u64, at, 4, 0]),
            (libc::SYS_ioctl, [opened, libc::TIOCSTI, at, 0, 0, 0]),
            (libc::SYS_shutdown, [opened, 2, 0, 0, 0, 0]),
        ] {
            assert_killed(nr, args);
        }
    }

    #[test]
    fn no_process_is_made_stopped_or_written_to() {
        let own = u64::from(std::process::id());
        for (nr, args) in [
            (libc::SYS_execve, [path(c"/bin/true"), 0, 0, 0, 0, 0]),
            (libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
            (libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), own, 0, 0, 0, 0]),
            (libc::SYS_process_vm_readv, [own, 0, 0, 0, 0, 0]),
            (libc::SYS_process_vm_writev, [own, 0, 0, 0, 0, 0]),
            (libc::SYS_kill, [own, 0, 0, 0, 0, 0]),
            (libc::SYS_pidfd_send_signal, [FIRST_OPENED as u64, 0, 0, 0, 0, 0]),
            (libc::SYS_setfsuid, [0; 6]),
            (libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as u64, 0, 0, 0, 0, 0]),
            (libc::SYS_bpf, [0; 6]),
            (libc::SYS_perf_event_open, [0; 6]),
        ] {
            assert_killed(nr, args);
        }
    }

    #[test]
    fn memory_is_not_executable() {
        let (read, write, exec) =
            (libc::PROT_READ as u64, libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
        let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        let nothing = u64::MAX;
        assert_let_through(libc::SYS_mmap, [0, 4096, read | write, private, nothing, 0], 0);
        assert_killed(libc::SYS_mmap, [0, 4096, read | exec, private, nothing, 0]);
        let file = libc::MAP_PRIVATE as u64;
        assert_killed(libc::SYS_mmap, [0, 4096, read, file, FIRST_OPENED as u64, 0]);
        assert_killed(libc::SYS_mprotect, [0, 4096, read | exec, 0, 0, 0]);
    }
}
