//! How much CPU time the target used, inside calls and outside: what the kernel's accounts say, for every
//! kind of target, alive or not.

use std::process::{Command, Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use syscost::{probe::Probe, reading::Reading, request::Request, sample::Detail};

use crate::{
    cgroup::Cgroup,
    harness::{
        CALIBRATION, Measured, Stat, Target, announce, choice, emulated, eventually, installed,
        run, seeing_hooks, skipped, syscost, task_storage, undisturbed,
    },
    running::Running,
    threads::thread_ns,
    users::Everybodys,
};

/// What the hypervisor and interrupts have taken from all CPUs, ns: on a CPU to these programs, and not to the
/// scheduler.
fn stolen_ns() -> u64 {
    let host = std::fs::read_to_string("/proc/stat").expect("it can be read");
    // cpu, user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5))
    let taken = host.split_whitespace().take(9).skip(6);
    let ticks: u64 = taken.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    ticks * 10_000_000
}

/// What is used before and after: starting, waking up, exiting. An emulated processor needs ten times as long
/// for that, and for its interrupts, which the scheduler's account leaves out.
fn around_ns() -> u64 {
    if emulated() { 300_000_000 } else { 20_000_000 }
}

/// `measured` says of CPU time what the kernel's accounts do, `used_ns`, within 3 % and what was used
/// before and after: starting, waking up, exiting.
#[track_caller]
fn assert_used(what: &str, measured: &Measured, used_ns: u64, stolen_before: u64) {
    let around_ns = around_ns();
    let told = measured.0["cpu_ns"].as_u64().unwrap_or_else(|| panic!("{what}: no cpu_ns"));
    let missed = measured.ledger("slices_missed");
    let stolen = stolen_ns() - stolen_before;
    let pct = told as f64 * 100.0 / used_ns as f64;
    announce(&format!("{what}: cpu_ns {told}, used {used_ns}: {pct:.2} %; {missed} missed"));
    assert!(missed > 0 || told >= used_ns - used_ns * 3 / 100, "{what}: {told} of {used_ns}");
    assert!(
        told <= used_ns + used_ns * 3 / 100 + around_ns + stolen,
        "{what}: {told} of {used_ns}"
    );
    let on_cpu: u64 = measured.rows().map(|row| row["on_cpu_ns"].as_u64().expect("parts")).sum();
    let share = measured.0["cpu_share_pct"].as_f64().expect("a share");
    let expected = (on_cpu as f64 * 100.0 / told as f64).min(100.0);
    assert!((share - expected).abs() < 0.01, "{what}: {share} of {expected}");
    assert!(missed == 0 || measured.0["cpu_exact"] == false, "{what}");
}

/// What a "burn" says: ns of the family, and of its first thread.
fn said(line: &str) -> [u64; 2] {
    let mut numbers = line.split(' ').map(|number| number.parse().expect("a number"));
    [numbers.next(), numbers.next()].map(|number| number.expect("two numbers"))
}

#[test]
fn of_a_process_with_threads_while_it_lives_and_once_it_has_exited() {
    undisturbed(seeing_hooks(), |hooks| {
        for exits in [false, true] {
            let stolen = stolen_ns();
            let mut target = Target::start(&["burn", "2", "0", "150"]);
            let stat = Stat::attach(target.pid(), &["--hooks", hooks]);
            target.begin();
            let [family, _] = said(&target.line());
            assert_eq!(target.line(), "done");
            let measured = if exits {
                target.end();
                stat.finish()
            } else {
                stat.stop()
            };
            assert_used(&format!("{hooks}, exited: {exits}"), &measured, family, stolen);
        }
    });
}

/// A PID namespace beside this one has processes of the same depth, and none of its.
#[test]
fn of_no_process_in_another_pid_namespace() {
    if !installed("unshare") {
        return skipped("no unshare");
    }
    let program = env!("CARGO_BIN_EXE_syscost-target");
    let namespace = ["--pid", "--fork", "--mount-proc"];
    let mut beside = Command::new("unshare");
    beside.args(namespace).args([program, "burn-at-once", "600000"]);
    let beside = Running::start(beside.stdin(Stdio::null()));
    let pid = beside.pid();
    let mut child = None;
    eventually("it computes beside", || {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        child = children.ok().and_then(|pids| pids.trim().parse().ok());
        child.is_some_and(|child| thread_ns(child) > 50_000_000)
    });
    for hooks in seeing_hooks() {
        let syscost = env!("CARGO_BIN_EXE_syscost");
        let args = ["stat", "--json", "-d", "300ms", "--comm", "syscost-target", "--hooks", &hooks];
        let mut inside = Command::new("unshare");
        let ended = run(inside.args(namespace).arg(syscost).args(args).envs([CALIBRATION]));
        let measured = Measured(serde_json::from_str(&ended.stdout).expect(&ended.stderr));
        assert_eq!(measured.0["cpu_ns"], 0, "{hooks}: nobody of that name is in there");
        assert_eq!(measured.rows().count(), 0, "{hooks}");
    }
    // The first process of its namespace.
    let child = Pid::from_raw(child.expect("it was seen") as i32);
    kill(child, Signal::SIGKILL).expect("it computes");
}

#[test]
fn of_a_process_that_exits_while_it_is_busy() {
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let mut target = Target::start(&["burn-then-exit", "300"]);
        let stat = Stat::attach(target.pid(), &["--hooks", hooks]);
        target.begin();
        assert_used(hooks, &stat.finish(), 300_000_000, stolen);
    });
}

/// Giving much memory back takes long, and others get the CPU in between.
#[test]
fn of_a_process_that_others_preempt_while_it_exits() {
    let mib = if emulated() { "64" } else { "256" };
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let mut target = Target::start(&["hoard-then-exit", mib]);
        let pid = target.line();
        let stat = Stat::start(&["-p", &pid, "--hooks", hooks]);
        target.begin();
        let used = target.line().parse().expect("ns");
        assert_used(hooks, &stat.finish(), used, stolen);
        target.end();
    });
}

#[test]
fn of_a_process_across_its_exec() {
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let mut target = Target::start(&["burn-across-exec", "300"]);
        let stat = Stat::attach(target.pid(), &["--hooks", hooks]);
        target.begin();
        assert_used(hooks, &stat.finish(), 300_000_000, stolen);
    });
}

#[test]
fn of_children_that_are_followed() {
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let mut target = Target::start(&["burn", "1", "3", "100"]);
        let stat = Stat::attach(target.pid(), &["--hooks", hooks, "-f"]);
        target.begin();
        let [family, _] = said(&target.line());
        assert_eq!(target.line(), "done");
        target.end();
        assert_used(hooks, &stat.finish(), family, stolen);
    });
}

#[test]
fn of_one_thread_of_several() {
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let mut target = Target::start(&["burn", "2", "0", "150"]);
        let tid = target.pid().to_string();
        let stat = Stat::start(&["-t", &tid, "--hooks", hooks]);
        target.begin();
        let [_, first] = said(&target.line());
        assert_eq!(target.line(), "done");
        assert_used(hooks, &stat.stop(), first, stolen);
        target.end();
    });
}

#[test]
fn of_a_command_and_its_children() {
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let file = std::env::temp_dir().join(format!("syscost-cpu-time-{}", std::process::id()));
        let program = env!("CARGO_BIN_EXE_syscost-target");
        let args = ["stat", "--json", "--hooks", hooks, "-o"];
        let ended =
            run(syscost().args(args).arg(&file).args(["--", program, "burn", "1", "2", "100"]));
        assert!(ended.status.success(), "{}", ended.stderr);
        let family = ended.stdout.lines().find(|line| line.contains(' ')).expect("numbers");
        let text = std::fs::read_to_string(&file).expect("it was written");
        std::fs::remove_file(&file).expect("it is there");
        let measured = Measured(serde_json::from_str(&text).expect("an object"));
        assert_used(hooks, &measured, said(family)[0], stolen);
    });
}

#[test]
fn of_all_of_a_name() {
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let folder = std::env::temp_dir().join(format!("syscost-named-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let name = format!("burner-{}", std::process::id());
        let program = folder.join(&name);
        std::fs::copy(env!("CARGO_BIN_EXE_syscost-target"), &program).expect("a copy");
        let mut target = Target::spawn_by(&mut Command::new(&program), &["burn", "1", "1", "150"]);
        assert_eq!(target.line(), "ready");
        let stat = Stat::start(&["--comm", &name, "--hooks", hooks]);
        target.begin();
        let [family, _] = said(&target.line());
        assert_eq!(target.line(), "done");
        assert_used(hooks, &stat.stop(), family, stolen);
        target.end();
        std::fs::remove_dir_all(&folder).expect("it is there");
    });
}

#[test]
fn of_all_processes_of_a_user() {
    const UID: u32 = 54_323;
    let everybodys = Everybodys::new();
    undisturbed(seeing_hooks(), |hooks| {
        let stolen = stolen_ns();
        let mut early = everybodys.target(UID, &["burn", "1", "1", "100"]);
        let mut other = Target::start(&["burn", "0", "0", "100"]);
        let stat = Stat::start(&["--uid", &UID.to_string(), "--hooks", hooks]);
        let mut late = everybodys.target(UID, &["burn", "0", "0", "100"]);
        let used = burn([&mut early, &mut late]);
        burn([&mut other]);
        // What a thread used up to its exit counts as well.
        early.end();
        assert_used(&format!("{hooks}, uid"), &stat.stop(), used, stolen);
        [late, other].into_iter().for_each(Target::end);
    });
}

#[test]
fn of_a_cgroup_and_of_a_container() {
    let id = format!("{:064x}", std::process::id());
    let Some(outer) = Cgroup::at_top(&format!("docker-{id}.scope")) else {
        return skipped("no cgroup2 hierarchy to make a cgroup in");
    };
    let inner = outer.below("inner");
    undisturbed(seeing_hooks(), |hooks| {
        for option in [["--cgroup", outer.path()], ["--container", &id]] {
            let stolen = stolen_ns();
            let mut directly = Target::start(&["burn", "1", "1", "100"]);
            outer.take(directly.pid());
            let mut below = Target::start(&["burn", "0", "0", "100"]);
            inner.take(below.pid());
            let mut outside = Target::start(&["burn", "0", "0", "100"]);
            let stat = Stat::start(&[&option[..], &["--hooks", hooks]].concat());
            let before = usage_ns(&outer);
            let used = burn([&mut directly, &mut below]);
            burn([&mut outside]);
            let accounted = usage_ns(&outer) - before;
            announce(&format!("{used} said by the targets, {accounted} by cpu.stat"));
            directly.end();
            let what = format!("{hooks}, {}", option[0]);
            let measured = stat.stop();
            assert_used(&what, &measured, used, stolen);
            // The cgroup's account has what the targets need to begin and to say so as well.
            assert_used(&what, &measured, accounted, stolen);
            [below, outside].into_iter().for_each(Target::end);
        }
    });
}

/// With less detail, no context switches are seen, and CPU time is not known; afterwards it is known to be at
/// least what was seen.
#[test]
fn of_a_measurement_that_sheds_detail_and_takes_it_up_again() {
    for hooks in seeing_hooks() {
        let stolen = stolen_ns();
        let mut target = Target::start(&["burn-again", "3", "200"]);
        let request = Request { hooks: choice(&hooks), ..Request::process(target.pid()) };
        let mut probe = Probe::attach(&request).unwrap();
        let mut used_ns = |probe: &mut Probe| {
            let used = burn([&mut target]);
            (used, probe.cpu_time().expect("switches are seen").used_ns)
        };
        let (first, told) = used_ns(&mut probe);
        let Reading::Exact(before) = told else { panic!("{hooks}: all was seen: {told:?}") };
        assert!(before >= first - first * 3 / 100, "{hooks}: {before} of {first}");
        probe.set_detail(Detail::NoOnCpu).unwrap();
        let (second, told) = used_ns(&mut probe);
        assert_eq!(told, Reading::NotCollected, "{hooks}: switches are not seen");
        probe.set_detail(Detail::Full).unwrap();
        let (third, told) = used_ns(&mut probe);
        let Reading::Partial(after) = told else { panic!("{hooks}: not all was seen: {told:?}") };
        announce(&format!(
            "{hooks}: {before} of {first}, then {after} of {first}+{second}+{third}"
        ));
        // Less than all, but no more of it is lost than what was used in between.
        let seen = first + third;
        assert!(after >= seen - seen * 3 / 100, "{hooks}: {after} of {seen}");
        let most = seen + seen * 3 / 100 + around_ns() + stolen_ns() - stolen;
        assert!(after <= most, "{hooks}: {after} of {seen}, with {second} unseen");
        target.end();
    }
}

/// Lets targets that burn do so at the same time. Returns what they used together, ns.
fn burn<const TARGETS: usize>(mut targets: [&mut Target; TARGETS]) -> u64 {
    targets.iter_mut().for_each(|target| target.begin());
    let each = targets.iter_mut().map(|target| {
        let [family, _] = said(&target.line());
        assert_eq!(target.line(), "done");
        family
    });
    each.sum()
}

/// What the kernel accounts for a cgroup and those below it, ns.
fn usage_ns(cgroup: &Cgroup) -> u64 {
    let text = std::fs::read_to_string(format!("{}/cpu.stat", cgroup.path())).expect("an account");
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    usage.expect("its usage").parse::<u64>().expect("a number") * 1_000
}

#[test]
fn by_raw_hooks_the_kernel_is_asked_for_processes_and_threads() {
    for option in ["-p", "-t"] {
        let mut target = Target::start(&["burn", "1", "0", "100"]);
        let stat = Stat::start(&[option, &target.pid().to_string(), "--hooks", "raw"]);
        target.begin();
        let [family, first] = said(&target.line());
        assert_eq!(target.line(), "done");
        let measured = stat.stop();
        let told = measured.0["cpu_ns"].as_u64().expect("it is read");
        let used = if option == "-p" { family } else { first };
        announce(&format!("{option}: cpu_ns {told}, used {used}"));
        assert!(told >= used - used / 50 && told <= used + used / 50 + around_ns());
        target.end();
    }
}

#[test]
fn rings_are_told_of_and_their_threads_time_is_apart() {
    if !task_storage() {
        return skipped("before Linux 5.12 the threads of rings belong to the kernel");
    }
    for hooks in seeing_hooks() {
        for later in ["0", "1"] {
            let mut target = Target::spawn(&["ring", "1000", later]);
            if target.line() == "refused" {
                return skipped("this kernel allows no io_uring");
            }
            // It is seen also where its calls are left out.
            let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "-e", "getppid"]);
            target.begin();
            if target.line() == "refused" {
                return skipped("this kernel allows no io_uring");
            }
            let thread = workers_ns(target.pid());
            let measured = stat.stop();
            let ring = &measured.0["io_uring"];
            announce(&format!("{hooks}, later: {later}: {ring}, by schedstat {thread} ns"));
            assert_eq!(ring["used"], true);
            assert!(ring["workers_cpu_ns"].as_u64().expect("it is known") > 0);
            assert_eq!(measured.ledger("io_uring_calls") > 0, later == "1");
            target.begin();
            target.end();
        }
    }
}

/// The ring was there before the programs were attached, of which no PID was given.
#[test]
fn rings_are_found_in_every_kind_of_target() {
    if !task_storage() {
        return skipped("tasks cannot be looked at");
    }
    for hooks in seeing_hooks() {
        let mut target = Target::spawn(&["quiet-ring"]);
        if target.line() == "refused" {
            return skipped("this kernel allows no io_uring");
        }
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", target.pid())).unwrap();
        let pid = target.pid().to_string();
        for scope in [["--comm", comm.trim_end()], ["--uid", "0"], ["-p", &pid], ["-t", &pid]] {
            let args = [&scope[..], &["--hooks", &hooks, "-d", "50ms"]].concat();
            let measured = Stat::start(&args).finish();
            assert_eq!(measured.0["io_uring"]["used"], true, "{hooks} {scope:?}");
        }
        target.begin();
        assert_eq!(target.line(), "done");
        target.end();
    }
}

#[test]
fn who_has_no_ring_is_not_said_to_use_one() {
    let measured = crate::harness::measure(&["calls", "1", "10"], &crate::harness::hooks()[0]);
    assert_eq!(measured.0["io_uring"]["used"], false);
    assert_eq!(measured.ledger("io_uring_calls"), 0);
}

/// What the threads that a ring has in process `pid` have used, ns, by the scheduler's account.
fn workers_ns(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("it runs")
        .filter_map(|task| {
            let task = task.ok()?.path();
            let comm = std::fs::read_to_string(task.join("comm")).ok()?;
            let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
            let ns = stat.split_whitespace().next()?.parse::<u64>().ok()?;
            comm.starts_with("iou-").then_some(ns)
        })
        .sum()
}
