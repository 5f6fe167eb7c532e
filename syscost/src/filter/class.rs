//! The classes of system calls that strace knows: `%file`, `%network` and so on. Knows names only,
//! not which machine has them.
//!
//! A call is in a class because strace 7.2 says so. The names of all ABIs are here together, those
//! of x86 and Arm, 64 and 32 bits: no class has a name in one ABI and lacks it in another.

/// A class of calls.
pub struct Class {
    /// Its name, as in `%file`.
    pub name: &'static str,
    /// The names of its calls, with spaces in between.
    calls: &'static [&'static str],
}

/// Every class.
pub const CLASSES: &[Class] = &[
    Class { name: "%file", calls: &[FILE] },
    Class { name: "%desc", calls: &[DESC] },
    Class { name: "%network", calls: &[NETWORK] },
    Class { name: "%net", calls: &[NETWORK] },
    Class { name: "%process", calls: &[PROCESS] },
    Class { name: "%signal", calls: &[SIGNAL] },
    Class { name: "%memory", calls: &[MEMORY] },
    Class { name: "%ipc", calls: &[IPC] },
    Class { name: "%clock", calls: &[CLOCK] },
    Class { name: "%creds", calls: &[CREDS] },
    Class { name: "%pure", calls: &[PURE] },
    Class { name: "%stat", calls: &[STAT] },
    Class { name: "%lstat", calls: &[LSTAT] },
    Class { name: "%fstat", calls: &[FSTAT] },
    Class { name: "%%stat", calls: &[STAT, LSTAT, FSTAT] },
    Class { name: "%statfs", calls: &[STATFS] },
    Class { name: "%fstatfs", calls: &[FSTATFS] },
    Class { name: "%%statfs", calls: &[STATFS, FSTATFS, "ustat"] },
];

/// The classes that also go without a percent sign, from before there was one.
const BARE: &[&str] = &["desc", "file", "memory", "process", "signal", "ipc", "network"];

impl Class {
    /// The class called `name`, in capitals or not. `signal` and `ipc` are classes before they are
    /// calls.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        let bare = BARE.iter().any(|bare| bare.eq_ignore_ascii_case(name));
        CLASSES.iter().find(|class| {
            let known = if bare { &class.name[1..] } else { class.name };
            known.eq_ignore_ascii_case(name)
        })
    }

    /// The names of its calls.
    pub(super) fn calls(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.calls.iter().flat_map(|names| names.split_whitespace())
    }
}

/// Those that take a file name.
const FILE: &str = "\
    access acct chdir chmod chown chown32 chroot creat execve execveat faccessat faccessat2 \
    fanotify_mark fchmodat fchmodat2 fchownat file_getattr file_setattr fsconfig fspick \
    fstatat64 futimesat getcwd getxattr getxattrat inotify_add_watch lchown lchown32 \
    lgetxattr link linkat listxattr listxattrat llistxattr lremovexattr lsetxattr lstat \
    lstat64 mkdir mkdirat mknod mknodat mount mount_setattr move_mount name_to_handle_at \
    newfstatat oldlstat oldstat open open_tree open_tree_attr openat openat2 pivot_root \
    quotactl readlink readlinkat removexattr removexattrat rename renameat renameat2 rmdir \
    setxattr setxattrat stat stat64 statfs statfs64 statx swapoff swapon symlink symlinkat \
    truncate truncate64 umount umount2 unlink unlinkat uselib utime utimensat \
    utimensat_time64 utimes";

/// Those that take or return a file descriptor.
const DESC: &str = "\
    _llseek _newselect arm_fadvise64_64 bpf cachestat close copy_file_range creat dup dup2 \
    dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execveat \
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_init fanotify_mark fchdir \
    fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr \
    file_getattr file_setattr finit_module flistxattr flock fremovexattr fsconfig fsetxattr \
    fsmount fsopen fspick fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate \
    ftruncate64 futimesat getdents getdents64 getxattrat inotify_add_watch inotify_init \
    inotify_init1 inotify_rm_watch io_uring_enter io_uring_register io_uring_setup ioctl \
    kexec_file_load landlock_add_rule landlock_create_ruleset landlock_restrict_self linkat \
    listxattrat lseek memfd_create memfd_secret mkdirat mknodat mmap mmap2 mount_setattr \
    move_mount mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 \
    mq_timedsend mq_timedsend_time64 name_to_handle_at newfstatat oldfstat open \
    open_by_handle_at open_tree open_tree_attr openat openat2 perf_event_open pidfd_getfd \
    pidfd_open pidfd_send_signal pipe pipe2 poll ppoll ppoll_time64 pread64 preadv preadv2 \
    process_madvise process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 \
    quotactl_fd read readahead readdir readlinkat readv removexattrat renameat renameat2 \
    select sendfile sendfile64 setns setxattrat signalfd signalfd4 socketcall splice statx \
    symlinkat sync_file_range sync_file_range2 syncfs tee timerfd_create timerfd_gettime \
    timerfd_gettime64 timerfd_settime timerfd_settime64 \
    unlinkat userfaultfd utimensat utimensat_time64 vmsplice write writev";

/// `socketcall` is among them because strace looks into it, and all it can do is in the class.
const NETWORK: &str = "\
    accept accept4 bind connect getpeername getpmsg getsockname getsockopt listen putpmsg \
    recv recvfrom recvmmsg recvmmsg_time64 recvmsg send sendfile sendfile64 sendmmsg sendmsg \
    sendto setsockopt shutdown socket socketcall socketpair";

/// Those of a process's life.
const PROCESS: &str = "\
    clone clone3 execve execveat exit exit_group fork kill pidfd_send_signal rt_sigqueueinfo \
    rt_tgsigqueueinfo tgkill tkill vfork wait4 waitid waitpid";

const SIGNAL: &str = "\
    io_uring_enter kill pause pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask \
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 \
    rt_tgsigqueueinfo sgetmask sigaction sigaltstack signal signalfd signalfd4 sigpending \
    sigprocmask sigreturn sigsuspend ssetmask tgkill tkill";

const MEMORY: &str = "\
    break brk get_mempolicy io_destroy io_setup io_uring_register madvise map_shadow_stack \
    mbind migrate_pages mincore mlock mlock2 mlockall mmap mmap2 move_pages mprotect mremap \
    mseal msync munlock munlockall munmap pkey_mprotect remap_file_pages set_mempolicy \
    set_mempolicy_home_node shmat shmdt";

/// System V IPC.
const IPC: &str = "\
    ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat \
    shmctl shmdt shmget";

const CLOCK: &str = "\
    adjtimex clock_adjtime clock_adjtime64 clock_getres \
    clock_getres_time64 clock_gettime clock_gettime64 clock_settime \
    clock_settime64 gettimeofday settimeofday \
    time";

/// User and group identifiers, capabilities.
const CREDS: &str = "\
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 \
    getresgid getresgid32 getresuid getresuid32 getuid getuid32 prctl setfsgid setfsgid32 \
    setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid \
    setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32";

/// Those that have no argument and always succeed.
const PURE: &str = "\
    getegid getegid32 geteuid geteuid32 getgid getgid32 getpgrp getpid getppid gettid getuid \
    getuid32";

const STAT: &str = "oldstat stat stat64";

const LSTAT: &str = "lstat lstat64 oldlstat";

const FSTAT: &str = "fstat fstat64 fstatat64 newfstatat oldfstat statx";

const STATFS: &str = "statfs statfs64";

const FSTATFS: &str = "fstatfs fstatfs64";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use syscost_common::kind::NRS_PER_ABI;

    use super::*;
    use crate::decode::syscall::{self, Abi};

    #[test]
    fn every_name_exists_in_some_abi() {
        let abis = [Abi::X86_64, Abi::I386, Abi::X32, Abi::Aarch64, Abi::Arm];
        let known: HashSet<_> = abis
            .iter()
            .flat_map(|abi| (0..NRS_PER_ABI).map(|nr| syscall::name(*abi, nr)))
            .collect();
        for class in CLASSES {
            for call in class.calls() {
                assert!(known.contains(call), "{}: {call}", class.name);
            }
        }
    }

    #[test]
    fn no_class_names_a_call_twice() {
        for class in CLASSES {
            let mut seen = HashSet::new();
            assert!(class.calls().all(|call| seen.insert(call)), "{}", class.name);
        }
    }

    #[test]
    fn calls_are_in_the_classes_that_strace_puts_them_in() {
        let classes = |call: &str| {
            let with = CLASSES.iter().filter(|class| class.calls().any(|name| name == call));
            with.map(|class| class.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(classes("openat"), "%file %desc");
        assert_eq!(classes("mmap"), "%desc %memory");
        assert_eq!(classes("mmap2"), "%desc %memory");
        assert_eq!(classes("sendfile"), "%desc %network %net");
        assert_eq!(classes("socketcall"), "%desc %network %net");
        assert_eq!(classes("shmat"), "%memory %ipc");
        assert_eq!(classes("kill"), "%process %signal");
        assert_eq!(classes("waitpid"), "%process");
        assert_eq!(classes("stat64"), "%file %stat %%stat");
        assert_eq!(classes("newfstatat"), "%file %desc %fstat %%stat");
        assert_eq!(classes("ustat"), "%%statfs");
        assert_eq!(classes("getuid32"), "%creds %pure");
        assert_eq!(classes("gettimeofday"), "%clock");
        assert_eq!(classes("clock_nanosleep"), "");
        assert_eq!(classes("futex"), "");
    }

    #[test]
    fn old_names_need_no_percent_sign() {
        let named = |name| Class::named(name).map(|class| class.name);
        assert_eq!(named("file"), Some("%file"));
        assert_eq!(named("IPC"), Some("%ipc"));
        assert_eq!(named("%Net"), Some("%net"));
        assert_eq!(named("stat"), None);
        assert_eq!(named("clock"), None);
        assert_eq!(named("%"), None);
        assert_eq!(named(""), None);
    }
}
