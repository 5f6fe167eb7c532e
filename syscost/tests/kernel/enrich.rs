//! The helper that tells names: what it can do, what it cannot, and how it ends.

use std::{
    fs::{self, File},
    io::Write,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use syscost::enrich::Process;

use crate::{
    harness::{
        Measured, Stat, Target, assert_nothing_left, capabilities, run, seeing_hooks, skipped,
    },
    running::{Running, eventually},
    threads::await_asleep_in,
    users::{CAP_BPF, CAP_PERFMON, Everybodys, become_user},
};

const CAP_SYS_PTRACE: u64 = 1 << 19;
const NOBODY: u32 = 65_534;
const SOMEBODY: u32 = 65_533;

/// A main process that asks what it is told to, and its helper.
struct Asking {
    main: Running,
    helper: Pid,
}

impl Asking {
    fn start() -> Self {
        Self::start_by(&mut Command::new(env!("CARGO_BIN_EXE_syscost-target")))
    }

    /// The same, by a command that names the program.
    fn start_by(command: &mut Command) -> Self {
        let mut main = spawn(command);
        let line = main.line("the helper").expect("it speaks");
        let helper = line.strip_prefix("helper ").unwrap_or_else(|| panic!("{line}"));
        let helper = Pid::from_raw(helper.parse().expect("a PID"));
        Self { main, helper }
    }

    fn ask(&mut self, question: &str) -> String {
        self.main.write(&format!("{question}\n"));
        self.main.line("an answer").expect("it answers")
    }

    fn fd(&mut self, of: Process, fd: i32) -> String {
        self.ask(&format!("fd {} {} {fd}", of.pid, of.started_ticks))
    }

    fn address(&mut self, of: Process, address: u64) -> String {
        self.ask(&format!("address {} {} {address}", of.pid, of.started_ticks))
    }

    /// What `/proc` says of the helper.
    fn status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.helper)).expect("it lives")
    }
}

fn spawn(command: &mut Command) -> Running {
    Running::start(command.arg("names").stdin(Stdio::piped()).stdout(Stdio::piped()))
}

fn process(pid: u32) -> Process {
    Process::now(pid).expect("it is there")
}

fn own() -> Process {
    process(std::process::id())
}

/// Whether a process has ended; nobody need have waited for it.
fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// The first mapping of a process that is code of a file: an address in it, its offset, and its path.
fn code_of(pid: u32) -> (u64, u64, String) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it is there");
    let line = maps.lines().find(|line| line.contains(" r-xp ") && line.contains('/'));
    let fields: Vec<&str> = line.expect("it has code").split_ascii_whitespace().collect();
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    let start = number(fields[0].split('-').next().expect("a range"));
    (start + 0x10, number(fields[2]) + 0x10, fields[5].to_owned())
}

/// `stat --json --names` of the process `pid`, started by `command` and attached.
fn attached_with_names(command: &mut Command, pid: &str) -> Running {
    let mut stat = Running::start(
        command
            .args(["stat", "--json", "--names", "-p", pid])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let attached = stat.error_line("\"attached to\"").unwrap();
    assert!(attached.contains("attached to"), "{attached}");
    stat
}

#[test]
fn it_tells_what_descriptors_of_another_users_process_are() {
    let everybodys = Everybodys::new();
    let target = everybodys.target(SOMEBODY, &["calls", "1", "1"]);
    let of = process(target.pid());
    let mut asking = Asking::start();
    for fd in 0..2 {
        let link = fs::read_link(format!("/proc/{}/fd/{fd}", of.pid)).unwrap();
        assert_eq!(asking.fd(of, fd), link.to_str().unwrap());
        assert!(asking.fd(of, fd).starts_with("pipe:["));
    }
    assert_eq!(asking.fd(of, 999), "unknown: the descriptor is not open");
    let (address, offset, path) = code_of(of.pid);
    assert_eq!(asking.address(of, address), format!("{path}+{offset:#x}"));
    assert_eq!(asking.address(of, 8), "unknown: nothing is mapped there");
}

#[test]
fn two_capabilities_more_make_it_work_for_a_user() {
    let everybodys = Everybodys::new();
    let program = everybodys.folder.path().join("syscost-target");
    let started_by = |capabilities| {
        let mut command = Command::new(&program);
        become_user(&mut command, NOBODY, capabilities);
        command
    };
    let mut asking = Asking::start_by(&mut started_by(CAP_SYS_PTRACE | CAP_BPF));
    let [_, permitted, effective, ..] = capabilities(&asking.status());
    assert_eq!([permitted, effective], [CAP_SYS_PTRACE; 2]);
    // Root's, and another user's.
    let others = everybodys.target(SOMEBODY, &["calls", "1", "1"]);
    for of in [own(), process(others.pid())] {
        let link = fs::read_link(format!("/proc/{}/fd/0", of.pid)).unwrap();
        assert_eq!(asking.fd(of, 0), link.to_str().unwrap());
    }
    let mut without = spawn(&mut started_by(CAP_BPF | CAP_PERFMON));
    let line = without.line("why there is no helper").unwrap();
    assert_eq!(line, "no helper: needs CAP_SYS_PTRACE (try sudo)");
    without.write(&format!("fd {} {} 0\n", own().pid, own().started_ticks));
    assert_eq!(without.line("an answer").unwrap(), "unknown: needs CAP_SYS_PTRACE (try sudo)");
}

#[test]
fn files_sockets_and_what_is_closed_to_others_have_names() {
    let mut asking = Asking::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let mut file = File::create(&path).unwrap();
    writeln!(file, "x").unwrap();
    let fd = file.as_raw_fd();
    assert_eq!(asking.fd(own(), fd), path.to_str().unwrap());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (from, to) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    assert_eq!(asking.fd(own(), stream.as_raw_fd()), format!("TCP:[{from}->{to}]"));

    // A process that may not be looked into, not even by its own user: syscost itself.
    let main = process(asking.main.pid());
    let closed = process(asking.helper.as_raw() as u32);
    assert!(asking.fd(main, 0).starts_with("pipe:["));
    assert_eq!(asking.fd(closed, 4), "/proc");
    assert!(asking.fd(closed, 3).starts_with("UNIX-SEQPACKET:["));
}

#[test]
fn processes_in_namespaces_of_their_own_have_names() {
    let mut command = Command::new("unshare");
    if !crate::harness::installed("unshare") {
        return skipped("unshare is not installed");
    }
    // The pipe to it ends with the test, and so does `cat`.
    command.args(["--user", "--pid", "--fork", "cat"]).stdin(Stdio::piped());
    let unshare = Running::start(&mut command);
    let child = || {
        let pid = unshare.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let child = children.split_ascii_whitespace().next()?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name == "cat\n").then_some(child)
    };
    eventually("it runs in its namespaces", || child().is_some());
    let of = process(child().unwrap());
    let mut asking = Asking::start();
    let link = fs::read_link(format!("/proc/{}/fd/0", of.pid)).unwrap();
    assert_eq!(asking.fd(of, 0), link.to_str().unwrap());
    let (address, offset, path) = code_of(of.pid);
    assert_eq!(asking.address(of, address), format!("{path}+{offset:#x}"));
}

#[test]
fn a_process_that_has_ended_and_another_with_its_pid_are_gone() {
    let mut asking = Asking::start();
    let target = Target::start(&["calls", "1", "1"]);
    let of = process(target.pid());
    assert!(asking.fd(of, 1).starts_with("pipe:["));
    target.end();
    assert_eq!(asking.fd(of, 2), "unknown: the process has ended");
    assert_eq!(asking.address(of, 4096), "unknown: the process has ended");
    // One with the same PID that has begun at another time.
    let earlier = Process { started_ticks: own().started_ticks - 1, ..own() };
    assert_eq!(asking.fd(earlier, 0), "unknown: the process has ended");
    assert_eq!(asking.address(earlier, code_of(own().pid).0), "unknown: the process has ended");
}

#[test]
fn it_keeps_one_capability_and_three_descriptors() {
    let asking = Asking::start();
    let status = asking.status();
    assert_eq!(
        capabilities(&status),
        [0, CAP_SYS_PTRACE, CAP_SYS_PTRACE, 0, 0],
        "inheritable, permitted, effective, bounding, ambient"
    );
    for line in [
        "Name:\tsyscost-names\n",
        "NoNewPrivs:\t1\n",
        "Seccomp:\t2\n",
        // Files as nobody, signals as root only.
        "Uid:\t0\t0\t0\t65534\n",
        "Gid:\t0\t0\t0\t65534\n",
        "Groups:\t \n",
        "Threads:\t1\n",
    ] {
        assert!(status.contains(line), "{line:?} in {status}");
    }
    let mut fds: Vec<(String, String)> = fs::read_dir(format!("/proc/{}/fd", asking.helper))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_link(path).unwrap().to_str().unwrap().to_owned())
        })
        .collect();
    fds.sort();
    let own_fds = format!("/proc/{}/fd", asking.helper);
    let expected = ["/proc", "/proc", "/proc", "socket", "/proc", &own_fds];
    assert_eq!(fds.len(), expected.len(), "{fds:?}");
    for (index, (expected, (name, link))) in expected.iter().zip(&fds).enumerate() {
        assert_eq!(name, &index.to_string());
        let is_as_expected = if index == 3 { link.starts_with(expected) } else { link == expected };
        assert!(is_as_expected, "{name} is {link}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", asking.helper)).unwrap();
    for (limit, value) in
        [("Max core file size", "0"), ("Max file size", "0"), ("Max open files", "16")]
    {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit));
        let values = line.map(|line| line.split_ascii_whitespace().take(2).collect::<Vec<_>>());
        assert_eq!(values, Some(vec![value; 2]), "{limit} in {limits}");
    }
}

#[test]
fn what_a_terminal_or_a_user_sends_does_not_end_it() {
    let mut asking = Asking::start();
    for signal in
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE]
    {
        kill(asking.helper, signal).unwrap();
    }
    let link = fs::read_link("/proc/self/fd/0").unwrap();
    assert_eq!(asking.fd(own(), 0), link.to_str().unwrap());
    let group = |pid: i32| nix::unistd::getpgid(Some(Pid::from_raw(pid))).unwrap();
    assert_ne!(group(asking.helper.as_raw()), group(asking.main.pid() as i32));
}

#[test]
fn it_ends_with_the_main_process_however_that_ends() {
    let mut killed = Asking::start();
    killed.main.kill();
    eventually("the helper has ended", || has_ended(killed.helper));
    let mut ended = Asking::start();
    ended.main.close_stdin();
    assert!(ended.main.wait().success());
    eventually("the helper has ended", || has_ended(ended.helper));
}

#[test]
fn the_main_process_goes_on_when_it_is_killed() {
    let mut asking = Asking::start();
    assert!(asking.fd(process(asking.main.pid()), 0).starts_with("pipe:["));
    kill(asking.helper, Signal::SIGKILL).unwrap();
    let helper = asking.helper;
    let ended = format!(
        "names of files and addresses are not looked up any more: the process that did it (pid {helper}) has \
         ended (killed by SIGKILL)"
    );
    assert_eq!(asking.ask("wait"), format!("{:?}", syscost::enrich::Turn::Ended(ended)));
    assert!(!Path::new(&format!("/proc/{helper}")).exists(), "it is waited for");
    assert_eq!(asking.fd(own(), 0), "unknown: the helper has ended");
    asking.main.close_stdin();
    assert!(asking.main.wait().success());
}

/// The main process's end of the socket, taken as a debugger might.
fn socket_of(pid: u32) -> OwnedFd {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_socket = |path: &Path| {
        fs::read_link(path)
            .is_ok_and(|link| link.to_str().is_some_and(|link| link.starts_with("socket:")))
    };
    let sockets = fds.map(|entry| entry.unwrap().path()).filter(|path| is_socket(path));
    let numbers =
        sockets.map(|path| path.file_name().unwrap().to_str().unwrap().parse::<i32>().unwrap());
    // SAFETY: takes integers.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(pidfd >= 0);
    // SAFETY: just opened, and nothing else closes it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as i32) };
    for number in numbers {
        // SAFETY: takes integers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
        assert!(fd >= 0);
        // SAFETY: as above.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        if rustix::net::sockopt::socket_type(&fd) == Ok(rustix::net::SocketType::SEQPACKET) {
            return fd;
        }
    }
    panic!("process {pid} has no such socket");
}

#[test]
fn bytes_that_are_no_question_end_it_in_good_order() {
    for packet in [&b"\x01"[..], &[0xff; 64], &[1; 65], &[0; 200_000]] {
        let mut asking = Asking::start();
        let socket = socket_of(asking.main.pid());
        // SAFETY: the buffer is as long as is said.
        let sent = unsafe {
            libc::send(socket.as_raw_fd(), packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL)
        };
        assert_eq!(sent, packet.len() as isize);
        let said = asking.ask("wait");
        assert!(said.contains("has ended (exit code 1)"), "{said}");
        assert_eq!(asking.fd(own(), 0), "unknown: the helper has ended");
    }
}

#[test]
fn check_tells_whether_names_can_be_had() {
    let report = run(crate::harness::syscost().arg("check"));
    assert_eq!(report.status.code(), Some(0), "{}", report.stdout);
    let names = |stdout: &str| {
        let line = stdout.lines().find(|line| line.contains("names ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no names in {stdout}"))
    };
    let line = names(&report.stdout);
    assert!(line.contains("ok") && line.contains("CAP_SYS_PTRACE"), "{line}");
    let everybodys = Everybodys::new();
    let report = run(everybodys.syscost(NOBODY, CAP_BPF | CAP_PERFMON).arg("check"));
    let line = names(&report.stdout);
    assert!(line.contains("note") && line.contains("needs CAP_SYS_PTRACE (try sudo)"), "{line}");
}

/// The arguments of the call `name` that a measurement found in flight.
fn arguments(measured: &Measured, name: &str) -> String {
    let calls = measured.0["in_flight"].as_array().expect("calls are listed");
    let call = calls.iter().find(|call| call["name"] == name);
    let call = call.unwrap_or_else(|| panic!("no {name} in {calls:?}"));
    call["arguments"].as_str().expect("text").to_owned()
}

/// Whether calls in flight are listed: it takes task storage, and Linux 5.15.
fn lists_calls() -> bool {
    let version = procfs::sys::kernel::Version::current().expect("it has a version");
    let lists = (version.major, version.minor) >= (5, 15) && !seeing_hooks().is_empty();
    if !lists {
        skipped("no calls in flight are listed");
    }
    lists
}

#[test]
fn calls_in_flight_say_what_their_descriptors_are() {
    if !lists_calls() {
        return;
    }
    let everybodys = Everybodys::new();
    // It waits for a line.
    let target = everybodys.target(SOMEBODY, &["calls", "1", "1"]);
    let pipe = fs::read_link(format!("/proc/{}/fd/0", target.pid())).unwrap();
    await_asleep_in(target.pid(), target.pid(), libc::SYS_read);
    let named = format!("0<{}>, 0x", pipe.to_str().unwrap());
    let measured = Stat::attach(target.pid(), &["--names", "-d", "100ms"]).finish();
    let text = arguments(&measured, "read");
    assert!(text.starts_with(&named), "{text} without {named}");
    let measured = Stat::attach(target.pid(), &["-d", "100ms"]).finish();
    let text = arguments(&measured, "read");
    assert!(text.starts_with("0, 0x"), "{text}");

    // In intervals: from the second one on, at the latest.
    let mut stat = Stat::attach(target.pid(), &["--names", "-i", "100ms"]);
    assert_nothing_left(stat.pid());
    eventually("it has the name", || arguments(&stat.interval(), "read").starts_with(&named));
    kill(stat.pid(), Signal::SIGINT).unwrap();
    assert!(stat.end().1.success());
}

#[test]
fn measuring_goes_on_when_the_helper_is_killed() {
    if !lists_calls() {
        return;
    }
    let mut target = Target::start(&["calls", "4", "10000"]);
    let pid = target.pid().to_string();
    let mut stat = attached_with_names(&mut crate::harness::syscost(), &pid);
    let children = format!("/proc/{0}/task/{0}/children", stat.pid());
    let children = fs::read_to_string(children).unwrap();
    let helper = Pid::from_raw(children.trim().parse().expect("it has one child"));
    assert_eq!(fs::read_to_string(format!("/proc/{helper}/comm")).unwrap(), "syscost-names\n");
    kill(helper, Signal::SIGKILL).unwrap();
    let line = stat.error_line("that names have ended").unwrap();
    let told = "syscost: names of files and addresses are not looked up any more: ";
    assert!(line.starts_with(told) && line.ends_with("(killed by SIGKILL)"), "{line}");
    target.work();
    kill(Pid::from_raw(stat.pid() as i32), Signal::SIGINT).unwrap();
    let measured = Measured::parse(&stat.rest());
    assert!(stat.wait().success());
    assert_eq!(stat.rest_of_errors(), "", "it is said once");
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), 40_000);
    // The target waits to be let go.
    let text = arguments(&measured, "read");
    assert!(text.starts_with("0, 0x"), "{text}");
}

#[test]
fn when_syscost_is_killed_the_helper_is_gone() {
    let target = Target::start(&["calls", "1", "1"]);
    let stat = Stat::attach(target.pid(), &["--names"]);
    let children = format!("/proc/{0}/task/{0}/children", stat.pid());
    let children = fs::read_to_string(children).unwrap();
    let helper = Pid::from_raw(children.trim().parse().expect("it has one child"));
    stat.kill();
    eventually("the helper has ended", || has_ended(helper));
}

#[test]
fn a_family_does_not_take_the_helper_in() {
    if !lists_calls() {
        return;
    }
    // A shell that measures itself and its children.
    let script = "exec 3>&1; \"$0\" stat --json --names -f -p $$ -d 300ms & wait";
    let program = env!("CARGO_BIN_EXE_syscost");
    let ended = run(Command::new("sh").args(["-c", script, program]));
    assert!(ended.status.success(), "{}", ended.stderr);
    let measured = Measured::parse(&ended.stdout);
    // Of the shell alone: the helper would wait in recvfrom.
    let calls = measured.0["in_flight"].as_array().unwrap();
    assert!(!calls.is_empty() && calls.iter().all(|call| call["comm"] == "sh"), "{calls:?}");
    assert_eq!(measured.count("pidfd_getfd"), 0);
}

#[test]
fn without_the_capability_it_is_said_and_measured_all_the_same() {
    let everybodys = Everybodys::new();
    let mut target = everybodys.target(NOBODY, &["calls", "1", "100"]);
    let mut command = everybodys.syscost(NOBODY, CAP_BPF | CAP_PERFMON);
    let pid = target.pid().to_string();
    let mut stat = attached_with_names(&mut command, &pid);
    let line = stat.error_line("why there are no names").unwrap();
    assert_eq!(line, "syscost: file descriptors have no names: needs CAP_SYS_PTRACE (try sudo)");
    target.work();
    target.end();
    let measured = Measured::parse(&stat.rest());
    assert!(stat.wait().success());
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), 100);
}
