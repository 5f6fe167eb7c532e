//! Bad input and bad weather: one clear line, the right exit code, and a clean kernel.

use std::{
    collections::BTreeSet,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    harness::{
        CALIBRATION, Ended, Stat, Target, await_unloaded, eventually, hooks, measure, programs_of,
        programs_with, run, syscost,
    },
    running::Running,
    threads::{state, threads},
    users::Everybodys,
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
    let mut child = Running::start(&mut Command::new("true"));
    child.wait();
    let pid = child.pid().to_string();
    assert_one_line(&stat_of(&pid), 1, &["no process", &pid]);
}

#[test]
fn no_such_thread() {
    let mut child = Running::start(&mut Command::new("true"));
    child.wait();
    let tid = child.pid().to_string();
    let ended = run(syscost().args(["stat", "-d", "1", "-t", &tid]));
    assert_one_line(&ended, 1, &["no thread", &tid, "TID"]);
}

#[test]
fn no_such_command() {
    assert_one_line(&run(syscost().args(["stat", "--", "/tmp"])), 126, &["/tmp", "directory"]);
    let by_path = run(syscost().args(["stat", "--", "/nonexistent/command"]));
    assert_one_line(&by_path, 127, &["/nonexistent/command", "no such file"]);
    let by_name = run(syscost().args(["stat", "--", "nonexistent-command"]));
    assert_one_line(&by_name, 127, &["nonexistent-command", "PATH"]);
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
    let tid = threads(target.pid()).into_iter().find(|tid| *tid != target.pid()).unwrap();
    let stat = Stat::attach(tid, &[]);
    target.work();
    target.end();
    let measured = stat.finish();
    assert_eq!(measured.count("getppid"), 300);
}

#[test]
fn no_privileges() {
    let target = Target::start(&["calls", "1", "1"]);
    let everybodys = Everybodys::new();
    let mut command = everybodys.own_syscost();
    command.args(["stat", "-d", "1", "-p", &target.pid().to_string()]);
    assert_one_line(
        &run(without_capabilities(&mut command)),
        1,
        &["CAP_BPF", "CAP_PERFMON", "sudo"],
    );
    let report = run(without_capabilities(everybodys.own_syscost().arg("check")));
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
    let mut stat = Running::start(
        syscost()
            .args(["stat", "--json", "-i", "10ms", "-p", &target.pid().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    stat.line("the first interval").unwrap();
    stat.close_stdout();
    let said = stat.rest_of_errors();
    assert_eq!(stat.wait().code(), Some(0), "{said}");
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
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("new/calibration.json");
    let mut calibrate = Running::start(
        syscost()
            .args(["calibrate", "--json"])
            .env(CALIBRATION.0, &kept)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut programs = BTreeSet::new();
    while !calibrate.has_ended() {
        programs.extend(programs_of(Pid::from_raw(calibrate.pid() as i32)));
        std::thread::sleep(Duration::from_millis(10));
    }
    let (status, said) = (calibrate.wait(), calibrate.rest_of_errors());
    let value: serde_json::Value = serde_json::from_str(&calibrate.rest()).unwrap();
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
        let after = set["after"].as_array().unwrap();
        assert_eq!(after.len(), 4);
        // None of them is a cost below 0.
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let error_ns = number(&set["error_ns"]);
        assert!(error_ns >= number(&set["control_ns"]["median"]).abs(), "{set}");
        assert!(
            after.iter().all(|after| number(&after["added_ns"]["median"]) >= -error_ns),
            "{set}"
        );
    }
    // Either there are counters, or it is said why not.
    let counted = value["counters"]["user_ipc"].as_array().unwrap().len();
    assert_eq!(counted, if value["counters"]["because"].is_null() { 5 } else { 0 });
    // What a busy machine makes of it is not kept, and that is said.
    if value["steady"] == true {
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
        assert_eq!(value["kept_in"], kept.to_str().unwrap());
        let text = std::fs::read_to_string(kept).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(kept["calibration"]["direct"], *direct);
    } else {
        assert_eq!(status.code(), Some(1));
        assert!(said.starts_with("syscost: too noisy to be kept"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(value["kept_in"], serde_json::Value::Null);
        assert!(!kept.exists());
    }
    await_unloaded(&programs);
}

#[test]
fn however_it_ends_no_program_stays_attached() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let target = Target::start(&["busy"]);
        let stat = Stat::attach(target.pid(), &[]);
        let programs = programs_of(stat.pid());
        assert_eq!(programs.len(), programs_with(&hooks()[0]));
        kill(stat.pid(), signal).unwrap();
        if signal == Signal::SIGKILL {
            stat.kill();
        } else {
            // In good order: the numbers are printed and the exit code is 0.
            assert!(stat.finish().count("getppid") > 0);
        }
        await_unloaded(&programs);
    }
}

/// The verifier gives up on a program while a signal is pending for who loads it. That is no reason for lesser hooks.
#[test]
fn a_stop_while_it_attaches_changes_nothing() {
    let target = Target::start(&["blocked"]);
    let pid = target.pid().to_string();
    // Raw ones list no open calls, and say that they are.
    let hooks = |ended: &Ended| {
        let measured: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
        (measured["in_flight"].is_array(), ended.stderr.contains("raw hooks"))
    };
    let args = ["stat", "--json", "-d", "100ms", "-p", &pid];
    let expected = hooks(&run(syscost().args(args)));
    // How long attaching takes on this machine.
    let began = Instant::now();
    drop(Stat::attach(target.pid(), &[]).stop());
    let takes = began.elapsed();
    for eighth in 0..8 {
        let mut command = syscost();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::start(&mut command);
        let syscost = running.pid();
        // While it reads BTF, loads programs, or waits.
        std::thread::sleep(takes * eighth / 8);
        kill(Pid::from_raw(syscost as i32), Signal::SIGSTOP).unwrap();
        eventually("it is stopped", || matches!(state(syscost), 'T' | 'Z'));
        kill(Pid::from_raw(syscost as i32), Signal::SIGCONT).unwrap();
        let (stdout, stderr) = (running.rest(), running.rest_of_errors());
        let ended = Ended { status: running.wait(), stdout, stderr };
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(hooks(&ended), expected, "stopped after {eighth}/8: {}", ended.stderr);
    }
}
