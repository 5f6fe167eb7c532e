//! Scenarios: TOML files that say what a target does, and what the model must make of it.
//!
//! ```toml
//! comm = "nginx"                  # the target is the process 1234 of this name
//!
//! [[step]]
//! at_ms = 1500                    # after attaching; what follows happens at that moment
//! cpu_ns = 9_000                  # CPU time used since the step before
//! calls = [
//!     { name = "read", count = 3, latency_ns = 5_000, runq_ns = 200, blocked_ns = 4_000 },
//!     { name = "read", latency_ns = 900, errno = 11 },
//!     { nr = 500, abi = "compat", latency_ns = 900, unparted = true },
//! ]
//! ledger = { exits_missed = 1 }   # added to these counters, besides those of the calls
//! events = ["a line of --verbose"]
//! level = "no_runq"               # of detail, from now on
//! fails = "the kernel refuses"    # every reading fails with this from now on, until the next step
//! exits = true                    # the target exits now
//!
//! [[row]]                         # what is expected of each row, since attach, by ABI and number
//! name = "read"
//! calls = 4
//! blocked = "12000"               # `>=`, `≈` and `–` as in the views
//! ```
//!
//! Unknown fields and names are errors: a scenario belongs to one version of the program.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use syscost_common::{
    cell::PartOf,
    hist::{PART, bucket_index},
    kind::{AbiClass, NR_OUT_OF_RANGE},
    ledger::Counter,
    off_cpu::OffCpu,
};

use crate::{
    decode::syscall::{self, Abi},
    filter::Selection,
    reading::Reading,
    sample::{
        CpuSample, Detail, DetailSample, Format, GivenProcess, KindKey, KindSample, LedgerSample,
        Measured, Sample, SkippedRuns, Subject, counter_named,
    },
};

/// When a scenario's target is attached to, ns of CLOCK_MONOTONIC.
const ATTACHED_AT_NS: u64 = 1_000_000_000;

/// How long a reading seems to take, ns.
const READ_NS: u64 = 250_000;

/// What a target does, and what the model must make of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(default = "app")]
    comm: String,
    /// Whether context switches are seen, so that latencies have parts.
    #[serde(default = "yes")]
    parts: bool,
    #[serde(default, rename = "step")]
    steps: Vec<Step>,
    /// Why there is no last sample.
    pub(super) finish_fails: Option<String>,
    /// What is said to be missing in the last sample.
    pub(super) finish_lacks: Option<String>,
    #[serde(default, rename = "row")]
    pub(crate) rows: Vec<ExpectedRow>,
    /// What makes the numbers inexact, in words.
    #[serde(default)]
    pub(crate) losses: Vec<String>,
    /// How many calls are open at the end.
    #[serde(default)]
    pub(crate) in_flight: u64,
}

fn app() -> String {
    "app".to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    at_ms: u64,
    #[serde(default)]
    cpu_ns: u64,
    #[serde(default)]
    calls: Vec<Calls>,
    #[serde(default)]
    ledger: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) events: Vec<String>,
    level: Option<Detail>,
    pub(super) fails: Option<String>,
    #[serde(default)]
    exits: bool,
}

/// Calls that are alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Calls {
    name: Option<String>,
    nr: Option<u32>,
    #[serde(default)]
    abi: ScenarioAbi,
    #[serde(default = "once")]
    count: u64,
    latency_ns: u64,
    #[serde(default)]
    runq_ns: u64,
    #[serde(default)]
    blocked_ns: u64,
    /// 0: they succeed.
    #[serde(default)]
    errno: u16,
    /// Whether their parts are not known, although these hooks can tell.
    #[serde(default)]
    unparted: bool,
}

fn once() -> u64 {
    1
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ScenarioAbi {
    #[default]
    Native,
    Compat,
}

/// What is expected of a row. What is left out is not checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedRow {
    pub(crate) name: String,
    pub(crate) calls: u64,
    pub(crate) errors: Option<u64>,
    pub(crate) total_ns: Option<u64>,
    pub(crate) min_ns: Option<u64>,
    pub(crate) max_ns: Option<u64>,
    pub(crate) on_cpu: Option<String>,
    pub(crate) runq: Option<String>,
    pub(crate) blocked: Option<String>,
}

impl Scenario {
    /// The scenario `tests/scenarios/NAME.toml`.
    ///
    /// # Errors
    /// When it is not there, or says something that is not known.
    pub(crate) fn load(name: &str) -> Result<Self> {
        let path = format!("{}/tests/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text).with_context(|| format!("scenario {name}"))
    }

    /// The scenario in `text`.
    ///
    /// # Errors
    /// When it says something that is not known.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        if !scenario.steps.is_sorted_by_key(|step| step.at_ms) {
            bail!("the steps are not in order");
        }
        // Whatever is not known is found now and not in the middle of a test.
        scenario.sample_after(u64::MAX)?;
        Ok(scenario)
    }

    /// The sample at the last step.
    ///
    /// # Errors
    /// As [`Scenario::parse`].
    pub(crate) fn end(&self) -> Result<Sample> {
        self.at(Duration::from_millis(self.steps.last().map_or(0, |step| step.at_ms)))
    }

    /// The sample at `passed` after attaching.
    ///
    /// # Errors
    /// As [`Scenario::parse`].
    pub(crate) fn at(&self, passed: Duration) -> Result<Sample> {
        let mut sample = self.sample_after(passed.as_millis() as u64)?;
        sample.begin_ns = ATTACHED_AT_NS + passed.as_nanos() as u64;
        sample.end_ns = sample.begin_ns + READ_NS;
        Ok(sample)
    }

    /// The steps that are over at `passed` after attaching.
    pub(super) fn past(&self, passed: Duration) -> &[Step] {
        let is_over = |step: &&Step| u128::from(step.at_ms) <= passed.as_millis();
        &self.steps[..self.steps.iter().take_while(is_over).count()]
    }

    /// When the target exits, after attaching; `None` if it never does.
    pub(super) fn exits_after(&self) -> Option<Duration> {
        let step = self.steps.iter().find(|step| step.exits)?;
        Some(Duration::from_millis(step.at_ms))
    }

    /// What was counted by `at_ms` after attaching.
    fn sample_after(&self, at_ms: u64) -> Result<Sample> {
        let given = vec![GivenProcess { pid: 1234, comm: self.comm.clone() }];
        let mut sample = Sample {
            format: Format,
            attached_at_ns: ATTACHED_AT_NS,
            begin_ns: ATTACHED_AT_NS,
            end_ns: ATTACHED_AT_NS,
            subject: Subject {
                measured: Measured::Processes { given, follow: false },
                root_namespace: true,
                threads: Reading::Exact(1),
                selection: Selection::default(),
                exited: false,
                why_empty: None,
            },
            kinds: Vec::new(),
            open_calls: None,
            groups: None,
            ledger: LedgerSample {
                program_misses: SkippedRuns::Counted(0),
                ..LedgerSample::default()
            },
            detail: DetailSample { parts: self.parts, ..DetailSample::default() },
            cpu: CpuSample {
                used_ns: Reading::Exact(0),
                io_workers_ns: Reading::Exact(0),
                unseen: 0,
            },
            ring_at_attach: false,
            other_tracers: Some(0),
        };
        let (mut kinds, mut cpu_ns, mut changed_ms) = (BTreeMap::new(), 0, 0);
        for step in self.steps.iter().take_while(|step| step.at_ms <= at_ms) {
            cpu_ns += step.cpu_ns;
            if sample.detail.level != Detail::Full {
                let passed_ms = step.at_ms - changed_ms;
                sample.detail.without_wakeups_ns += passed_ms * 1_000_000;
            }
            changed_ms = step.at_ms;
            sample.detail.level = step.level.unwrap_or(sample.detail.level);
            sample.subject.exited |= step.exits;
            for calls in &step.calls {
                let key = calls.key()?;
                let kind = kinds.entry(key).or_insert_with(|| KindSample::empty(key));
                calls.record(kind, self.parts);
                let counters = &mut sample.ledger.counters;
                counters[Counter::Enters as usize] += calls.count;
                counters[Counter::Matched as usize] += calls.count;
                if calls.unparted {
                    counters[Counter::Unparted as usize] += calls.count;
                }
            }
            for (name, count) in &step.ledger {
                let counter = counter_named(name).with_context(|| format!("counter {name}"))?;
                sample.ledger.counters[counter as usize] += count;
            }
        }
        sample.cpu.used_ns = Reading::Exact(cpu_ns);
        sample.kinds = kinds.into_values().collect();
        Ok(sample)
    }
}

impl Calls {
    fn key(&self) -> Result<KindKey> {
        let abi = match self.abi {
            ScenarioAbi::Native => AbiClass::Native,
            ScenarioAbi::Compat => AbiClass::Compat,
        };
        let named = |name: &String| {
            let nr = (0..NR_OUT_OF_RANGE).find(|nr| syscall::name(Abi::of(abi), *nr) == *name);
            nr.with_context(|| format!("no system call {name}"))
        };
        match (&self.name, self.nr) {
            (Some(name), None) => Ok(KindKey::Call { abi, nr: named(name)? }),
            (None, Some(nr)) => Ok(KindKey::Call { abi, nr }),
            _ => bail!("calls have a name or a number"),
        }
    }

    /// Adds the calls to their kind as the programs in the kernel do.
    fn record(&self, kind: &mut KindSample, parts: bool) {
        let (ns, count) = (self.latency_ns, self.count);
        kind.buckets[bucket_index(ns)] += count;
        kind.sum_ns += ns * count;
        kind.min_ns = kind.min_ns.min(ns);
        kind.max_ns = kind.max_ns.max(ns);
        if self.errno != 0 {
            match kind.errnos.binary_search_by_key(&self.errno, |(errno, _)| *errno) {
                Ok(place) => kind.errnos[place].1 += count,
                Err(place) => kind.errnos.insert(place, (self.errno, count)),
            }
        }
        if !parts || self.unparted {
            return;
        }
        let off = OffCpu { runq_ns: self.runq_ns, blocked_ns: self.blocked_ns }.within(ns);
        let on_cpu_ns = ns - off.runq_ns - off.blocked_ns;
        for (of, ns) in [
            (PartOf::OnCpu, on_cpu_ns),
            (PartOf::Runq, off.runq_ns),
            (PartOf::Blocked, off.blocked_ns),
        ] {
            if ns != 0 || of == PartOf::OnCpu {
                kind.parts[of as usize].sum_ns += ns * count;
                kind.parts[of as usize].buckets[PART.index(ns)] += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_does_not_know_is_an_error() {
        let why = |text: &str| format!("{:#}", Scenario::parse(text).unwrap_err());
        let calls = |calls: &str| why(&format!("[[step]]\nat_ms = 1\ncalls = [{{ {calls} }}]"));
        assert!(why("pid = 7").contains("unknown field `pid`"));
        assert!(calls("name = \"read\", latency = 5").contains("unknown field `latency`"));
        assert!(calls("name = \"raed\", latency_ns = 5").contains("no system call raed"));
        assert!(calls("latency_ns = 5").contains("a name or a number"));
        let counter = why("[[step]]\nat_ms = 1\nledger = { exits_mist = 5 }");
        assert!(counter.contains("counter exits_mist"), "{counter}");
        assert!(why("[[step]]\nat_ms = 2\n[[step]]\nat_ms = 1").contains("not in order"));
        assert!(why("[[row]]\nname = \"read\"\ncalls = 5\nmedian = 5").contains("`median`"));
    }
}
