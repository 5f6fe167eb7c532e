//! Checks that the numbers of a sample agree wherever they are counted independently of each other.
//! A failed check means that the measurement itself is wrong: it is shown, and no number is exact.
//!
//! Maps that change are read one after the other. The tolerance of a check is what the sample itself says about
//! that: how many calls were being recorded, or the order in which counters move. What has no such bound is checked at the end of the measurement only,
//! when nothing moves any more.
//!
//! The sum of the exits cannot be checked: no program counts exits but by what they were.

use syscost_common::{
    cell::PartOf,
    hist::{PART, bucket_bounds},
    ledger::Counter,
};

use super::Ledger;
use crate::sample::{GroupSample, KindKey, KindSample, PartSample, Sample};

/// Two numbers that do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The [id](Check::id) of the check that failed.
    pub check: &'static str,
    /// The numbers, in a few words.
    pub text: String,
}

/// Something that holds for every sample of a sound measurement.
pub struct Check {
    /// Its name in `losses` of JSON.
    pub id: &'static str,
    /// What holds.
    pub holds: &'static str,
    /// Whether it holds only once the measurement has ended.
    at_end: bool,
    /// What contradicts it.
    find: fn(&Facts<'_>) -> Option<String>,
}

/// What the checks are about.
struct Facts<'a> {
    sample: &'a Sample,
    before: Option<&'a Sample>,
    ledger: &'a Ledger,
    /// Calls that may be in the sample in part.
    recording: u64,
    /// Whether the measurement has ended.
    ended: bool,
}

/// Whether a processor shows stores to others in the order in which they were made. If not, a call may be
/// in its bucket before the rest of it can be read, and every check waits for the end.
const STORES_IN_ORDER: bool = cfg!(target_arch = "x86_64");

/// Every check.
pub static CHECKS: &[Check] = &[
    Check {
        id: "check_recorded",
        holds: "each call that was recorded is in a histogram",
        at_end: false,
        find: recorded,
    },
    Check {
        id: "check_enters",
        holds: "no more calls have ended than were entered",
        at_end: true,
        find: enters,
    },
    Check {
        id: "check_in_flight",
        holds: "each open call that was seen to begin is one of those in flight",
        at_end: true,
        find: in_flight,
    },
    Check {
        id: "check_errors",
        holds: "no syscall has more errors than calls",
        at_end: false,
        find: errors,
    },
    Check {
        id: "check_latencies",
        holds: "the sum of latencies is one that the calls of the histogram can have",
        at_end: false,
        find: latencies,
    },
    Check {
        id: "check_parts",
        holds: "the parts of latencies are within the latencies, and add up to them where all are known",
        at_end: false,
        find: parts,
    },
    Check {
        id: "check_unparted",
        holds: "the calls without parts are those that were counted as such",
        at_end: false,
        find: unparted,
    },
    Check {
        id: "check_shared_row",
        holds: "the calls in the row (other) are those that found no row of their own",
        at_end: false,
        find: shared_row,
    },
    Check {
        id: "check_within",
        holds: "no more calls are abandoned, or sampled, than recorded",
        at_end: true,
        find: within,
    },
    Check {
        id: "check_groups",
        holds: "the groups have as many calls, errors and time as the syscalls",
        at_end: true,
        find: groups,
    },
    Check {
        id: "check_growth",
        holds: "neither the calls nor the time of a syscall become less",
        at_end: false,
        find: growth,
    },
];

/// What does not agree in `sample`, and with the sample `before`.
pub(super) fn contradictions(
    sample: &Sample,
    before: Option<&Sample>,
    ledger: &Ledger,
) -> Vec<Contradiction> {
    let facts = Facts {
        sample,
        before,
        ledger,
        recording: recording(sample),
        ended: sample.read_ns() == 0,
    };
    let failed = |check: &Check| {
        let text = (check.find)(&facts)?;
        Some(Contradiction { check: check.id, text })
    };
    let due = |check: &&Check| facts.ended || STORES_IN_ORDER && !check.at_end;
    CHECKS.iter().filter(due).filter_map(failed).collect()
}

/// Calls of `sample` that were being recorded while they were read.
pub(super) fn recording(sample: &Sample) -> u64 {
    sample.ledger.recording + sample.groups.as_ref().map_or(0, |groups| groups.recording)
}

fn recorded(facts: &Facts<'_>) -> Option<String> {
    let recorded = facts.ledger.counter(Counter::Matched);
    let counted: u64 = facts.sample.kinds.iter().map(KindSample::calls).sum();
    // A call's recording begins before it is in its bucket.
    let agree = counted <= recorded && recorded - counted <= facts.recording;
    (!agree).then(|| format!("{recorded} calls recorded, {counted} in the histograms"))
}

fn enters(facts: &Facts<'_>) -> Option<String> {
    let (enters, ended) = (facts.ledger.counter(Counter::Enters), facts.ledger.ended());
    (ended > enters).then(|| format!("{ended} calls ended, {enters} entered"))
}

fn in_flight(facts: &Facts<'_>) -> Option<String> {
    // With sampling, the list also has the calls that were sampled out.
    if facts.ledger.counter(Counter::Sampled) > 0 || facts.ledger.counter(Counter::SampledOut) > 0 {
        return None;
    }
    let calls = facts.sample.open_calls.as_ref()?;
    let listed = calls.iter().filter(|call| call.entered_at_ns.is_some()).count() as u64;
    let in_flight = facts.ledger.in_flight();
    // A thread that ended after the measurement, and before it was looked at, has left no call.
    (listed > in_flight).then(|| format!("{listed} open calls listed, {in_flight} in flight"))
}

fn errors(facts: &Facts<'_>) -> Option<String> {
    facts.sample.kinds.iter().find_map(|kind| {
        let errors: u64 = kind.errnos.iter().map(|(_, count)| count).sum();
        let calls = kind.calls();
        (errors > calls + facts.recording)
            .then(|| format!("{errors} errors in {calls} calls of one syscall"))
    })
}

fn latencies(facts: &Facts<'_>) -> Option<String> {
    facts.sample.kinds.iter().filter(|kind| kind.calls() > 0).find_map(|kind| {
        let &KindSample { min_ns, max_ns, sum_ns, .. } = kind;
        if min_ns > max_ns {
            return Some(format!("the shortest latency {min_ns} ns, the longest {max_ns} ns"));
        }
        let bounds = |index| {
            let (low, high) = bucket_bounds(index);
            (low.max(min_ns), high.min(max_ns))
        };
        let possible = Possible::of(&kind.buckets[..], bounds).and_up_to(facts.recording, max_ns);
        possible.contradicts(sum_ns).then(|| format!("{sum_ns} ns of latency, {possible}"))
    })
}

fn parts(facts: &Facts<'_>) -> Option<String> {
    facts.sample.kinds.iter().filter(|kind| kind.calls() > 0).find_map(|kind| {
        let calls = kind.calls() + facts.recording;
        let part = |of: PartOf| &kind.parts[of as usize];
        let counts = |of| part(of).buckets.iter().sum::<u64>();
        // Each call whose parts are known is in the histogram of the time on a CPU.
        let parted = counts(PartOf::OnCpu);
        let most = parted + facts.recording;
        if parted > calls || counts(PartOf::Runq) > most || counts(PartOf::Blocked) > most {
            return Some(format!("the parts of {parted} calls, of {calls} of one syscall"));
        }
        let all = [PartOf::OnCpu, PartOf::Runq, PartOf::Blocked];
        let beyond = all.into_iter().find_map(|of| beyond(part(of), kind.max_ns, facts.recording));
        beyond.or_else(|| {
            let sum = all.into_iter().map(|of| part(of).sum_ns).sum::<u64>();
            let rest = u128::from(calls.saturating_sub(parted)) * u128::from(kind.max_ns);
            let latency = kind.sum_ns;
            let agree = latency.checked_sub(sum).is_some_and(|rest_ns| u128::from(rest_ns) <= rest);
            (!agree).then(|| format!("{latency} ns of latency, {sum} ns of parts in one syscall"))
        })
    })
}

/// What the histogram of a part says against its sum.
fn beyond(part: &PartSample, max_ns: u64, recording: u64) -> Option<String> {
    let bounds = |index| {
        let (low, high) = PART.bounds(index);
        (low, high.min(max_ns.max(low)))
    };
    let possible = Possible::of(&part.buckets[..], bounds).and_up_to(recording, max_ns);
    let sum_ns = part.sum_ns;
    possible.contradicts(sum_ns).then(|| format!("{sum_ns} ns of a part, {possible}"))
}

fn unparted(facts: &Facts<'_>) -> Option<String> {
    // Hooks that see no context switches count none.
    if !facts.sample.detail.parts {
        return None;
    }
    let on_cpu = |kind: &KindSample| kind.parts[PartOf::OnCpu as usize].buckets.iter().sum::<u64>();
    let sum = |count: fn(&KindSample) -> u64| facts.sample.kinds.iter().map(count).sum::<u64>();
    let parted: u64 = facts.sample.kinds.iter().map(on_cpu).sum();
    let without = sum(KindSample::calls).saturating_sub(parted);
    let counted = facts.ledger.counter(Counter::Unparted);
    // Such a call is counted before it is in its bucket, and these counters are read after the buckets.
    let agree = without <= counted + facts.recording
        && (!facts.ended || counted <= without + facts.recording);
    (!agree).then(|| format!("{without} calls without parts, {counted} counted as such"))
}

fn shared_row(facts: &Facts<'_>) -> Option<String> {
    let shared = facts.sample.kinds.iter().find(|kind| kind.key == KindKey::Overflow);
    let shared = shared.map_or(0, KindSample::calls);
    let counted = facts.ledger.counter(Counter::SlotsFull);
    // Such a call is counted before it is recorded.
    let agree = shared <= counted && (!facts.ended || counted <= shared + facts.recording);
    (!agree).then(|| format!("{shared} calls in the row (other), {counted} counted as such"))
}

fn within(facts: &Facts<'_>) -> Option<String> {
    let recorded = facts.ledger.counter(Counter::Matched);
    let sampled = facts.ledger.counter(Counter::Sampled) + facts.ledger.counter(Counter::StoodFor);
    [(facts.ledger.counter(Counter::Abandoned), "abandoned"), (sampled, "sampled")]
        .into_iter()
        .find(|(calls, _)| *calls > recorded)
        .map(|(calls, what)| format!("{calls} calls {what}, {recorded} recorded"))
}

fn groups(facts: &Facts<'_>) -> Option<String> {
    let groups = &facts.sample.groups.as_ref()?.groups;
    if facts.recording > 0 {
        return None;
    }
    let kinds = &facts.sample.kinds;
    let of_groups = |get: fn(&GroupSample) -> u64| groups.iter().map(get).sum::<u64>();
    let of_kinds = |get: fn(&KindSample) -> u64| kinds.iter().map(get).sum::<u64>();
    [
        ("calls", of_groups(|group| group.calls), of_kinds(KindSample::calls)),
        (
            "errors",
            of_groups(|group| group.errors),
            of_kinds(|kind| kind.errnos.iter().map(|(_, count)| count).sum()),
        ),
        ("ns of latency", of_groups(|group| group.total_ns), of_kinds(|kind| kind.sum_ns)),
    ]
    .into_iter()
    .find(|(_, groups, kinds)| groups != kinds)
    .map(|(what, groups, kinds)| format!("{groups} {what} in the groups, {kinds} in the syscalls"))
}

fn growth(facts: &Facts<'_>) -> Option<String> {
    facts.before?.kinds.iter().find_map(|before| {
        let now = facts.sample.kinds.iter().find(|now| now.key == before.key);
        let (calls, sum_ns) = now.map_or((0, 0), |now| (now.calls(), now.sum_ns));
        (calls < before.calls() || sum_ns < before.sum_ns).then(|| {
            let before = (before.calls(), before.sum_ns);
            let text = |(calls, ns): (u64, u64)| format!("{calls} calls of {ns} ns");
            format!("{} of a syscall, then {}", text(before), text((calls, sum_ns)))
        })
    })
}

/// The sums that the calls of a histogram can have, ns.
struct Possible {
    least: u128,
    most: u128,
}

impl Possible {
    fn of(buckets: &[u64], bounds: impl Fn(usize) -> (u64, u64)) -> Self {
        let mut possible = Self { least: 0, most: 0 };
        for (index, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (low, high) = bounds(index);
            possible.least += u128::from(low) * u128::from(*count);
            possible.most += u128::from(high.max(low)) * u128::from(*count);
        }
        possible
    }

    /// With up to so many `calls` more or less, none of which is longer than `max_ns`.
    fn and_up_to(mut self, calls: u64, max_ns: u64) -> Self {
        let more = u128::from(calls) * u128::from(max_ns);
        self.least = self.least.saturating_sub(more);
        self.most += more;
        self
    }

    fn contradicts(&self, sum_ns: u64) -> bool {
        !(self.least..=self.most).contains(&sum_ns.into())
    }
}

impl std::fmt::Display for Possible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {} by its histogram", self.least, self.most)
    }
}

#[cfg(test)]
mod tests;
