//! System calls that an older kernel, a setting or a filter refuses to syscost itself: a supervisor of
//! seccomp(2) decides on them in the kernel's place.

use std::{
    fs::File,
    io::Read,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    thread::{self, JoinHandle},
};

use syscost::{
    group::GroupBy,
    probe::{Probe, Snapshot},
    request::Request,
};

use crate::harness::{
    Stat, Target, capabilities, choice, eventually, hooks, seeing_hooks, skipped, syscost,
    task_storage,
};

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_BPF: u64 = 1 << 39;

/// `BPF_OBJ_GET_INFO_BY_FD` (include/uapi/linux/bpf.h).
const GET_INFO: u64 = 15;

/// Decides on one system call of another process.
struct Supervisor(Option<JoinHandle<u64>>);

impl Supervisor {
    /// Of each call number `nr` that `command` makes, `refuses` says whether it fails, and with which errno.
    /// It is given the caller's tid and the call's first argument.
    fn of(
        command: &mut Command,
        nr: i64,
        refuses: impl Fn(u32, u64) -> Option<i32> + Send + 'static,
    ) -> Self {
        let (mut told, tell) =
            nix::unistd::pipe().map(|(r, w)| (File::from(r), w)).expect("a pipe");
        // SAFETY: only system calls between fork and exec, on memory that lives until then.
        unsafe {
            command.pre_exec(move || {
                let listener = listen(nr)?;
                // Without the flag that closes it at exec, for the supervisor to take.
                let kept = libc::dup(listener);
                let words = [libc::getpid(), kept].map(i32::to_ne_bytes).concat();
                let written = libc::write(tell.as_raw_fd(), words.as_ptr().cast(), words.len());
                if written == 8 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        Self(Some(thread::spawn(move || {
            let mut words = [0; 8];
            if told.read_exact(&mut words).is_err() {
                return 0;
            }
            let word = |at| i32::from_ne_bytes(words[at..at + 4].try_into().expect("4 bytes"));
            let Some(listener) = take(word(0), word(4)) else { return 0 };
            decide(&listener, refuses)
        })))
    }

    /// How many calls were refused. The command must have ended.
    fn refused(mut self) -> u64 {
        self.0.take().map_or(0, |thread| thread.join().expect("the supervisor"))
    }
}

/// Makes this process's calls `nr` wait for a supervisor.
fn listen(nr: i64) -> std::io::Result<RawFd> {
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        unless(nr as u32, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    install(&mut program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
}

/// A statement of a filter that jumps nowhere.
fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Skips the `over` next statements unless what was loaded last is `k`.
fn unless(k: u32, over: u8) -> libc::sock_filter {
    let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    libc::sock_filter { jf: over, ..statement(jump, k) }
}

/// Makes a filter this thread's. Returns what seccomp(2) does.
fn install(program: &mut [libc::sock_filter], flags: u64) -> std::io::Result<RawFd> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the filter, which lives.
    match unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter) } {
        -1 => Err(std::io::Error::last_os_error()),
        fd => Ok(fd as RawFd),
    }
}

/// A thread's membarrier(2) fails as it does where the tick may stop on busy CPUs, or through a filter that
/// lets it be asked what there is.
#[test]
fn without_a_memory_barrier_no_program_runs_after_detaching_either() {
    for hooks in hooks() {
        for asked_in_vain in [true, false] {
            let hooks = hooks.clone();
            // The filter is this thread's for good.
            thread::spawn(move || {
                deny_membarrier(asked_in_vain);
                for by in [GroupBy::Syscall, GroupBy::Process] {
                    if hooks == "raw" && by != GroupBy::Syscall {
                        continue;
                    }
                    let target = Target::start(&["busy"]);
                    let hooks = choice(&hooks);
                    let request = Request { hooks, group_by: by, ..Request::process(target.pid()) };
                    let mut probe = Probe::attach(&request).unwrap();
                    eventually("calls are counted", || probe.snapshot().ledger.counters[0] > 1_000);
                    probe.detach();
                    let Snapshot { kinds, ledger } = probe.snapshot();
                    for _ in 0..10 {
                        let Snapshot { kinds: again, ledger: ledger_again } = probe.snapshot();
                        assert_eq!(ledger_again, ledger);
                        assert_eq!(again, kinds);
                    }
                }
            })
            .join()
            .expect("no test in it fails");
        }
    }
}

fn deny_membarrier(asked_in_vain: bool) {
    let first_argument = 16;
    // No command has the other number.
    let let_through = if asked_in_vain { u32::MAX } else { libc::MEMBARRIER_CMD_QUERY as u32 };
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        unless(libc::SYS_membarrier as u32, 2),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, first_argument),
        unless(let_through, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
    ];
    install(&mut program, 0).expect("seccomp is there");
}

/// The descriptor `fd` of the process `pid`.
fn take(pid: i32, fd: i32) -> Option<OwnedFd> {
    // SAFETY: integers; what they return is a descriptor opened for us.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let pidfd = (pidfd >= 0).then(|| OwnedFd::from_raw_fd(pidfd as RawFd))?;
        let taken = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0);
        (taken >= 0).then(|| OwnedFd::from_raw_fd(taken as RawFd))
    }
}

/// Decides until nobody is left who could ask. Returns how many calls were refused.
fn decide(listener: &OwnedFd, refuses: impl Fn(u32, u64) -> Option<i32>) -> u64 {
    let mut refused = 0;
    loop {
        let mut ready = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one struct, which lives.
        let polled = unsafe { libc::poll(&raw mut ready, 1, -1) };
        if polled < 0 || ready.revents & libc::POLLIN == 0 {
            return refused;
        }
        // SAFETY: integers, which are to be zero before; the kernel writes and reads whole structs.
        unsafe {
            let mut call: libc::seccomp_notif = std::mem::zeroed();
            let receive = libc::SECCOMP_IOCTL_NOTIF_RECV;
            if libc::ioctl(listener.as_raw_fd(), receive as _, &raw mut call) != 0 {
                // It was killed in between.
                continue;
            }
            let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
            answer.id = call.id;
            match refuses(call.pid, call.data.args[0]) {
                Some(errno) => answer.error = -errno,
                None => answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            }
            refused += u64::from(answer.flags == 0);
            let send = libc::SECCOMP_IOCTL_NOTIF_SEND;
            libc::ioctl(listener.as_raw_fd(), send as _, &raw mut answer);
        }
    }
}

fn effective(tid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    if status.is_empty() { 0 } else { capabilities(&status)[2] }
}

/// Linux 5.12 to 5.18 with kernel.unprivileged_bpf_disabled: each command of bpf(2) takes CAP_BPF, also
/// one on a descriptor that is open already (`__sys_bpf`).
fn wants_cap_bpf(tid: u32, _command: u64) -> Option<i32> {
    (effective(tid) & (CAP_BPF | CAP_SYS_ADMIN) == 0).then_some(libc::EPERM)
}

#[test]
fn a_kernel_that_tells_only_the_privileged_is_asked_with_the_one_capability_kept() {
    for hooks in seeing_hooks() {
        for args in [
            &[][..],
            &["--by", "process"],
            &["--max-overhead", "90%"],
            &["--max-overhead", "90%", "--by", "process"],
            &["--max-overhead", "90%", "--by", "thread"],
        ] {
            let mut target = Target::start(&["calls", "4", "1000"]);
            let mut command = syscost();
            let supervisor = Supervisor::of(&mut command, libc::SYS_bpf, wants_cap_bpf);
            let args = [&["--hooks", &hooks, "-i", "600ms", "-d", "3"], args].concat();
            let stat = Stat::attach_by(&mut command, target.pid(), &args);
            target.work();
            let status = std::fs::read_to_string(format!("/proc/{}/status", stat.pid())).unwrap();
            let [_, _, now, ..] = capabilities(&status);
            assert_ne!(now & CAP_BPF, 0, "{args:?}: {now:x}");
            // The budget is looked after twice by then.
            let windows = stat.finish_intervals();
            assert!(windows.len() >= 3, "{args:?}");
            for measured in &windows {
                assert_eq!(measured.0["exact"], true, "{args:?}: {:#}", measured.0["losses"]);
                assert_eq!(measured.misses(), Some(0), "{args:?}");
                assert!(measured.0["in_flight"].is_array(), "{args:?}");
            }
            let counted: u64 = windows.iter().map(|measured| measured.count("getppid")).sum();
            assert_eq!(counted, 4_000, "{args:?}");
            if args.contains(&"--by") {
                let groups = windows
                    .iter()
                    .flat_map(|measured| measured.0["groups"].as_array().expect("groups").clone());
                let calls: u64 = groups.map(|group| group["count"].as_u64().unwrap()).sum();
                assert!(calls >= 4_000, "{args:?}: {calls}");
            }
            // It was tried without any, for once.
            assert!(supervisor.refused() > 0, "{args:?}");
        }
    }
}

#[test]
fn skipped_runs_that_the_kernel_does_not_tell_of_make_no_number_exact() {
    if !task_storage() {
        return skipped("this kernel skips none, nor counts them");
    }
    for hooks in hooks() {
        let mut target = Target::start(&["calls", "4", "1000"]);
        let mut command = syscost();
        let refuse = |_, command| (command == GET_INFO).then_some(libc::EPERM);
        let _supervisor = Supervisor::of(&mut command, libc::SYS_bpf, refuse);
        let stat = Stat::attach_by(&mut command, target.pid(), &["--hooks", &hooks]);
        target.work();
        let measured = stat.stop();
        assert_eq!(measured.count("getppid"), 4_000, "{hooks}");
        assert!(measured.0["ledger"]["program_misses"].is_null());
        assert_eq!(measured.0["exact"], false);
        assert_eq!(measured.0["losses"][0]["kind"], "program_misses");
        measured.assert_consistent();
    }
}
