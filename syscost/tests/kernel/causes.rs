//! Errors name the true cause.

use std::{os::unix::process::CommandExt, process::Command};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::resource::{Resource, setrlimit},
};

use crate::harness::{Target, run, syscost};

fn assert_told(command: &mut Command, words: &[&str]) {
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} in {}", ended.stderr);
    }
}

fn before_exec(act: impl Fn() -> std::io::Result<()> + Send + Sync + 'static) -> Command {
    let mut command = syscost();
    // SAFETY: only system calls between fork and exec.
    unsafe { command.pre_exec(act) };
    command
}

fn private_mounts() -> nix::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
}

#[test]
fn too_few_files() {
    let target = Target::start(&["calls", "1", "1"]);
    let pid = target.pid().to_string();
    for limit in [16, 32, 48] {
        let mut command =
            before_exec(move || Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?));
        assert_told(command.args(["stat", "-d", "10ms", "-p", &pid]), &["ulimit -n"]);
    }
    // One that can be raised is.
    let mut command = before_exec(|| Ok(setrlimit(Resource::RLIMIT_NOFILE, 16, 1024)?));
    let ended = run(command.args(["stat", "-d", "10ms", "-p", &pid]));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn too_small_a_stack() {
    let small = 64 * 1024;
    let target = Target::start(&["calls", "1", "1"]);
    let mut command = before_exec(move || Ok(setrlimit(Resource::RLIMIT_STACK, small, small)?));
    let pid = target.pid().to_string();
    assert_told(command.args(["stat", "-d", "10ms", "-p", &pid]), &["64 KiB", "ulimit -s"]);
    // One that can be raised is, but not for a command.
    let mut command = before_exec(move || Ok(setrlimit(Resource::RLIMIT_STACK, small, 1 << 30)?));
    let file = std::env::temp_dir().join(format!("syscost-stack-{}", std::process::id()));
    command.args(["stat", "-o"]).arg(&file).args(["--", "sh", "-c", "ulimit -s"]);
    let ended = run(&mut command);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "64\n");
    std::fs::remove_file(&file).expect("it was written");
}

#[test]
fn no_proc() {
    let mut command = before_exec(|| {
        private_mounts()?;
        Ok(umount2("/proc", MntFlags::MNT_DETACH)?)
    });
    assert_told(command.args(["stat", "-d", "10ms", "-p", "1"]), &["/proc is not mounted"]);
}

#[test]
fn root_of_a_user_namespace() {
    let target = Target::start(&["calls", "1", "1"]);
    let pid = target.pid().to_string();
    let inside = |args: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Ur", "--", env!("CARGO_BIN_EXE_syscost")]).args(args.split(' '));
        command
    };
    assert_told(&mut inside(&format!("stat -d 10ms -p {pid}")), &["user namespace"]);
    let report = run(&mut inside("check"));
    assert_eq!(report.status.code(), Some(1), "{}", report.stdout);
    let line = report.stdout.lines().find(|line| line.contains("privileges")).unwrap();
    assert!(line.starts_with("FAIL") && line.contains("user namespace"), "{line}");
}

#[test]
fn the_hosts_proc_in_a_pid_namespace() {
    let mut command = Command::new("unshare");
    command.args(["-pf", "--", env!("CARGO_BIN_EXE_syscost")]);
    let command = command.args(["stat", "--", "sh", "-c", "exit 3"]);
    assert_told(command, &["/proc is that of another PID namespace"]);
}
