//! The constants that arguments are made of. The values are those of the kernel's headers for user
//! space (include/uapi), which are the same on all supported ABIs except where it says so.

/// The directory that is the current one.
pub(super) const AT_FDCWD: i32 = -100;
/// `mremap` with an address to move to.
pub(super) const MREMAP_FIXED: u64 = 2;
/// The bits of a futex operation that say which one it is.
pub(super) const FUTEX_COMMAND: u64 = 0x7f;

/// Names of numbers.
#[derive(Clone, Copy)]
pub(super) struct Names(&'static [(i32, &'static str)]);

impl Names {
    /// The name of `number`.
    pub(super) fn of(self, number: i32) -> Option<&'static str> {
        self.0.iter().find(|(other, _)| *other == number).map(|(_, name)| *name)
    }
}

/// Names of bits; the first is that of no bit at all, empty where it is `0`.
#[derive(Clone, Copy)]
pub(super) struct Flags(&'static str, &'static [(u64, &'static str)]);

impl Flags {
    /// The names of the bits of `value`, and what has none in hexadecimal.
    pub(super) fn text(self, value: u64) -> String {
        self.join(Vec::new(), value)
    }

    /// The same behind `first`.
    fn join(self, first: Vec<String>, value: u64) -> String {
        let (mut texts, mut rest) = (first, value);
        for (bits, name) in self.1.iter().filter(|(bits, _)| value & bits == *bits) {
            if rest & bits != 0 {
                texts.push((*name).to_owned());
                rest &= !bits;
            }
        }
        if rest != 0 {
            texts.push(format!("{rest:#x}"));
        }
        match (texts.is_empty(), self.0) {
            (true, "") => "0".to_owned(),
            (true, none) => none.to_owned(),
            _ => texts.join("|"),
        }
    }
}

pub(super) const WHENCE: Names =
    Names(&[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END"), (3, "SEEK_DATA"), (4, "SEEK_HOLE")]);

pub(super) const CLOCKS: Names = Names(&[
    (0, "CLOCK_REALTIME"),
    (1, "CLOCK_MONOTONIC"),
    (2, "CLOCK_PROCESS_CPUTIME_ID"),
    (3, "CLOCK_THREAD_CPUTIME_ID"),
    (4, "CLOCK_MONOTONIC_RAW"),
    (5, "CLOCK_REALTIME_COARSE"),
    (6, "CLOCK_MONOTONIC_COARSE"),
    (7, "CLOCK_BOOTTIME"),
    (8, "CLOCK_REALTIME_ALARM"),
    (9, "CLOCK_BOOTTIME_ALARM"),
    (11, "CLOCK_TAI"),
]);

pub(super) const TIMER: Flags = Flags("", &[(1, "TIMER_ABSTIME")]);

const FUTEX: Names = Names(&[
    (0, "FUTEX_WAIT"),
    (1, "FUTEX_WAKE"),
    (3, "FUTEX_REQUEUE"),
    (4, "FUTEX_CMP_REQUEUE"),
    (5, "FUTEX_WAKE_OP"),
    (6, "FUTEX_LOCK_PI"),
    (7, "FUTEX_UNLOCK_PI"),
    (8, "FUTEX_TRYLOCK_PI"),
    (9, "FUTEX_WAIT_BITSET"),
    (10, "FUTEX_WAKE_BITSET"),
    (11, "FUTEX_WAIT_REQUEUE_PI"),
    (12, "FUTEX_CMP_REQUEUE_PI"),
    (13, "FUTEX_LOCK_PI2"),
]);

/// `FUTEX_WAIT_PRIVATE`, as futex(2) and strace call it.
pub(super) fn futex_op(op: u32) -> String {
    let (private, realtime) = (op & 0x80 != 0, op & 0x100 != 0);
    let Some(name) = FUTEX.of((op & 0x7f) as i32).filter(|_| op & !0x1ff == 0) else {
        return format!("{op:#x}");
    };
    let mut text = name.to_owned();
    if private {
        text.push_str("_PRIVATE");
    }
    if realtime {
        text.push_str("|FUTEX_CLOCK_REALTIME");
    }
    text
}

pub(super) const FCNTL: Names = Names(&[
    (0, "F_DUPFD"),
    (1, "F_GETFD"),
    (2, "F_SETFD"),
    (3, "F_GETFL"),
    (4, "F_SETFL"),
    (5, "F_GETLK"),
    (6, "F_SETLK"),
    (7, "F_SETLKW"),
    (8, "F_SETOWN"),
    (9, "F_GETOWN"),
    (10, "F_SETSIG"),
    (11, "F_GETSIG"),
    // These three on 32-bit ABIs alone.
    (12, "F_GETLK64"),
    (13, "F_SETLK64"),
    (14, "F_SETLKW64"),
    (15, "F_SETOWN_EX"),
    (16, "F_GETOWN_EX"),
    (36, "F_OFD_GETLK"),
    (37, "F_OFD_SETLK"),
    (38, "F_OFD_SETLKW"),
    (1024, "F_SETLEASE"),
    (1025, "F_GETLEASE"),
    (1026, "F_NOTIFY"),
    (1030, "F_DUPFD_CLOEXEC"),
    (1031, "F_SETPIPE_SZ"),
    (1032, "F_GETPIPE_SZ"),
    (1033, "F_ADD_SEALS"),
    (1034, "F_GET_SEALS"),
]);

pub(super) const EPOLL: Names =
    Names(&[(1, "EPOLL_CTL_ADD"), (2, "EPOLL_CTL_DEL"), (3, "EPOLL_CTL_MOD")]);

/// `LOCK_EX|LOCK_NB`.
pub(super) fn flock(operation: u32) -> String {
    const FLAGS: Flags =
        Flags("", &[(1, "LOCK_SH"), (2, "LOCK_EX"), (4, "LOCK_NB"), (8, "LOCK_UN")]);
    FLAGS.text(operation.into())
}

pub(super) const ADVICE: Names = Names(&[
    (0, "MADV_NORMAL"),
    (1, "MADV_RANDOM"),
    (2, "MADV_SEQUENTIAL"),
    (3, "MADV_WILLNEED"),
    (4, "MADV_DONTNEED"),
    (8, "MADV_FREE"),
    (9, "MADV_REMOVE"),
    (10, "MADV_DONTFORK"),
    (11, "MADV_DOFORK"),
    (12, "MADV_MERGEABLE"),
    (13, "MADV_UNMERGEABLE"),
    (14, "MADV_HUGEPAGE"),
    (15, "MADV_NOHUGEPAGE"),
    (16, "MADV_DONTDUMP"),
    (17, "MADV_DODUMP"),
    (18, "MADV_WIPEONFORK"),
    (19, "MADV_KEEPONFORK"),
    (20, "MADV_COLD"),
    (21, "MADV_PAGEOUT"),
    (22, "MADV_POPULATE_READ"),
    (23, "MADV_POPULATE_WRITE"),
    (24, "MADV_DONTNEED_LOCKED"),
    (25, "MADV_COLLAPSE"),
]);

pub(super) const SIGPROCMASK: Names =
    Names(&[(0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")]);

pub(super) const RESOURCES: Names = Names(&[
    (0, "RLIMIT_CPU"),
    (1, "RLIMIT_FSIZE"),
    (2, "RLIMIT_DATA"),
    (3, "RLIMIT_STACK"),
    (4, "RLIMIT_CORE"),
    (5, "RLIMIT_RSS"),
    (6, "RLIMIT_NPROC"),
    (7, "RLIMIT_NOFILE"),
    (8, "RLIMIT_MEMLOCK"),
    (9, "RLIMIT_AS"),
    (10, "RLIMIT_LOCKS"),
    (11, "RLIMIT_SIGPENDING"),
    (12, "RLIMIT_MSGQUEUE"),
    (13, "RLIMIT_NICE"),
    (14, "RLIMIT_RTPRIO"),
    (15, "RLIMIT_RTTIME"),
]);

pub(super) const FAMILIES: Names = Names(&[
    (0, "AF_UNSPEC"),
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (10, "AF_INET6"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (38, "AF_ALG"),
    (40, "AF_VSOCK"),
    (44, "AF_XDP"),
]);

/// `SOCK_STREAM|SOCK_CLOEXEC`; also the flags of accept4(2), which has no type.
pub(super) fn socket_type(value: u32) -> String {
    const TYPES: Names = Names(&[
        (1, "SOCK_STREAM"),
        (2, "SOCK_DGRAM"),
        (3, "SOCK_RAW"),
        (4, "SOCK_RDM"),
        (5, "SOCK_SEQPACKET"),
        (10, "SOCK_PACKET"),
    ]);
    const FLAGS: Flags = Flags("", &[(0o2_000_000, "SOCK_CLOEXEC"), (0o4_000, "SOCK_NONBLOCK")]);
    match TYPES.of((value & 0xf) as i32) {
        Some(name) => FLAGS.join(vec![name.to_owned()], u64::from(value & !0xf)),
        None => FLAGS.text(value.into()),
    }
}

pub(super) const SOCKET_LEVELS: Names = Names(&[
    (0, "IPPROTO_IP"),
    (1, "SOL_SOCKET"),
    (6, "IPPROTO_TCP"),
    (17, "IPPROTO_UDP"),
    (41, "IPPROTO_IPV6"),
]);

pub(super) const SHUTDOWN: Names = Names(&[(0, "SHUT_RD"), (1, "SHUT_WR"), (2, "SHUT_RDWR")]);

pub(super) const MSG: Flags = Flags(
    "",
    &[
        (0x1, "MSG_OOB"),
        (0x2, "MSG_PEEK"),
        (0x4, "MSG_DONTROUTE"),
        (0x20, "MSG_TRUNC"),
        (0x40, "MSG_DONTWAIT"),
        (0x80, "MSG_EOR"),
        (0x100, "MSG_WAITALL"),
        (0x800, "MSG_CONFIRM"),
        (0x2000, "MSG_ERRQUEUE"),
        (0x4000, "MSG_NOSIGNAL"),
        (0x8000, "MSG_MORE"),
        (0x1_0000, "MSG_WAITFORONE"),
        (0x400_0000, "MSG_ZEROCOPY"),
        (0x2000_0000, "MSG_FASTOPEN"),
        (0x4000_0000, "MSG_CMSG_CLOEXEC"),
    ],
);

/// Whether `open` with these flags takes a mode: O_CREAT, or the bit of O_TMPFILE.
pub(super) fn creates(flags: u64) -> bool {
    flags & (0o100 | 0o20_000_000) != 0
}

/// `O_RDONLY|O_CLOEXEC`.
pub(super) fn open(flags: u32) -> String {
    const ACCESS: [&str; 4] = ["O_RDONLY", "O_WRONLY", "O_RDWR", "0x3"];
    /// Arm has its own values for these four (arch/arm64/include/uapi/asm/fcntl.h).
    const ARM: bool = cfg!(target_arch = "aarch64");
    const DIRECTORY: u64 = if ARM { 0o40_000 } else { 0o200_000 };
    const NOFOLLOW: u64 = if ARM { 0o100_000 } else { 0o400_000 };
    const DIRECT: u64 = if ARM { 0o200_000 } else { 0o40_000 };
    const LARGEFILE: u64 = if ARM { 0o400_000 } else { 0o100_000 };
    const FLAGS: Flags = Flags(
        "",
        &[
            (0o100, "O_CREAT"),
            (0o200, "O_EXCL"),
            (0o400, "O_NOCTTY"),
            (0o1_000, "O_TRUNC"),
            (0o2_000, "O_APPEND"),
            (0o4_000, "O_NONBLOCK"),
            (0o4_010_000, "O_SYNC"),
            (0o10_000, "O_DSYNC"),
            (DIRECT, "O_DIRECT"),
            (LARGEFILE, "O_LARGEFILE"),
            (0o20_000_000 | DIRECTORY, "O_TMPFILE"),
            (DIRECTORY, "O_DIRECTORY"),
            (NOFOLLOW, "O_NOFOLLOW"),
            (0o1_000_000, "O_NOATIME"),
            (0o2_000_000, "O_CLOEXEC"),
            (0o10_000_000, "O_PATH"),
        ],
    );
    let access = ACCESS[(flags & 3) as usize].to_owned();
    FLAGS.join(vec![access], u64::from(flags & !3))
}

pub(super) const ACCESS: Flags = Flags("F_OK", &[(4, "R_OK"), (2, "W_OK"), (1, "X_OK")]);

pub(super) const AT: Flags = Flags(
    "",
    &[
        (0x100, "AT_SYMLINK_NOFOLLOW"),
        (0x400, "AT_SYMLINK_FOLLOW"),
        (0x800, "AT_NO_AUTOMOUNT"),
        (0x1000, "AT_EMPTY_PATH"),
        (0x2000, "AT_STATX_FORCE_SYNC"),
        (0x4000, "AT_STATX_DONT_SYNC"),
        (0x8000, "AT_RECURSIVE"),
    ],
);

pub(super) const REMOVAL: Flags = Flags("", &[(0x200, "AT_REMOVEDIR")]);

pub(super) const ACCESS_AT: Flags =
    Flags("", &[(0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_EACCESS"), (0x1000, "AT_EMPTY_PATH")]);

pub(super) const PROT: Flags =
    Flags("PROT_NONE", &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")]);

pub(super) const MAP: Flags = Flags(
    "",
    &[
        (0x3, "MAP_SHARED_VALIDATE"),
        (0x1, "MAP_SHARED"),
        (0x2, "MAP_PRIVATE"),
        (0x10, "MAP_FIXED"),
        (0x20, "MAP_ANONYMOUS"),
        (0x100, "MAP_GROWSDOWN"),
        (0x800, "MAP_DENYWRITE"),
        (0x2000, "MAP_LOCKED"),
        (0x4000, "MAP_NORESERVE"),
        (0x8000, "MAP_POPULATE"),
        (0x1_0000, "MAP_NONBLOCK"),
        (0x2_0000, "MAP_STACK"),
        (0x4_0000, "MAP_HUGETLB"),
        (0x10_0000, "MAP_FIXED_NOREPLACE"),
    ],
);

pub(super) const MREMAP: Flags =
    Flags("", &[(1, "MREMAP_MAYMOVE"), (MREMAP_FIXED, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")]);

/// `CLONE_VM|CLONE_VFORK|SIGCHLD`; also the flags of unshare(2) and setns(2), which have no signal.
pub(super) fn clone(value: u64) -> String {
    const FLAGS: Flags = Flags(
        "",
        &[
            (0x80, "CLONE_NEWTIME"),
            (0x100, "CLONE_VM"),
            (0x200, "CLONE_FS"),
            (0x400, "CLONE_FILES"),
            (0x800, "CLONE_SIGHAND"),
            (0x1000, "CLONE_PIDFD"),
            (0x2000, "CLONE_PTRACE"),
            (0x4000, "CLONE_VFORK"),
            (0x8000, "CLONE_PARENT"),
            (0x1_0000, "CLONE_THREAD"),
            (0x2_0000, "CLONE_NEWNS"),
            (0x4_0000, "CLONE_SYSVSEM"),
            (0x8_0000, "CLONE_SETTLS"),
            (0x10_0000, "CLONE_PARENT_SETTID"),
            (0x20_0000, "CLONE_CHILD_CLEARTID"),
            (0x40_0000, "CLONE_DETACHED"),
            (0x80_0000, "CLONE_UNTRACED"),
            (0x100_0000, "CLONE_CHILD_SETTID"),
            (0x200_0000, "CLONE_NEWCGROUP"),
            (0x400_0000, "CLONE_NEWUTS"),
            (0x800_0000, "CLONE_NEWIPC"),
            (0x1000_0000, "CLONE_NEWUSER"),
            (0x2000_0000, "CLONE_NEWPID"),
            (0x4000_0000, "CLONE_NEWNET"),
            (0x8000_0000, "CLONE_IO"),
            (17, "SIGCHLD"),
        ],
    );
    FLAGS.text(value)
}

pub(super) const WAIT: Flags = Flags(
    "",
    &[
        (0x1, "WNOHANG"),
        (0x2, "WSTOPPED"),
        (0x4, "WEXITED"),
        (0x8, "WCONTINUED"),
        (0x100_0000, "WNOWAIT"),
        (0x2000_0000, "__WNOTHREAD"),
        (0x4000_0000, "__WALL"),
        (0x8000_0000, "__WCLONE"),
    ],
);
