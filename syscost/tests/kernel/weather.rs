//! Bad input and bad weather: one clear line, the right exit code, and a clean kernel.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::{Signal, kill};

use crate::harness::{
    Ended, Stat, Target, eventually, hooks, loaded_programs, measure, programs_with, run, syscost,
};

/// It failed with `code` and exactly one line, which contains all of `words`.
fn assert_one_line(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("syscost: "), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} in {}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
}

fn stat_of(pid: &str) -> Ended {
    run(syscost().args(["stat", "-d", "1", "-p", pid]))
}

#[test]
fn no_such_process() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let pid = child.id().to_string();
    assert_one_line(&stat_of(&pid), 1, &["no process", &pid]);
}

#[test]
fn a_kernel_thread() {
    assert_one_line(&stat_of("2"), 1, &["kthreadd", "kernel thread", "no system calls"]);
}

#[test]
fn a_zombie() {
    let mut target = Target::spawn(&["zombie"]);
    let pid = target.line();
    assert_one_line(&stat_of(&pid), 1, &["zombie", &target.pid().to_string()]);
}

#[test]
fn a_thread_stands_for_its_process() {
    let mut target = Target::start(&["calls", "3", "100"]);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", target.pid())).unwrap();
    let tid = tasks
        .map(|task| task.unwrap().file_name().into_string().unwrap())
        .find(|tid| *tid != target.pid().to_string())
        .unwrap();
    let stat = Stat::attach(tid.parse().unwrap(), &[]);
    target.work();
    target.end();
    let measured = stat.finish();
    assert_eq!(measured.count("getppid"), 300);
}

#[test]
fn no_privileges() {
    let target = Target::start(&["calls", "1", "1"]);
    let mut command = syscost();
    command.args(["stat", "-d", "1", "-p", &target.pid().to_string()]);
    assert_one_line(
        &run(without_capabilities(&mut command)),
        1,
        &["CAP_BPF", "CAP_PERFMON", "sudo"],
    );
    let report = run(without_capabilities(syscost().arg("check")));
    assert_eq!(report.status.code(), Some(1));
    assert!(report.stdout.contains("FAIL  privileges"), "{}", report.stdout);
}

/// Lets a command start as root without any of root's powers.
fn without_capabilities(command: &mut Command) -> &mut Command {
    // SAFETY: only system calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            for capability in 0..64 {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            Ok(())
        })
    }
}

#[test]
fn an_output_file_that_cannot_be_written() {
    let target = Target::start(&["calls", "1", "1"]);
    let ended = run(syscost()
        .args(["stat", "-d", "1", "-o", "/nonexistent/out.json", "-p"])
        .arg(target.pid().to_string()));
    assert_one_line(&ended, 1, &["/nonexistent/out.json", "No such file"]);
}

#[test]
fn an_output_file_gets_what_stdout_would() {
    let mut target = Target::start(&["calls", "1", "100"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.json");
    let stat = Stat::attach(target.pid(), &["-o", file.to_str().unwrap()]);
    target.work();
    target.end();
    // Nothing on stdout; once it has ended, the file is whole.
    assert_eq!(stat.finish_intervals().len(), 0);
    let text = std::fs::read_to_string(file).unwrap();
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["schema"], "syscost.stat/1");
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let target = Target::start(&["busy"]);
    let mut child = syscost()
        .args(["stat", "--json", "-i", "10ms", "-p", &target.pid().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The pipe is closed now.
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(!said.contains("panic") && !said.contains("pipe"), "{said}");
}

#[test]
fn a_missing_terminal() {
    let target = Target::start(&["busy"]);
    let ended = run(syscost().args(["-p", &target.pid().to_string()]));
    assert_one_line(&ended, 2, &["terminal", "syscost stat"]);
}

#[test]
fn a_kernel_without_btf() {
    let measured = measure(&["calls", "4", "1000"], "raw");
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), 4_000);
    let report = run(syscost().args(["check", "--hooks", "raw"]));
    assert_eq!(report.status.code(), Some(0), "{}", report.stdout);
    assert!(report.stdout.contains("raw tracepoints"), "{}", report.stdout);
}

#[test]
fn check_says_that_tracing_works() {
    let report = run(syscost().arg("check"));
    assert_eq!(report.status.code(), Some(0), "{}", report.stdout);
    for word in ["kernel", "BTF", "BPF JIT", "privileges", "100 of 100 calls", "io_uring"] {
        assert!(report.stdout.contains(word), "{word:?} in {}", report.stdout);
    }
    let json = run(syscost().args(["check", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["works"], true);
}

#[test]
fn calibrating_measures_all_there_is_and_keeps_it() {
    let kept = Path::new("/run/syscost/calibration.json");
    let _ = std::fs::remove_file(kept);
    let ended = run(syscost().args(["calibrate", "--json"]));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let value: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let positive = |value: &serde_json::Value| value["median"].as_f64().unwrap() > 0.0;
    let direct = &value["direct"];
    for figure in ["syscall_ns", "clock_syscall_ns", "clock_vdso_ns"] {
        assert!(positive(&direct[figure]), "{figure}: {direct}");
    }
    assert_eq!(direct["tax"]["because"], serde_json::Value::Null);
    assert!(direct["tax"]["bystander_ns"].is_object());
    let sets = value["indirect"].as_array().unwrap();
    let sizes: Vec<_> = sets.iter().map(|set| set["working_set_bytes"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [8 << 10, 24 << 10, 128 << 10, 512 << 10]);
    for set in sets {
        assert!(positive(&set["alone_ns"]));
        assert_eq!(set["after"].as_array().unwrap().len(), 4);
    }
    // Either there are counters, or it is said why not.
    let counted = value["counters"]["user_ipc"].as_array().unwrap().len();
    assert_eq!(counted, if value["counters"]["because"].is_null() { 5 } else { 0 });
    let text = std::fs::read_to_string(kept).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(kept["calibration"]["direct"], *direct);
    eventually("its programs are gone", || loaded_programs() == 0);
}

#[test]
fn however_it_ends_no_program_stays_attached() {
    eventually("what ran before is gone", || loaded_programs() == 0);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let target = Target::start(&["busy"]);
        let stat = Stat::attach(target.pid(), &[]);
        assert_eq!(loaded_programs(), programs_with(&hooks()[0]));
        kill(stat.pid(), signal).unwrap();
        if signal == Signal::SIGKILL {
            stat.kill();
        } else {
            // In good order: the numbers are printed and the exit code is 0.
            assert!(stat.finish().count("getppid") > 0);
        }
        eventually("all programs are gone", || loaded_programs() == 0);
    }
}
