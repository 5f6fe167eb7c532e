//! As few privileges as possible: two capabilities suffice to begin with, none is left after that,
//! and what is created belongs to who asked.

use std::{
    fs,
    io::Read,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
    unistd::mkfifo,
};
use tempfile::TempDir;

use crate::harness::{
    Stat, Target, assert_nothing_left, await_unloaded, capabilities, hooks, programs_of,
    programs_with, run, syscost,
};
use crate::users::{CAP_BPF, CAP_PERFMON, Everybodys, become_user};

pub(crate) const NOBODY: u32 = 65_534;
const SOMEBODY: u32 = 65_533;

#[test]
fn cap_bpf_and_cap_perfmon_are_enough() {
    let two = CAP_BPF | CAP_PERFMON;
    let everybodys = Everybodys::new();
    let mut cat = Command::new("cat");
    become_user(cat.arg("/proc/self/status"), NOBODY, two);
    let status = run(&mut cat).stdout;
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{status}");
    assert_eq!(capabilities(&status), [two; 5], "inheritable to ambient");

    // What perf's tracepoints are called is root's to know.
    for hooks in hooks().into_iter().filter(|hooks| hooks != "perf") {
        // Its own process, another user's, and root's.
        for uid in [NOBODY, SOMEBODY, 0] {
            let mut target = everybodys.target(uid, &["calls", "4", "10000"]);
            let mut syscost = everybodys.syscost(NOBODY, two);
            let stat = Stat::attach_by(&mut syscost, target.pid(), &["--hooks", &hooks]);
            assert_nothing_left(stat.pid());
            let programs = programs_of(stat.pid());
            target.work();
            let measured = stat.stop();
            measured.assert_exact();
            assert_eq!(measured.count("getppid"), 40_000, "{hooks}, process of {uid}");
            assert_eq!(measured.errors("getpgid"), 4_000);
            assert_eq!(measured.misses().unwrap_or(0), 0);
            assert_eq!(measured.0["threads"], 1, "the workers are done");
            await_unloaded(&programs);
        }
        let report = run(everybodys.syscost(NOBODY, two).args(["check", "--hooks", &hooks]));
        assert_eq!(report.status.code(), Some(0), "{}", report.stdout);
        for words in ["CAP_BPF and CAP_PERFMON", "100 of 100 calls", "other users"] {
            assert!(report.stdout.contains(words), "{words:?} in {}", report.stdout);
        }
    }
}

#[test]
fn diagnostics_need_no_more_than_that() {
    let everybodys = Everybodys::new();
    let mut target = everybodys.target(NOBODY, &["calls", "4", "1000"]);
    let mut syscost = everybodys.syscost(NOBODY, CAP_BPF | CAP_PERFMON);
    let stat = Stat::attach_by(&mut syscost, target.pid(), &["--verbose"]);
    target.work();
    target.end();
    let measured = stat.finish();
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), 4_000);
}

#[test]
fn one_of_the_two_is_not_enough() {
    let everybodys = Everybodys::new();
    let target = everybodys.target(NOBODY, &["calls", "1", "1"]);
    for capability in [CAP_BPF, CAP_PERFMON] {
        let ended = run(everybodys.syscost(NOBODY, capability).args([
            "stat",
            "-d",
            "1",
            "-p",
            &target.pid().to_string(),
        ]));
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains("needs CAP_BPF and CAP_PERFMON"), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn root_keeps_nothing_and_goes_on_counting() {
    for hooks in hooks() {
        let mut target = Target::start(&["calls", "4", "10000"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        let status = assert_nothing_left(stat.pid());
        let [.., bounding, _] = capabilities(&status);
        assert_eq!(bounding, 0, "nor anything to get back");
        let programs = programs_of(stat.pid());
        assert_eq!(programs.len(), programs_with(&hooks));
        target.work();
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 40_000, "{hooks}");
        assert_eq!(measured.0["in_flight"].is_array(), hooks != "raw", "listed without any power");
        // Read from the kernel at the end, long after.
        assert_eq!(measured.misses().unwrap_or(0), 0);
        assert_eq!(measured.0["threads"], 1);
        await_unloaded(&programs);
    }
}

/// Gives a command a /proc of its own that shows nobody what he could not trace.
fn hide_processes(command: &mut Command) {
    // SAFETY: only system calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let none = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            // "ptraceable", which unlike the others makes no exception for root's group.
            mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some("hidepid=4"))?;
            Ok(())
        });
    }
}

#[test]
fn a_process_that_proc_hides_stays_visible_without_capabilities() {
    let everybodys = Everybodys::new();
    let mut target = everybodys.target(NOBODY, &["calls", "4", "100"]);
    let mut syscost = everybodys.own_syscost();
    hide_processes(&mut syscost);
    let stat = Stat::attach_by(&mut syscost, target.pid(), &[]);
    assert_nothing_left(stat.pid());
    target.work();
    let measured = stat.stop();
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), 400);
    assert_eq!(measured.0["threads"], 1, "what /proc says of it now");
}

#[test]
fn a_process_that_proc_hides_takes_another_capability_and_that_is_said() {
    let two = CAP_BPF | CAP_PERFMON;
    let everybodys = Everybodys::new();
    let target = everybodys.target(SOMEBODY, &["calls", "1", "1"]);
    // The mount comes first: it takes what is given up then.
    let hidden = || {
        let mut command = everybodys.own_syscost();
        hide_processes(&mut command);
        become_user(&mut command, NOBODY, two);
        command
    };
    let pid = target.pid().to_string();
    let ended = run(hidden().args(["stat", "-d", "1", "-p", &pid]));
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for words in ["cannot see process", &pid, "hidepid", "CAP_SYS_PTRACE"] {
        assert!(ended.stderr.contains(words), "{words:?} in {}", ended.stderr);
    }
    let report = run(hidden().arg("check"));
    assert_eq!(report.status.code(), Some(0), "{}", report.stdout);
    let line = report.stdout.lines().find(|line| line.contains("other users")).unwrap();
    for words in ["note", "hidepid=", "CAP_SYS_PTRACE"] {
        assert!(line.contains(words), "{words:?} in {line}");
    }
    // Its own it sees.
    let mut target = everybodys.target(NOBODY, &["calls", "1", "100"]);
    let stat = Stat::attach_by(&mut hidden(), target.pid(), &[]);
    target.work();
    assert_eq!(stat.stop().count("getppid"), 100);
}

/// Where a test writes, and the process that is measured for it.
struct Writing {
    folder: TempDir,
    target: Target,
}

impl Writing {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, target: Target::start(&["calls", "1", "1"]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `syscost stat -o PATH`, with these in the environment; returns what it printed.
    fn write(&self, path: &Path, env: &[(&str, &str)]) -> String {
        let mut command = syscost();
        command.args(["stat", "--json", "-d", "10ms", "-p", &self.target.pid().to_string()]);
        // The tests themselves may have been started through sudo.
        command.env_remove("SUDO_UID").env_remove("SUDO_GID");
        let ended = run(command.arg("-o").arg(path).envs(env.iter().copied()));
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "attached, and no more: {}", ended.stderr);
        ended.stdout
    }
}

const SUDO: [(&str, &str); 2] = [("SUDO_UID", "1234"), ("SUDO_GID", "2345")];

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

fn assert_written(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with("{\"schema\"") && text.lines().count() == 1, "{text}");
}

#[test]
fn a_new_file_belongs_to_who_called_sudo() {
    let writing = Writing::new();
    let path = writing.path("out");
    writing.write(&path, &SUDO);
    assert_eq!(owner(&path), (1234, 2345));
    assert_written(&path);
}

#[test]
fn a_new_file_takes_the_group_that_its_folder_gives() {
    let writing = Writing::new();
    chown(writing.folder.path(), Some(1234), Some(777)).unwrap();
    fs::set_permissions(writing.folder.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    let path = writing.path("out");
    writing.write(&path, &SUDO);
    assert_eq!(owner(&path), (1234, 777));
}

#[test]
fn a_file_that_was_there_keeps_its_owner() {
    let writing = Writing::new();
    let path = writing.path("out");
    fs::write(&path, "old\n".repeat(10_000)).unwrap();
    for (uid, gid) in [(0, 0), (4321, 5432)] {
        chown(&path, Some(uid), Some(gid)).unwrap();
        writing.write(&path, &SUDO);
        assert_eq!(owner(&path), (uid, gid));
        assert_written(&path);
    }
    // By another name as well.
    let link = writing.path("link");
    symlink(&path, &link).unwrap();
    writing.write(&link, &SUDO);
    assert_eq!(owner(&path), (4321, 5432));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_written(&path);
}

#[test]
fn without_sudo_and_with_rubbish_in_its_place_a_new_file_is_roots() {
    let writing = Writing::new();
    let rubbish = |uid, gid| vec![("SUDO_UID", uid), ("SUDO_GID", gid)];
    for (index, env) in [
        vec![],
        vec![("SUDO_UID", "1234")],
        vec![("SUDO_GID", "2345")],
        rubbish("", ""),
        rubbish("1234", "staff"),
        rubbish("-1", "2345"),
        rubbish("4294967295", "2345"),
        rubbish("1234; id", "2345"),
    ]
    .iter()
    .enumerate()
    {
        let path = writing.path(&index.to_string());
        writing.write(&path, env);
        assert_eq!(owner(&path), (0, 0), "{env:?}");
        assert_written(&path);
    }
}

#[test]
fn what_is_no_file_is_written_to_and_left_as_it_is() {
    let writing = Writing::new();
    let device = Path::new("/dev/null");
    let before = owner(device);
    assert_eq!(writing.write(device, &SUDO), "");
    assert_eq!(owner(device), before);
    assert!(fs::metadata(device).unwrap().file_type().is_char_device());

    let printed = writing.write(Path::new("/dev/stdout"), &SUDO);
    assert!(printed.starts_with("{\"schema\""), "{printed}");

    let pipe = writing.path("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let reader = {
        let pipe = pipe.clone();
        thread::spawn(move || {
            let mut text = String::new();
            fs::File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
            text
        })
    };
    writing.write(&pipe, &SUDO);
    assert!(reader.join().unwrap().starts_with("{\"schema\""));
    assert_eq!(owner(&pipe), (0, 0));
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
}
