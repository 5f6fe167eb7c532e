//! Where the numbers go: files, intervals, and readers that are slow, full or gone.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{ExitStatus, Stdio},
};

use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    harness::{Measured, Stat, Target, await_unloaded, eventually, programs_of, run, syscost},
    running::{Running, status},
};

#[test]
fn a_target_that_is_not_there_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("yesterday.json");
    std::fs::write(&path, "keep").unwrap();
    let path = path.to_str().unwrap();
    for target in [&["-p", "999999999"][..], &["--", "syscost-no-such-command"]] {
        let ended = run(syscost().args(["stat", "--json", "-o", path]).args(target));
        assert!(!ended.status.success(), "{}", ended.stderr);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "keep", "{target:?}");
    }
    let ended = run(syscost().args(["stat", "--json", "-o", path, "-d", "10ms", "-a"]));
    assert!(ended.status.success(), "{}", ended.stderr);
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written.starts_with("{\"schema\""), "{written}");
}

/// Intervals that are no whole number of seconds: each is as long as it was asked for.
/// Nobody has asked for an end in good order; what was measured is told all the same.
#[test]
fn a_signal_that_would_kill_it_ends_the_measurement() {
    let mut target = Target::start(&["calls", "1", "100"]);
    let mut stat = Stat::attach(target.pid(), &[]);
    target.work();
    kill(stat.pid(), Signal::SIGUSR1).unwrap();
    let (text, status) = stat.end();
    assert_eq!(status.code(), Some(128 + Signal::SIGUSR1 as i32));
    assert_eq!(Measured::parse(text.trim_end()).count("getppid"), 100);
    target.end();
}

/// Measuring what the programs cost takes twice as long as that.
#[test]
fn a_window_that_is_shorter_than_measuring_the_cost_takes_goes_without_it() {
    let target = Target::start(&["calls", "1", "1"]);
    let cost = |duration: &str| {
        let measured = Stat::attach(target.pid(), &["-d", duration]).finish();
        measured.0["probe"]["run_pct"].clone()
    };
    assert!(cost("10ms").is_null());
    assert!(cost("100ms").is_number());
}

#[test]
fn an_interval_and_a_half_second_is_not_rounded() {
    let target = Target::start(&["busy"]);
    let stat = Stat::attach(target.pid(), &["-i", "1500ms", "-d", "4500ms"]);
    let windows = stat.finish_intervals();
    let ns: Vec<u64> = windows.iter().map(|one| one.0["window_ns"].as_u64().unwrap()).collect();
    assert_eq!(ns.len(), 3, "{ns:?}");
    // The clock cannot break this: none begins before the one before it has ended.
    assert!(ns.iter().sum::<u64>() >= 4_500_000_000, "{ns:?}");
}

/// What none of them may exit with: a panic's code, or a signal's.
fn assert_documented(ended: ExitStatus, what: &str) {
    assert!(matches!(ended.code(), Some(0..=2)), "{what}: {ended}");
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe that programs which other tests start at this moment do not inherit.
fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap()
}

/// A pipe that nobody reads from.
fn closed() -> Stdio {
    let (read, write) = pipe();
    drop(read);
    write.into()
}

#[test]
fn no_command_panics_where_nothing_can_be_written() {
    let commands = [
        &["--help"][..],
        &["--version"],
        &["stat", "--help"],
        &["check"],
        &["check", "--json"],
        &["demo", "--seconds", "10ms"],
        &["stat", "-a", "-d", "20ms"],
        &["stat", "-a", "-d", "50ms", "-i", "10ms", "--json"],
        &["stat", "-p", "999999999"],
        &["stat"],
        &["top", "-a"],
        &["no-such-command"],
    ];
    for args in commands {
        for sink in [full, closed] {
            let mut command = syscost();
            let command = command.args(args).stdin(Stdio::null()).stdout(sink()).stderr(sink());
            assert_documented(status(command), &args.join(" "));
        }
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_unless_its_reader_went_away() {
    let commands = [
        &["--version"][..],
        &["--help"],
        &["check"],
        &["demo", "--seconds", "10ms"],
        &["stat", "-a", "-d", "20ms"],
    ];
    for args in commands {
        for (sink, code) in [(full as fn() -> Stdio, 1), (closed, 0)] {
            let mut command = syscost();
            command.args(args).stdin(Stdio::null()).stdout(sink()).stderr(Stdio::piped());
            let mut running = Running::start(&mut command);
            let (status, stderr) = (running.wait(), running.rest_of_errors());
            assert_eq!(status.code(), Some(code), "{args:?}: {stderr}");
            assert_eq!(stderr.contains("cannot write the output"), code == 1, "{stderr}");
        }
        let mut command = syscost();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: only a system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::close(libc::STDOUT_FILENO);
                Ok(())
            });
        }
        let mut running = Running::start(&mut command);
        let (status, stderr) = (running.wait(), running.rest_of_errors());
        assert_eq!(status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write the output: Bad file descriptor"), "{stderr}");
    }
}

#[test]
fn a_command_runs_and_its_status_is_passed_on_where_stderr_takes_nothing() {
    for sink in [full, closed] {
        let mut command = syscost();
        command.args(["stat", "--", "sh", "-c", "exit 7"]).stdin(Stdio::null());
        let status = status(command.stdout(Stdio::null()).stderr(sink()));
        assert_eq!(status.code(), Some(7));
    }
}

/// A measurement of the whole host whose output is not read.
fn unread(args: &[&str]) -> (Running, File) {
    let (read, write) = pipe();
    // A page, so that it is full soon, also on a slow machine.
    nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut command = syscost();
    command.args(["stat", "-a", "-i", "10ms", "--json"]).args(args);
    command.stdin(Stdio::null()).stdout(write).stderr(Stdio::piped());
    let running = Running::start(&mut command);
    // Ours of its end.
    drop(command);
    let read = File::from(read);
    eventually("the pipe is full", || {
        let mut waiting: libc::c_int = 0;
        // SAFETY: the kernel writes one integer to the place given.
        unsafe { libc::ioctl(read.as_raw_fd(), libc::FIONREAD, &raw mut waiting) };
        waiting >= 4_000
    });
    (running, read)
}

#[test]
fn a_reader_that_does_not_read_keeps_no_signal_from_ending_it() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (mut running, read) = unread(&[]);
        let pid = Pid::from_raw(running.pid() as i32);
        let programs = programs_of(pid);
        kill(pid, signal).unwrap();
        // Nobody pays while the reader is waited for.
        await_unloaded(&programs);
        let (status, notes) = (running.wait(), running.rest_of_errors());
        assert_eq!(status.code(), Some(1), "{signal}: {notes}");
        assert!(notes.contains("is not being read"), "{notes}");
        drop(read);
    }
}

#[test]
fn a_reader_that_is_late_gets_every_call_in_longer_intervals() {
    let (mut running, read) = unread(&["-d", "1500ms"]);
    let lines: Vec<_> = BufReader::new(read).lines().map(Result::unwrap).collect();
    assert!(running.wait().success());
    let windows = lines.iter().map(|line| Measured(serde_json::from_str(line).expect("JSON")));
    let windows: Vec<_> = windows.collect();
    let ns = |one: &Measured, field: &str| one.0[field].as_u64().unwrap();
    let sum: u64 = windows.iter().map(|one| ns(one, "window_ns")).sum();
    let last = windows.last().unwrap();
    assert_eq!(sum, ns(last, "attached_ns"), "the windows follow one another");
    let calls = |one: &Measured| one.rows().map(|row| row["count"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(windows.iter().map(calls).sum::<u64>(), last.ledger("matched"));
}

#[test]
fn a_file_that_becomes_too_large_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let script = "ulimit -f 1; exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_syscost"),
        "stat",
        "-a",
        "-i",
        "10ms",
        "--json",
    ]);
    let ended = run(command.arg("-o").arg(&path));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("File too large"), "{}", ended.stderr);
}

#[test]
fn a_full_disk_is_told_while_the_command_runs() {
    let mut command = syscost();
    command.args(["stat", "-i", "10ms", "--", "sh", "-c", "read line; exit 7"]);
    command.stdin(Stdio::piped()).stdout(full()).stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    let awaited = "\"cannot write the output\"";
    let notes = std::iter::from_fn(|| running.error_line(awaited));
    let said = notes.into_iter().find(|line| line.contains("cannot write the output"));
    assert!(said.expect(awaited).contains("No space left"));
    assert!(!running.has_ended(), "the command runs");
    running.write("go on\n");
    assert_eq!(running.wait().code(), Some(7), "the command's own");
    // Where the command has nothing to say, that is.
    let mut command = syscost();
    command.args(["stat", "--", "true"]).stdin(Stdio::null()).stdout(full()).stderr(Stdio::null());
    assert_eq!(status(&mut command).code(), Some(1));
}

/// As the caller had it: what is ignored, and what is blocked.
#[test]
fn a_command_finds_the_signals_as_its_caller_left_them() {
    let status = "grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let syscost = env!("CARGO_BIN_EXE_syscost");
    for trap in ["", "trap '' PIPE;", "trap '' XFSZ HUP;", "trap '' INT TERM QUIT TSTP;"] {
        let of = |what: &str| {
            let ended =
                run(std::process::Command::new("sh").args(["-c", &format!("{trap} {what}")]));
            ended
                .stdout
                .lines()
                .filter(|line| line.starts_with("Sig"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let expected = of(status);
        assert!(expected.contains("SigIgn"), "{expected}");
        assert_eq!(of(&format!("{syscost} stat -o /dev/null -- {status}")), expected, "{trap}");
    }
}
