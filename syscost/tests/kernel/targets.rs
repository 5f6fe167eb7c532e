//! Whose calls are measured: by process, thread, child, command, name, cgroup, user, host.

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt},
    path::PathBuf,
    process::Command,
};

use nix::sys::signal::{Signal, kill};

use crate::{
    cgroup::Cgroup,
    harness::{
        Measured, Stat, Target, hooks, installed, newborn_exits, run, skipped, syscost,
        task_storage,
    },
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
    let mut tids: Vec<u32> = fs::read_dir(format!("/proc/{}/task", target.pid()))
        .unwrap()
        .map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .filter(|tid| *tid != target.pid())
        .collect();
    tids.sort_unstable();
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
        let mut target = Target::spawn_by(&mut Command::new(&self.path), mode);
        assert_eq!(target.line(), "ready");
        target
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
fn every_process_of_a_user() {
    const UID: u32 = 54_321;
    for hooks in hooks() {
        let mut other = Target::start(&["calls", "1", "7"]);
        let stat = Stat::start(&["--uid", &UID.to_string(), "--hooks", &hooks]);
        let mut target = Target::spawn_by(Command::new(PROGRAM).uid(UID), &["calls", "2", "100"]);
        assert_eq!(target.line(), "ready");
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

#[test]
fn the_tracer_measures_itself_only_when_asked() {
    for hooks in hooks() {
        // Nobody else reads the statistics of BPF programs here.
        let stat =
            Stat::start(&["-a", "-e", "bpf", "-d", "500ms", "-i", "100ms", "--hooks", &hooks]);
        let last = stat.finish_intervals().pop().unwrap();
        assert_eq!(last.ledger("enters"), 0, "{hooks}");
    }
}

/// `syscost stat … -- syscost-target MODE`, to its end.
fn command(args: &[&str], mode: &[&str]) -> (Measured, crate::harness::Ended) {
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
        let mut child = child
            .args([
                "stat",
                "--",
                "sh",
                "-c",
                "trap 'echo got it; exit 5' INT TERM; echo up; sleep 20 & wait",
            ])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            // Not in the foreground of any terminal.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert_eq!(line, "up\n");
        kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        line.clear();
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert_eq!(line, "got it\n");
        // The sleep that it left behind is followed as well; a second signal is for us.
        kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(5), "{signal}");
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
    for hooks in hooks() {
        let script = format!(
            "mkfifo $D/in; {PROGRAM} herd 5 20 <$D/in >$D/out & pid=$!; exec 3>$D/in; \
             until grep -q ready $D/out; do sleep 0.05; done; \
             {syscost} stat --json -f -p $pid --hooks {hooks} >$D/json 2>$D/err 3>&- & tracer=$!; \
             until grep -q attached $D/err; do sleep 0.05; kill -0 $tracer || exit 1; done; \
             echo g >&3; until grep -q done $D/out; do sleep 0.05; done; \
             exec 3>&-; wait $tracer; echo $pid"
        );
        let folder = tempfile::tempdir().unwrap();
        let ended = run(Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
            .env("D", folder.path()));
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        let said = format!("{}{}{}", ended.stdout, ended.stderr, read("err"));
        assert!(ended.status.success(), "{said}");
        let measured = Measured(serde_json::from_str(&read("json")).expect(&said));
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 5 * 40, "{hooks}");
        let pid: u64 = ended.stdout.trim().parse().unwrap();
        assert!(pid < 100, "a PID of the namespace");
        assert_eq!(measured.0["pid"], pid);
    }
}
