//! A budget for what measuring costs: detail is shed when the target makes it dear, and comes back.

use std::{
    os::unix::process::CommandExt,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use syscost::{filter::Filter, probe::Probe, request::Request, sample::Detail};
use syscost_common::ledger::Counter;

use crate::{
    harness::{
        Measured, Target, choice, eventually, hooks, run, seeing_hooks, skipped, syscost,
        task_storage,
    },
    running::Running,
    threads::{await_asleep_in, signal},
};

/// A measurement within a budget, an interval at a time.
struct Within {
    running: Running,
    /// The levels of detail that were seen, each once in a row.
    levels: Vec<String>,
    /// The calls that were counted.
    counted: u64,
}

impl Within {
    fn attach(pid: u32, hooks: &str, budget: &str) -> Self {
        let running = Running::start(
            syscost()
                .args(["stat", "--json", "-p", &pid.to_string(), "-e", "getppid", "-i", "500ms"])
                .args(["--hooks", hooks, "--max-overhead", budget])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        );
        Self { running, levels: Vec::new(), counted: 0 }
    }

    /// The next interval; `None` after the last one.
    fn next(&mut self) -> Option<Measured> {
        let measured = Measured::parse(&self.running.line("the next interval")?);
        let level = measured.0["detail"].as_str().expect("a level").to_owned();
        if self.levels.last() != Some(&level) {
            self.levels.push(level);
        }
        self.counted += measured.count("getppid");
        Some(measured)
    }

    /// Intervals until one with calls of which all of this holds. A call may have begun long before the
    /// interval that counts it, under another level, so that the first few need not be the ones.
    fn until(&mut self, what: &str, holds: impl Fn(&Measured, &Value) -> bool) {
        // Whoever else makes calls on this machine costs as well, and after each attempt that fails
        // the next one waits longer.
        let give_up = Instant::now() + Duration::from_secs(240);
        loop {
            let measured = self.next().expect("it goes on");
            if measured.row("getppid").is_some_and(|row| holds(&measured, row)) {
                return;
            }
            assert!(Instant::now() < give_up, "never {what}: {:?}", self.levels);
        }
    }

    /// Each level was left for the next one, in the stated order.
    fn assert_step_by_step(&self) {
        const ORDER: [&str; 4] = ["full", "no_runq", "no_on_cpu", "sampling"];
        let steps: Vec<usize> = self
            .levels
            .iter()
            .map(|level| ORDER.iter().position(|other| other == level).expect("a known level"))
            .collect();
        let adjacent = steps.windows(2).all(|pair| pair[0].abs_diff(pair[1]) == 1);
        assert!(adjacent && steps.contains(&0) && steps.contains(&3), "{:?}", self.levels);
    }
}

#[test]
fn detail_is_shed_over_the_budget_and_comes_back_under_it() {
    for hooks in hooks() {
        if hooks == "raw" {
            continue;
        }
        let mut target = Target::start(&["hot-then-cool"]);
        // A third of what full detail costs where the target gets but half of a CPU, and more than what
        // the calls of everybody else cost.
        let mut within = Within::attach(target.pid(), &hooks, "5%");
        // It is attached by then.
        assert!(within.next().is_some());
        target.begin();
        // One call in 16 stands for all of them; what it consists of is not known, and not 0.
        within.until("sampled", |measured, row| {
            measured.0["detail"] == "sampling"
                && measured.0["sampled"] == true
                && row["count"].as_u64().expect("a count") % 16 == 0
                && row["on_cpu_ns"].is_null()
                && row["parts_known"] == 0
                && measured.0["cpu_ns"].is_null()
        });

        target.begin();
        within.until("in full detail", |measured, row| {
            measured.0["detail"] == "full"
                && measured.0["sampled"] == false
                && measured.0["exact"] == true
                && row["parts_known"] == row["count"]
                && measured.0["cpu_ns"].as_u64().is_some_and(|ns| ns > 0)
                && measured.0["cpu_exact"] == true
        });
        within.assert_step_by_step();

        target.begin();
        let made: u64 = target.line().parse().expect("a number");
        assert_eq!(target.line(), "done");
        target.end();
        let mut last = None;
        while let Some(measured) = within.next() {
            last = Some(measured);
        }
        let (last, counted) = (last.expect("a last interval"), within.counted);
        // What was left out is counted as well, so that the number of calls is known exactly …
        let (sampled, stood_for) = (last.ledger("sampled"), last.ledger("stood_for"));
        let left_out = last.ledger("sampled_out");
        assert!(sampled > 0 && left_out > 0, "{:#}", last.0["ledger"]);
        assert_eq!(last.ledger("matched") - stood_for + left_out, made, "{hooks}");
        assert_eq!(last.ledger("matched"), counted, "{hooks}");
        // Once in a while it may be one in 256.
        assert!(stood_for >= 15 * sampled && stood_for <= 255 * sampled, "{hooks}");
        // … and the estimate lies around it as those of a fair sample do: by more than six standard
        // deviations once in a billion.
        let heaviest = if stood_for == 15 * sampled { 16.0 } else { 256.0 };
        let deviation = (heaviest * (stood_for + sampled) as f64).sqrt();
        let error = counted.abs_diff(made) as f64;
        assert!(error <= 6.0 * deviation + 16.0, "{hooks}: {counted} of {made}, {sampled} sampled");
    }
}

#[test]
fn what_the_hooks_alone_cost_is_said_where_it_is_more_than_the_budget() {
    for hooks in hooks() {
        if hooks == "raw" {
            continue;
        }
        let mut target = Target::start(&["hot-then-cool"]);
        let mut within = Within::attach(target.pid(), &hooks, "0.01%");
        assert!(within.next().is_some());
        target.begin();
        // Sampling even less could not help, and so is not tried.
        within.until("said", |measured, _| {
            measured.0["detail"] == "sampling"
                && measured.0["one_in"] == 16
                && measured.0["probe"]["hooks_alone"] == true
        });
    }
}

#[test]
fn calls_sampled_at_several_rates_are_weighted_and_counted() {
    for hooks in seeing_hooks() {
        let mut target = Target::start(&["hot-then-cool"]);
        let filter = Filter::everything().with_calls("getppid").expect("a filter");
        let request = Request { hooks: choice(&hooks), filter, ..Request::process(target.pid()) };
        let mut probe = Probe::attach(&request).expect("it attaches");
        target.begin();
        for level in [Detail::Sampling(16), Detail::Sampling(256), Detail::Sampling(16)] {
            probe.set_detail(level).expect("it is there");
            let before = counter(&mut probe, Counter::Sampled);
            eventually("some calls are sampled", || {
                counter(&mut probe, Counter::Sampled) > before + 100
            });
        }
        probe.set_detail(Detail::Full).expect("it is there");
        target.begin();
        target.begin();
        let made: u64 = target.line().parse().expect("a number");
        assert_eq!(target.line(), "done");
        probe.detach();
        let [matched, stood_for, left_out, sampled] =
            [Counter::Matched, Counter::StoodFor, Counter::SampledOut, Counter::Sampled]
                .map(|which| counter(&mut probe, which));
        assert_eq!(matched - stood_for + left_out, made, "{hooks}");
        // Some stood for 256.
        assert!(stood_for > 15 * sampled && stood_for % 15 == 0, "{stood_for}, {sampled}");
    }
}

/// A call that another one of a sample stands for stays one when it goes on, though sampling has ended.
#[test]
fn a_call_that_is_sampled_out_counts_nowhere_when_it_goes_on() {
    for hooks in seeing_hooks() {
        let mut target = Target::start(&["handled", "restart"]);
        let pid = target.pid();
        let filter = Filter::everything().with_calls("readv").expect("a filter");
        let request = Request { hooks: choice(&hooks), filter, ..Request::process(pid) };
        let mut probe = Probe::attach(&request).expect("it attaches");
        // One of a million is measured: not this one.
        probe.set_detail(Detail::Sampling(1 << 20)).expect("it is there");
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        probe.set_detail(Detail::Full).expect("it is there");
        signal(&target, Signal::SIGUSR1);
        await_asleep_in(pid, pid, libc::SYS_read);
        target.begin();
        await_asleep_in(pid, pid, libc::SYS_readv);
        target.begin();
        assert_eq!(target.line(), "done");
        probe.detach();
        assert_eq!(counter(&mut probe, Counter::SampledOut), 1, "{hooks}");
        assert_eq!(counter(&mut probe, Counter::Matched), 0, "{hooks}");
        // The `read` that it waited in.
        assert_eq!(counter(&mut probe, Counter::OpenAtAttach), 1, "{hooks}");
        target.end();
    }
}

fn counter(probe: &mut Probe, which: Counter) -> u64 {
    probe.snapshot().ledger.counters[which as usize]
}

#[test]
fn hooks_without_detail_to_shed_keep_no_budget() {
    let target = Target::start(&["blocked"]);
    let mut raw = syscost();
    raw.args(["stat", "-d", "1", "--max-overhead", "2%", "--hooks", "raw"]);
    let ended = run(raw.args(["-p", &target.pid().to_string()]));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("--max-overhead cannot be kept: raw hooks"), "{}", ended.stderr);
}

#[test]
fn a_budget_that_cannot_be_kept_is_refused() {
    if !task_storage() {
        return skipped("every level of detail takes BTF");
    }
    let target = Target::start(&["blocked"]);
    let mut without = syscost();
    without.args(["stat", "-d", "1", "--max-overhead", "2%", "-p", &target.pid().to_string()]);
    // Without CAP_SYS_ADMIN the kernel's statistics cannot be switched on.
    const CAP_SYS_ADMIN: i32 = 21;
    // SAFETY: only a system call between fork and exec.
    unsafe {
        without.pre_exec(|| match libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let ended = run(&mut without);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("--max-overhead cannot be kept"), "{}", ended.stderr);
    assert!(ended.stderr.contains("CAP_SYS_ADMIN"), "{}", ended.stderr);
}
