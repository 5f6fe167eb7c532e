//! Whose calls are measured: by process, thread, child, command, name, cgroup, user, host.

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    cgroup::Cgroup,
    harness::{
        CALIBRATION, Measured, Stat, Target, hooks, installed, newborn_exits, run, seeing_hooks,
        skipped, syscost, task_storage,
    },
    running::Running,
    threads::threads,
    users::{CAP_BPF, CAP_PERFMON, Everybodys},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_syscost-target");

#[test]
fn children_are_followed_from_their_first_instruction_to_any_depth() {
    for hooks in hooks() {
        let mut target = Target::start(&["tree", "3", "3", "25"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-f"]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        // 1 + 3 + 9 + 27 processes.
        assert_eq!(measured.count("getppid"), 40 * 25, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(39), "{hooks}");
        assert_eq!(measured.ledger("orphan_exits"), 0);
        assert_eq!(measured.ledger("ended_without_exit"), 40);
        assert_eq!(measured.0["target_exited"], true);
    }
}

#[test]
fn children_are_not_followed_unasked() {
    for hooks in hooks() {
        let mut target = Target::start(&["tree", "1", "4", "25"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks]);
        target.work();
        target.end();
        assert_eq!(stat.finish().count("getppid"), 25, "{hooks}");
    }
}

#[test]
fn two_thousand_processes_at_once() {
    for hooks in hooks() {
        let mut target = Target::start(&["herd", "2000", "3"]);
        let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-f"]);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 2000 * 6, "{hooks}");
        assert_eq!(measured.ledger("newborn_exits"), newborn_exits(2000));
    }
}

#[test]
fn children_that_find_no_room_are_told_of_and_their_siblings_are_whole() {
    for hooks in hooks() {
        let mut target = Target::start(&["herd", "20", "3"]);
        let args = ["--hooks", &hooks, "-f", "--max-targets", "15"];
        let stat = Stat::attach(target.pid(), &args);
        target.work();
        target.end();
        let measured = stat.finish();
        measured.assert_consistent();
        // One of the fifteen is the process itself.
        assert_eq!(measured.count("getppid"), 14 * 6, "{hooks}");
        assert_eq!(measured.ledger("targets_full"), 6);
        assert_eq!(measured.0["exact"], false);
        let losses = measured.0["losses"].as_array().unwrap();
        assert_eq!(losses.len(), 1);
        assert_eq!(losses[0]["kind"], "targets_full");
    }
}

#[test]
fn several_processes_and_no_other() {
    for hooks in hooks() {
        let mut targets: Vec<_> =
            ["100", "200", "400"].iter().map(|each| Target::start(&["calls", "2", each])).collect();
        let pids = format!("{},{}", targets[0].pid(), targets[2].pid());
        let stat = Stat::start(&["-p", &pids, "--hooks", &hooks]);
        targets.iter_mut().for_each(Target::work);
        targets.into_iter().for_each(Target::end);
        let measured = stat.finish();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 2 * (100 + 400), "{hooks}");
        assert_eq!(measured.0["pid"], serde_json::Value::Null);
        assert_eq!(measured.0["target"]["kind"], "processes");
    }
}

fn workers(target: &Target) -> Vec<u32> {
    let mut tids = threads(target.pid());
    tids.retain(|tid| *tid != target.pid());
    tids
}

#[test]
fn one_thread_of_many() {
    for hooks in hooks() {
        let mut target = Target::start(&["calls", "4", "500"]);
        let tid = workers(&target)[2].to_string();
        let stat = Stat::start(&["-t", &tid, "--hooks", &hooks]);
        target.work();
        // The thread is gone, and with it all that is measured; its process lives.
        let measured = stat.finish();
        target.end();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 500, "{hooks}");
        assert_eq!(measured.count("getpgid"), 50);
        assert_eq!(measured.0["target"]["kind"], "thread");
        assert_eq!(measured.0["target_exited"], true);
    }
}

#[test]
fn of_a_thread_that_is_not_the_first_latencies_are_divided() {
    for hooks in seeing_hooks() {
        let mut target = Target::start(&["naps", "1", "10", "50000"]);
        let tid = workers(&target)[0].to_string();
        let stat = Stat::start(&["-t", &tid, "--hooks", &hooks]);
        target.work();
        let measured = stat.finish();
        target.end();
        measured.assert_exact();
        let row = measured.row("nanosleep").unwrap();
        let number = |field: &str| row[field].as_u64().unwrap();
        assert_eq!((number("count"), number("parts_known")), (10, 10), "{hooks}");
        // It slept: hardly any of that is time on a CPU.
        assert!(number("blocked_ns") * 2 > number("total_ns"), "{row:#}");
    }
}

#[test]
fn some_threads_of_many() {
    for hooks in hooks() {
        let mut target = Target::start(&["calls", "4", "500"]);
        let tids: Vec<_> = workers(&target).iter().take(3).map(u32::to_string).collect();
        let stat = Stat::start(&["-t", &tids.join(","), "--hooks", &hooks]);
        target.work();
        let measured = stat.finish();
        target.end();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 1500, "{hooks}");
    }
}

/// A folder with the target's program under a name that nobody else has.
struct Named {
    path: PathBuf,
    name: String,
    _folder: tempfile::TempDir,
}

impl Named {
    fn new(prefix: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{prefix}{}", std::process::id());
        let path = folder.path().join(&name);
        symlink(PROGRAM, &path).unwrap();
        Self { path, name, _folder: folder }
    }

    fn start(&self, mode: &[&str]) -> Target {
        Target::start_by(&mut Command::new(&self.path), mode)
    }
}

#[test]
fn every_process_of_a_name_also_later_ones_and_after_exec() {
    for hooks in hooks() {
        let named = Named::new("sct");
        let mut early = named.start(&["calls", "2", "100"]);
        let mut other = Target::start(&["calls", "1", "7"]);
        let mut convert = Target::start(&["exec-as", named.path.to_str().unwrap(), "1000"]);
        let stat = Stat::start(&["--comm", &named.name, "--hooks", &hooks]);
        let mut late = named.start(&["calls", "1", "10"]);
        convert.begin();
        assert_eq!(convert.line(), "ready");
        for target in [&mut early, &mut other, &mut convert, &mut late] {
            target.work();
        }
        [early, other, convert, late].into_iter().for_each(Target::end);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 2 * 100 + 10 + 1000, "{hooks}");
        assert_eq!(measured.0["target"]["kind"], "comm");
    }
}

#[test]
fn what_nobody_is_is_said_at_once_and_waited_for() {
    let name = format!("none{}", std::process::id());
    let pattern = format!("{name}*");
    let none: [(&[&str], &str, &str); 4] = [
        (&["--comm", &name], "no process is called none", "no_process"),
        (&["--comm", &pattern], "names are compared whole", "no_process"),
        (&["--uid", "54322"], "user 54322 has no processes", "no_process"),
        (&["-a", "-e", "none"], "leaves out every call", "no_kinds"),
    ];
    for (args, said, kind) in none {
        let ended = run(syscost().args(["stat", "--json", "-d", "20ms"]).args(args));
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        let (before, _) = ended.stderr.split_once("syscost: attached to").expect("attached");
        assert!(before.contains(said), "{before}");
        let measured = Measured(serde_json::from_str(&ended.stdout).unwrap());
        assert_eq!(measured.0["why_empty"]["kind"], kind, "{args:?}");
        assert!(measured.0["why_empty"]["text"].as_str().unwrap().contains(said));
    }
}

#[test]
fn a_name_that_somebody_has_later_is_no_longer_one_that_nobody_has() {
    let named = Named::new("later");
    let stat = Stat::start(&["--comm", &named.name]);
    let mut target = named.start(&["calls", "1", "10"]);
    target.work();
    target.end();
    let measured = stat.stop();
    measured.assert_exact();
    assert_eq!(measured.count("getppid"), 10);
    assert!(measured.0["why_empty"].is_null());
}

#[test]
fn every_process_of_a_user() {
    const UID: u32 = 54_321;
    let everybodys = Everybodys::new();
    for hooks in hooks() {
        let mut other = Target::start(&["calls", "1", "7"]);
        let stat = Stat::start(&["--uid", &UID.to_string(), "--hooks", &hooks]);
        let mut target = everybodys.target(UID, &["calls", "2", "100"]);
        other.work();
        target.work();
        [other, target].into_iter().for_each(Target::end);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 200, "{hooks}");
    }
}

#[test]
fn a_cgroup_with_all_below_it() {
    let name = format!("syscost-test-{}", std::process::id());
    let Some(outer) = Cgroup::at_top(&name) else {
        return skipped("no cgroup2 hierarchy to make a cgroup in");
    };
    let inner = outer.below("inner");
    for hooks in hooks() {
        let mut before = Target::start(&["calls", "1", "100"]);
        outer.take(before.pid());
        let mut below = Target::start(&["calls", "1", "1000"]);
        inner.take(below.pid());
        let mut outside = Target::start(&["calls", "1", "7"]);
        let mut arrives = Target::start(&["calls", "1", "10"]);
        let stat = Stat::start(&["--cgroup", outer.path(), "--hooks", &hooks]);
        inner.take(arrives.pid());
        for target in [&mut before, &mut below, &mut outside, &mut arrives] {
            target.work();
        }
        [before, below, outside, arrives].into_iter().for_each(Target::end);
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 1110, "{hooks}");
        assert_eq!(measured.0["target"]["name"], format!("/{name}"));
    }
}

/// `getpgid` of a PID that nobody has is made by the targets alone, a tenth as often as `getppid`.
#[test]
fn the_whole_host_without_the_tracer() {
    for hooks in hooks() {
        let mut early = Target::start(&["calls", "2", "100"]);
        let stat = Stat::start(&["-a", "-e", "getpgid", "--errno", "ESRCH", "--hooks", &hooks]);
        let tracer = stat.pid();
        let mut late = Target::start(&["calls", "1", "1000"]);
        early.work();
        late.work();
        [early, late].into_iter().for_each(Target::end);
        assert!(fs::metadata(format!("/proc/{tracer}")).is_ok());
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getpgid"), 120, "{hooks}");
        assert_eq!(measured.0["target"]["kind"], "host");
    }
}

/// Among all processes of a user there is the tracer, when he started it himself.
#[test]
fn the_tracer_measures_itself_only_when_asked() {
    const UID: u32 = 54_322;
    let everybodys = Everybodys::new();
    // What perf's tracepoints are called is root's to know.
    for hooks in hooks().into_iter().filter(|hooks| hooks != "perf") {
        let mut tracer = everybodys.syscost(UID, CAP_BPF | CAP_PERFMON);
        let args = ["--uid", &UID.to_string(), "-i", "50ms", "--hooks", &hooks];
        let mut stat = Stat::start_by(&mut tracer, &args);
        let mut target = everybodys.target(UID, &["calls", "1", "100"]);
        target.work();
        target.end();
        // What the tracer does for the first is over in the second.
        let mut intervals = vec![stat.interval(), stat.interval()];
        kill(stat.pid(), Signal::SIGINT).unwrap();
        intervals.extend(stat.finish_intervals());
        let count = |name| intervals.iter().map(|interval| interval.count(name)).sum::<u64>();
        assert_eq!(count("getppid"), 100, "{hooks}");
        assert_eq!(count("bpf"), 0, "{hooks}");
    }
}

/// `syscost stat … -- syscost-target MODE`, to its end.
fn command(args: &[&str], mode: &[&str]) -> (Measured, crate::running::Ended) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended = run(syscost()
        .args(["stat", "--json", "-o", file.path().to_str().unwrap()])
        .args(args)
        .args(["--", PROGRAM])
        .args(mode));
    let text = fs::read_to_string(file.path()).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (Measured(value), ended)
}

#[test]
fn a_command_is_measured_from_its_execve_on() {
    for hooks in hooks() {
        let (measured, ended) = command(&["--hooks", &hooks], &["calls", "3", "100"]);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 300, "{hooks}");
        // The first call is the one that makes it what it is: nothing of ours is counted.
        assert_eq!(measured.count("execve"), 1, "{hooks}");
        assert_eq!(measured.errors("execve"), 0);
        assert_eq!(measured.ledger("open_at_attach"), 1, "{hooks}");
        assert_eq!(ended.stdout, "ready\ndone\n");
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!(measured.0["target"]["kind"], "command");
    }
}

#[test]
fn a_commands_children_are_followed() {
    for hooks in hooks() {
        let (measured, _) = command(&["--hooks", &hooks], &["tree", "2", "4", "50"]);
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 21 * 50, "{hooks}");
    }
}

#[test]
fn the_exit_status_is_the_commands() {
    let status = |argv: &[&str]| {
        run(syscost().args(["stat", "--"]).args(argv)).status.code().expect("it exits")
    };
    assert_eq!(status(&["true"]), 0);
    assert_eq!(status(&["sh", "-c", "exit 7"]), 7);
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), 143);
    assert_eq!(status(&["syscost-no-such-program"]), 127);
    let no_program = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(status(&[no_program.path().to_str().unwrap()]), 126);
}

#[test]
fn what_the_terminal_would_send_reaches_the_command() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = syscost();
        // Who starts the tests in the background may have them ignore SIGINT, and a shell cannot trap
        // what it was started to ignore.
        // SAFETY: one system call between fork and exec.
        unsafe {
            child.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut stat = Running::start(
            child
                .args([
                    "stat",
                    "--",
                    "sh",
                    "-c",
                    "trap 'echo got it; exit 5' INT TERM; echo up; sleep 20 & wait",
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                // Not in the foreground of any terminal.
                .process_group(0),
        );
        let tracer = Pid::from_raw(stat.pid() as i32);
        assert_eq!(stat.line("the command's first line").as_deref(), Some("up"));
        kill(tracer, signal).unwrap();
        assert_eq!(stat.line("the command's answer").as_deref(), Some("got it"));
        // The sleep that it left behind is followed as well; a second signal is for us.
        kill(tracer, signal).unwrap();
        assert_eq!(stat.wait().code(), Some(5), "{signal}");
    }
}

/// Ids inside a PID namespace are other ones than the kernel's own.
#[test]
fn inside_a_pid_namespace_its_pids_are_given_and_shown() {
    if !task_storage() {
        return skipped("the ids of a PID namespace take Linux 5.11");
    }
    if !installed("unshare") {
        return skipped("no unshare");
    }
    let syscost = env!("CARGO_BIN_EXE_syscost");
    // Children to come, and children that exist.
    let modes = [("herd 5 20", 5 * 40), ("elders 2 3 20", 13 * 20)];
    for (hooks, (mode, count)) in hooks().iter().flat_map(|hooks| modes.map(|mode| (hooks, mode))) {
        let script = format!(
            "mkfifo $D/in; {PROGRAM} {mode} <$D/in >$D/out & pid=$!; exec 3>$D/in; \
             until grep -q ready $D/out; do sleep 0.05; done; \
             {syscost} stat --json -f -p $pid --hooks {hooks} >$D/json 2>$D/err 3>&- & tracer=$!; \
             until grep -q attached $D/err; do sleep 0.05; kill -0 $tracer || exit 1; done; \
             echo g >&3; until grep -q done $D/out; do sleep 0.05; done; \
             exec 3>&-; wait $tracer; echo $pid"
        );
        let folder = tempfile::tempdir().unwrap();
        let ended = run(Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
            .envs([CALIBRATION])
            .env("D", folder.path()));
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        let said = format!("{}{}{}", ended.stdout, ended.stderr, read("err"));
        assert!(ended.status.success(), "{said}");
        let measured = Measured(serde_json::from_str(&read("json")).expect(&said));
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), count, "{hooks} {mode}");
        let pid: u64 = ended.stdout.trim().parse().unwrap();
        assert!(pid < 100, "a PID of the namespace");
        assert_eq!(measured.0["pid"], pid);
    }
}
