use std::collections::BTreeMap;

use super::*;

/// The number of the call `name` in `abi`.
fn nr(abi: Abi, name: &str) -> u32 {
    (0..1024).find(|nr| syscall::name(abi, *nr) == name).expect("the call exists")
}

fn written(abi: Abi, name: &str, args: [u64; 6]) -> String {
    texts(abi, nr(abi, name), &args, &BTreeMap::new()).join(", ")
}

fn native(name: &str, args: [u64; 6]) -> String {
    written(Abi::X86_64, name, args)
}

#[test]
fn every_call_of_every_abi_is_in_the_table() {
    // Numbers that are reserved for calls that no kernel has.
    let never = [
        "afs_syscall",
        "break",
        "getpmsg",
        "gtty",
        "idle",
        "lock",
        "mpx",
        "prof",
        "profil",
        "putpmsg",
        "security",
        "stty",
        "tuxcall",
        "ulimit",
        "vserver",
    ];
    for abi in [Abi::X86_64, Abi::I386, Abi::X32, Abi::Aarch64, Abi::Arm] {
        for nr in 0..1000 {
            let name = syscall::name(abi, nr);
            if !name.starts_with("unknown") && !never.contains(&&*name) {
                assert!(declared(abi, &name).is_some(), "{abi} {nr} {name}");
            }
        }
    }
    assert!(table::CALLS.is_sorted_by(|(a, _), (b, _)| a < b), "it is searched by halves");
}

#[test]
fn calls_have_as_many_arguments_as_their_manual_says() {
    let counts = [
        ("getpid", 0),
        ("sched_yield", 0),
        ("fsync", 1),
        ("close", 1),
        ("exit_group", 1),
        ("dup2", 2),
        ("kill", 2),
        ("nanosleep", 2),
        ("clone3", 2),
        ("read", 3),
        ("write", 3),
        ("lseek", 3),
        ("execve", 3),
        ("poll", 3),
        ("connect", 3),
        ("openat", 4),
        ("pread64", 4),
        ("epoll_wait", 4),
        ("epoll_ctl", 4),
        ("wait4", 4),
        ("rt_sigaction", 4),
        ("statx", 5),
        ("clone", 5),
        ("prctl", 5),
        ("mount", 5),
        ("select", 5),
        ("getsockopt", 5),
        ("mmap", 6),
        ("futex", 6),
        ("sendto", 6),
        ("recvfrom", 6),
        ("epoll_pwait", 6),
        ("pselect6", 6),
        ("splice", 6),
        ("copy_file_range", 6),
        ("io_uring_enter", 6),
    ];
    for (name, arguments) in counts {
        assert_eq!(count(Abi::X86_64, name), Some(arguments), "{name}");
    }
    assert_eq!(count(Abi::I386, "mmap"), Some(1));
    assert_eq!(count(Abi::I386, "mmap2"), Some(6));
    assert_eq!(count(Abi::X86_64, "no_such_call"), None);
}

#[test]
fn arguments_are_written_as_their_kind_is() {
    let junk = 0x8bbc_1234_5678;
    assert_eq!(native("fsync", [4, 0, 0, junk, junk, junk]), "4");
    assert_eq!(native("getpid", [junk; 6]), "");
    assert_eq!(native("read", [3, 0x7ffd_1234_5678, 4096, junk, 0, 0]), "3, 0x7ffd12345678, 4096");
    assert_eq!(native("poll", [0x10, 1, 0xffff_ffff, 0, 0, 0]), "0x10, 1, -1");
    assert_eq!(native("lseek", [3, u64::MAX, 1, 0, 0, 0]), "3, -1, SEEK_CUR");
    assert_eq!(native("chown", [0x1000, 0xffff_ffff, 1000, 0, 0, 0]), "0x1000, -1, 1000");
    assert_eq!(native("mkdir", [0x1000, 0o755, 0, 0, 0, 0]), "0x1000, 0755");
    assert_eq!(native("exit_group", [0xffff_ffff, 0, 0, 0, 0, 0]), "-1");
    assert_eq!(native("ioctl", [1, 0x5401, 0x1000, 0, 0, 0]), "1, 0x5401, 0x1000");
    assert_eq!(native("kill", [0xffff_fb2e, 15, 0, 0, 0, 0]), "-1234, SIGTERM");
    assert_eq!(native("kill", [1, 0, 0, 0, 0, 0]), "1, 0");
    assert_eq!(native("kill", [1, 64, 0, 0, 0, 0]), "1, 64");
}

#[test]
fn a_directory_may_be_the_current_one() {
    // As a C library passes it: zeroes above the 32 bits of an int, or its sign.
    for dir in [0xffff_ff9c, 0xffff_ffff_ffff_ff9c] {
        let args = [dir, 0x1000, 0o2_000_000, 0, 0, 0];
        assert_eq!(native("openat", args), "AT_FDCWD, 0x1000, O_RDONLY|O_CLOEXEC");
    }
    let args = [0xffff_ff9c, 0x1000, 0o1101, 0o644, 0, 0];
    let text = "AT_FDCWD, 0x1000, O_WRONLY|O_CREAT|O_TRUNC, 0644";
    assert_eq!(native("openat", args), text);
    let args = [7, 0x1000, 0x2000, 0x1100, 0, 0];
    assert_eq!(native("newfstatat", args), "7, 0x1000, 0x2000, AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH");
    assert_eq!(native("unlinkat", [7, 0x1000, 0x200, 0, 0, 0]), "7, 0x1000, AT_REMOVEDIR");
}

#[test]
fn a_futex_has_the_arguments_of_its_operation() {
    let args = |op| [0x1000, op, 2, 0, 0x2000, 0xffff_ffff];
    assert_eq!(native("futex", args(128)), "0x1000, FUTEX_WAIT_PRIVATE, 2, NULL");
    assert_eq!(native("futex", args(129)), "0x1000, FUTEX_WAKE_PRIVATE, 2");
    assert_eq!(
        native("futex", args(0x189)),
        "0x1000, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 2, NULL, 0xffffffff"
    );
    assert_eq!(native("futex", args(7)), "0x1000, FUTEX_UNLOCK_PI");
    assert_eq!(native("futex", args(4)), "0x1000, FUTEX_CMP_REQUEUE, 2, 0, 0x2000, 4294967295");
    assert_eq!(native("futex", args(0x1000)), "0x1000, 0x1000, 2, NULL");
}

#[test]
fn constants_have_their_names() {
    assert_eq!(native("fcntl", [3, 3, 7, 0, 0, 0]), "3, F_GETFL");
    assert_eq!(native("fcntl", [3, 4, 0o4000, 0, 0, 0]), "3, F_SETFL, O_RDONLY|O_NONBLOCK");
    assert_eq!(native("fcntl", [3, 7, 0x1000, 0, 0, 0]), "3, F_SETLKW, 0x1000");
    assert_eq!(native("fcntl", [3, 999, 0x1000, 0, 0, 0]), "3, 999, 0x1000");
    assert_eq!(native("epoll_ctl", [4, 1, 9, 0x10, 0, 0]), "4, EPOLL_CTL_ADD, 9, 0x10");
    assert_eq!(native("madvise", [0x1000, 4096, 4, 0, 0, 0]), "0x1000, 4096, MADV_DONTNEED");
    assert_eq!(
        native("socket", [2, 0o2_000_001, 6, 0, 0, 0]),
        "AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 6"
    );
    assert_eq!(native("accept4", [3, 0, 0, 0o4_000, 0, 0]), "3, NULL, NULL, SOCK_NONBLOCK");
    assert_eq!(native("accept4", [3, 0, 0, 0, 0, 0]), "3, NULL, NULL, 0");
    assert_eq!(native("shutdown", [3, 2, 0, 0, 0, 0]), "3, SHUT_RDWR");
    assert_eq!(
        native("clock_nanosleep", [1, 1, 0x10, 0, 0, 0]),
        "CLOCK_MONOTONIC, TIMER_ABSTIME, 0x10, NULL"
    );
    assert_eq!(native("clock_gettime", [0xffff_fff6, 0x10, 0, 0, 0, 0]), "-10, 0x10");
    assert_eq!(native("flock", [3, 6, 0, 0, 0, 0]), "3, LOCK_EX|LOCK_NB");
    assert_eq!(native("access", [0x10, 0, 0, 0, 0, 0]), "0x10, F_OK");
    assert_eq!(native("rt_sigprocmask", [2, 0x10, 0, 8, 0, 0]), "SIG_SETMASK, 0x10, NULL, 8");
    assert_eq!(native("wait4", [u64::MAX, 0, 1, 0, 0, 0]), "-1, NULL, WNOHANG, NULL");
    assert_eq!(native("prlimit64", [0, 7, 0, 0x10, 0, 0]), "0, RLIMIT_NOFILE, NULL, 0x10");
    assert_eq!(
        native("mmap", [0, 4096, 3, 0x22, 0xffff_ffff, 0]),
        "NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0"
    );
    assert_eq!(native("mprotect", [0x1000, 4096, 0, 0, 0, 0]), "0x1000, 4096, PROT_NONE");
    assert_eq!(
        native("mremap", [0x1000, 4096, 8192, 1, 9, 0]),
        "0x1000, 4096, 8192, MREMAP_MAYMOVE"
    );
    assert_eq!(
        native("clone", [0x4111, 0, 0, 0, 0, 0]),
        "CLONE_VM|CLONE_VFORK|SIGCHLD, NULL, NULL, NULL, NULL"
    );
    assert_eq!(
        native("sendto", [3, 0x10, 5, 0x4040, 0, 0]),
        "3, 0x10, 5, MSG_DONTWAIT|MSG_NOSIGNAL, NULL, 0"
    );
    assert_eq!(
        native("sendto", [3, 0x10, 5, 0x8000_0000, 0, 0]),
        "3, 0x10, 5, 0x80000000, NULL, 0"
    );
    assert_eq!(native("open", [0x10, 0o4_010_000, 0, 0, 0, 0]), "0x10, O_RDONLY|O_SYNC");
}

#[test]
fn narrow_registers_have_their_own_sign_and_pairs() {
    let args = [3, 0xffff_e000, 512, 0x8000_0000, 1, 0];
    assert_eq!(written(Abi::I386, "pread64", args), "3, 0xffffe000, 512, 6442450944");
    // The pair begins at an even register.
    let args = [3, 0xffff_e000, 512, 99, 0x8000_0000, 1];
    assert_eq!(written(Abi::Arm, "pread64", args), "3, 0xffffe000, 512, 6442450944");
    assert_eq!(written(Abi::Arm, "truncate64", [0x10, 99, 5, 1, 0, 0]), "0x10, 4294967301");
    assert_eq!(written(Abi::I386, "truncate64", [0x10, 5, 1, 0, 0, 0]), "0x10, 4294967301");
    // What lies above 32 bits is no part of an argument.
    assert_eq!(written(Abi::I386, "read", [3 | 7 << 40, 0x10, 4, 0, 0, 0]), "3, 0x10, 4");
    assert_eq!(written(Abi::I386, "lseek", [3, 0xffff_ffff, 0, 0, 0, 0]), "3, -1, SEEK_SET");
    assert_eq!(written(Abi::I386, "mmap", [0x10, 1, 2, 3, 4, 5]), "0x10");
    assert_eq!(
        written(Abi::X32, "pread64", [3, 0x10, 512, 1 << 40, 1, 0]),
        "3, 0x10, 512, 1099511627776"
    );
    assert_eq!(native("preadv", [3, 0x10, 2, 4096, 0, 0]), "3, 0x10, 2, 4096");
    assert_eq!(written(Abi::I386, "preadv", [3, 0x10, 2, 4096, 1, 0]), "3, 0x10, 2, 4294971392");
}

#[test]
fn unknown_calls_show_all_registers() {
    let all = texts(Abi::X86_64, 999, &[3, 0x7ffd_1234_5678, 10, u64::MAX, 0, 0], &BTreeMap::new());
    assert_eq!(all, ["3", "0x7ffd12345678", "0xa", "0xffffffffffffffff", "0", "0"]);
}

#[test]
fn descriptors_are_found_and_named() {
    let names = BTreeMap::from([(3, "/etc".to_owned()), (4, "pipe:[7]".to_owned())]);
    let cwd = libc::AT_FDCWD as u32 as u64;
    for (name, args, found, text) in [
        ("read", [4, 0, 10, 0, 0, 0], &[4][..], "4<pipe:[7]>, NULL, 10"),
        ("read", [5, 0, 10, 0, 0, 0], &[5], "5, NULL, 10"),
        ("close", [u64::MAX, 0, 0, 0, 0, 0], &[], "-1"),
        ("unlinkat", [3, 0, 0, 0, 0, 0], &[3], "3</etc>, NULL, 0"),
        ("unlinkat", [cwd, 0, 0, 0, 0, 0], &[], "AT_FDCWD, NULL, 0"),
        ("dup2", [4, 3, 0, 0, 0, 0], &[4, 3], "4<pipe:[7]>, 3</etc>"),
        ("getppid", [4, 3, 0, 0, 0, 0], &[], ""),
    ] {
        let nr = nr(Abi::X86_64, name);
        assert_eq!(descriptors(Abi::X86_64, nr, &args), found, "{name}");
        assert_eq!(texts(Abi::X86_64, nr, &args, &names).join(", "), text);
    }
    assert_eq!(descriptors(Abi::X86_64, 999, &[4; 6]), [0; 0]);
}
