//! A budget for what measuring costs: detail is shed when the target makes it dear, and comes back.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Measured, Target, hooks, run, skipped, syscost, task_storage};

/// A measurement within a budget, an interval at a time.
struct Within {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The levels of detail that were seen, each once in a row.
    levels: Vec<String>,
    /// The calls that were counted.
    counted: u64,
}

impl Within {
    fn attach(pid: u32, hooks: &str, budget: &str) -> Self {
        let mut child = syscost()
            .args(["stat", "--json", "-p", &pid.to_string(), "-e", "getppid", "-i", "500ms"])
            .args(["--hooks", hooks, "--max-overhead", budget])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("syscost starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines, levels: Vec::new(), counted: 0 }
    }

    /// The next interval; `None` after the last one.
    fn next(&mut self) -> Option<Measured> {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("syscost prints text");
        if line.is_empty() {
            return None;
        }
        let measured = Measured(serde_json::from_str(&line).expect("JSON"));
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

impl Drop for Within {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn detail_is_shed_over_the_budget_and_comes_back_under_it() {
    for hooks in hooks() {
        if hooks == "raw" {
            continue;
        }
        let mut target = Target::start(&["hot-then-cool"]);
        let mut within = Within::attach(target.pid(), &hooks, "15%");
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
        });

        target.begin();
        within.until("in full detail", |measured, row| {
            measured.0["detail"] == "full"
                && measured.0["sampled"] == false
                && measured.0["exact"] == true
                && row["parts_known"] == row["count"]
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
        let (sampled, left_out) = (last.ledger("sampled"), last.ledger("sampled_out"));
        assert!(sampled > 0 && left_out > 0, "{:#}", last.0["ledger"]);
        assert_eq!(last.ledger("matched") - 15 * sampled + left_out, made, "{hooks}");
        assert_eq!(last.ledger("matched"), counted, "{hooks}");
        // … and the estimate lies around it as those of a fair sample do: by more than six standard
        // deviations once in a billion.
        let deviation = 16.0 * (sampled as f64).sqrt();
        let error = counted.abs_diff(made) as f64;
        assert!(error <= 6.0 * deviation + 16.0, "{hooks}: {counted} of {made}, {sampled} sampled");
    }
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
