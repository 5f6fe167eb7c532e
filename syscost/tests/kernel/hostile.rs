//! Processes and cgroups whose names are no text, or drive a terminal.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    process::{Command, Stdio},
};

use syscost::decode::printable::{external, printable};
use tempfile::TempDir;

use crate::harness::{Ended, Stat, Target, eventually, hooks, run, seeing_hooks, syscost};

/// What nobody should call a process; all fit into 15 bytes.
const NAMES: [&[u8]; 7] = [
    b"x\xff\xfe",
    b"\x1b]0;pwn\x07\x1b[31m",
    b"\xc2\x9b31m\xc2\x85",
    b"\xe2\x80\xaetxt\xef\xbb\xbf",
    b"a\nb\t\\x41",
    b") R 1 (Tgid:\t1",
    b"=1+1\"',;",
];

/// The target under another name.
struct Named {
    _folder: TempDir,
    program: PathBuf,
}

impl Named {
    fn new(name: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(OsStr::from_bytes(name));
        fs::copy(env!("CARGO_BIN_EXE_syscost-target"), &program).unwrap();
        Self { _folder: folder, program }
    }

    fn target(&self) -> Target {
        Target::start_by(&mut Command::new(&self.program), &["calls", "1", "1000"])
    }
}

fn assert_plain(ended: &Ended) {
    for line in ended.stdout.lines().chain(ended.stderr.lines()) {
        assert_eq!(printable(line), line);
    }
    assert!(ended.stderr.lines().count() <= 2, "{}", ended.stderr);
}

#[test]
fn every_process_can_be_measured_whatever_its_name() {
    for name in NAMES {
        let shown = external(name);
        for hooks in hooks() {
            let named = Named::new(name);
            let mut target = named.target();
            let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
            target.work();
            let measured = stat.stop();
            measured.assert_exact();
            assert_eq!(measured.count("getppid"), 1_000, "{shown}, {hooks}");
            assert_eq!(measured.0["target"]["name"], shown.as_str());
            assert_eq!(measured.0["comm"], shown.as_str());
        }
    }
}

#[test]
fn groups_are_called_what_their_processes_are() {
    for hooks in seeing_hooks() {
        for name in [NAMES[0], NAMES[1], NAMES[6]] {
            let named = Named::new(name);
            let mut target = named.target();
            let by_comm = ["--by", "comm", "--hooks", &hooks];
            let stat = Stat::attach(target.pid(), &by_comm);
            target.work();
            let measured = stat.stop();
            assert_eq!(measured.0["groups"][0]["comm"], external(name).as_str());

            let pid = target.pid().to_string();
            for form in [&["--csv"][..], &[]] {
                let ended = run(syscost()
                    .args(["stat", "-d", "10ms", "-p", &pid])
                    .args(by_comm)
                    .args(form));
                assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
                assert_plain(&ended);
            }
        }
    }
}

#[test]
fn errors_are_a_line_of_plain_text_whatever_they_are_about() {
    for name in NAMES {
        let named = Named::new(name);
        // Nobody waits for it.
        let mut zombie = Command::new(&named.program)
            .arg("dumpable")
            .stdout(Stdio::null())
            .spawn()
            .expect("the target starts");
        let pid = zombie.id().to_string();
        let path = format!("/proc/{pid}/status");
        eventually("it is a zombie", || {
            let status = fs::read(&path).unwrap();
            status.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"State:\tZ"))
        });
        let ended = run(syscost().args(["stat", "-d", "10ms", "-p", &pid]));
        zombie.wait().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains(&format!("({}) is a zombie", external(name))));
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_plain(&ended);

        let target = named.target();
        let tids = fs::read_dir(format!("/proc/{}/task", target.pid())).unwrap();
        let tid = tids
            .map(|task| task.unwrap().file_name().into_string().unwrap())
            .find(|tid| *tid != target.pid().to_string())
            .expect("a worker");
        let ended = run(syscost().args(["stat", "-d", "10ms", "-p", &tid]));
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("is a thread of process"), "{}", ended.stderr);
        assert_plain(&ended);
    }
}

#[test]
fn what_the_user_types_is_repeated_as_plain_text() {
    let odd = |text: &[u8]| OsString::from_vec(text.to_owned());
    let target = Target::start(&["calls", "1", "1"]);
    let pid = OsString::from(target.pid().to_string());
    let word = |text: &str| OsString::from(text);
    for args in [
        vec![word("--cgroup"), odd(b"a\nb\xff")],
        vec![word("--container"), odd(b"a\nb\x1b[2J")],
        vec![word("--uid"), odd(b"a\x1b[2J\nb")],
        vec![word("-p"), pid, word("-o"), odd(b"/none/\x1b[31m\n")],
        vec![word("--"), odd(b"\x1b[2J\n\xff")],
        vec![word("--comm"), odd(b"\xff\x1b[2J")],
    ] {
        let ended = run(syscost().args(["stat", "-d", "10ms"]).args(&args));
        assert_ne!(ended.status.code(), Some(0), "{args:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{args:?}: {}", ended.stderr);
        assert_plain(&ended);
    }
}
