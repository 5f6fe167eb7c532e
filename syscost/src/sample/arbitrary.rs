//! Random samples for property tests. Counters stay small enough to be added up.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
};
use syscost_common::{
    cell::PARTS,
    hist::{BUCKETS, PART_BUCKETS},
    kind::AbiClass,
    ledger::Counter,
};

use super::{
    CpuSample, Detail, DetailSample, Format, GivenProcess, GivenThread, GroupKey, GroupSample,
    GroupsSample, KindKey, KindSample, LedgerSample, Measured, OpenCallSample, Sample, SkippedRuns,
    Subject, ThreadName, WhyEmpty,
};
use crate::{
    filter::{Outcome, SelectedCalls, Selection},
    group::GroupBy,
    reading::Reading,
};

/// Any sample.
pub(crate) fn sample() -> impl Strategy<Value = Sample> {
    let times = (count(), count(), 0u64..1 << 30);
    let contents = (subject(), kinds(), option::of(open_calls()), option::of(groups()));
    let rest = (ledger(), detail(), cpu(), any::<bool>(), option::of(0u32..9));
    (times, contents, rest).prop_map(|(times, contents, rest)| {
        let (attached_at_ns, begin_ns, read_ns) = times;
        let (subject, kinds, open_calls, groups) = contents;
        let (ledger, detail, cpu, ring_at_attach, other_tracers) = rest;
        Sample {
            format: Format,
            attached_at_ns,
            begin_ns,
            end_ns: begin_ns + read_ns,
            subject,
            kinds,
            open_calls,
            groups,
            ledger,
            detail,
            cpu,
            ring_at_attach,
            other_tracers,
        }
    })
}

/// A number of calls or of ns, often small.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..20, 0u64..1 << 40]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "\\PC{0,15}"]
}

fn subject() -> impl Strategy<Value = Subject> {
    let process = (0u32..9, name()).prop_map(|(pid, comm)| GivenProcess { pid, comm });
    let thread =
        (0u32..9, 0u32..9, name()).prop_map(|(tid, pid, comm)| GivenThread { tid, pid, comm });
    let measured =
        prop_oneof![
            (vec(process, 1..3), any::<bool>())
                .prop_map(|(given, follow)| Measured::Processes { given, follow }),
            vec(thread, 1..3).prop_map(|given| Measured::Threads { given }),
            (0u32..9, name()).prop_map(|(pid, line)| Measured::Command { pid, line }),
            name().prop_map(Measured::Comm),
            name().prop_map(|path| Measured::Cgroup { path }),
            (name(), option::of(name()), name())
                .prop_map(|(id, name, runtime)| Measured::Container { id, name, runtime }),
            (0u32..9, option::of(name())).prop_map(|(uid, name)| Measured::User { uid, name }),
            Just(Measured::Host),
        ];
    let calls = (vec(name(), 0..3), any::<bool>(), any::<bool>())
        .prop_map(|(words, negated, nothing)| SelectedCalls { words, negated, nothing });
    let outcome = prop_oneof![
        Just(Outcome::Any),
        Just(Outcome::Failed),
        vec(1u16..134, 1..3).prop_map(Outcome::Errnos),
    ];
    let selection =
        (option::of(calls), outcome).prop_map(|(calls, outcome)| Selection { calls, outcome });
    let why_empty = option::of(prop_oneof![
        Just(WhyEmpty::NoProcess),
        (1usize..9).prop_map(WhyEmpty::OnlyChildren),
        Just(WhyEmpty::NoKinds),
    ]);
    (measured, any::<bool>(), reading(0u32..9), selection, any::<bool>(), why_empty).prop_map(
        |(measured, root_namespace, threads, selection, exited, why_empty)| Subject {
            measured,
            root_namespace,
            threads,
            selection,
            exited,
            why_empty,
        },
    )
}

fn reading<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Reading<T>> {
    (0..4, value).prop_map(|(trust, value)| match trust {
        0 => Reading::NotCollected,
        1 => Reading::Estimated(value),
        2 => Reading::Partial(value),
        _ => Reading::Exact(value),
    })
}

fn abi() -> impl Strategy<Value = AbiClass> {
    prop_oneof![Just(AbiClass::Native), Just(AbiClass::Compat), Just(AbiClass::X32)]
}

fn kinds() -> impl Strategy<Value = Vec<KindSample>> {
    let key = prop_oneof![
        8 => (abi(), 0u32..8).prop_map(|(abi, nr)| KindKey::Call { abi, nr }),
        1 => Just(KindKey::Overflow),
    ];
    let parts = vec((count(), vec((0..PART_BUCKETS, count()), 0..3)), PARTS);
    let latencies = (count(), count(), count(), vec((0..BUCKETS, count()), 0..4));
    let errnos = btree_map(0u16..134, 1u64..99, 0..3);
    btree_map(key, (latencies, parts, errnos), 0..5).prop_map(|kinds| {
        let kind = |(key, (latencies, parts, errnos)): (_, (_, Vec<_>, BTreeMap<_, _>))| {
            let (sum_ns, min_ns, max_ns, buckets): (_, _, _, Vec<_>) = latencies;
            let mut kind = KindSample { sum_ns, min_ns, max_ns, ..KindSample::empty(key) };
            for (index, count) in buckets {
                kind.buckets[index] = count;
            }
            for (part, (sum_ns, buckets)) in kind.parts.iter_mut().zip(parts) {
                part.sum_ns = sum_ns;
                for (index, count) in buckets {
                    part.buckets[index] = count;
                }
            }
            kind.errnos = errnos.into_iter().collect();
            kind
        };
        kinds.into_iter().map(kind).collect()
    })
}

fn open_calls() -> impl Strategy<Value = Vec<OpenCallSample>> {
    let args = option::of(any::<[u64; 6]>());
    let state = (any::<bool>(), args, option::of(any::<bool>()), any::<bool>());
    let call = (name(), abi(), 0u32..460, option::of(count()), state);
    btree_map((0u32..6, 0u32..3), call, 0..4).prop_map(|calls| {
        let call = |((tid, pid), (comm, abi, nr, entered_at_ns, state))| {
            let (sampled_out, args, runnable, interrupted) = state;
            let thread = ThreadName { tid, pid, comm };
            OpenCallSample {
                thread,
                abi,
                nr,
                entered_at_ns,
                sampled_out,
                args,
                runnable,
                interrupted,
            }
        };
        calls.into_iter().map(call).collect()
    })
}

fn groups() -> impl Strategy<Value = GroupsSample> {
    let key = prop_oneof![
        (0u32..5, 0u64..3)
            .prop_map(|(pid, started_at_ns)| GroupKey::Process { pid, started_at_ns }),
        (0u32..5, 0u64..3).prop_map(|(tid, started_at_ns)| GroupKey::Thread { tid, started_at_ns }),
        (0u64..5).prop_map(|id| GroupKey::Cgroup { id }),
        name().prop_map(GroupKey::Comm),
        Just(GroupKey::Other),
    ];
    let by = prop_oneof![
        Just(GroupBy::Process),
        Just(GroupBy::Thread),
        Just(GroupBy::Cgroup),
        Just(GroupBy::Comm)
    ];
    let sums = (count(), count(), count(), count(), [count(), count(), count()], count());
    let group = (option::of(name()), any::<bool>(), sums);
    (by, btree_map(key, group, 0..6), count()).prop_map(|(by, groups, recording)| {
        let group = |(key, (name, alive, sums))| {
            let (threads, calls, errors, total_ns, parts_ns, parted) = sums;
            GroupSample { key, name, alive, threads, calls, errors, total_ns, parts_ns, parted }
        };
        GroupsSample { by, groups: groups.into_iter().map(group).collect(), recording }
    })
}

fn ledger() -> impl Strategy<Value = LedgerSample> {
    // Counters that have no name are not kept.
    let named = btree_set(0..super::ledger::ALL.len(), 0..6);
    let misses = prop_oneof![
        Just(SkippedRuns::NotCounted),
        Just(SkippedRuns::Unknown),
        count().prop_map(SkippedRuns::Counted),
    ];
    (named, vec(count(), 6), count(), misses).prop_map(|(named, counts, recording, misses)| {
        let mut ledger =
            LedgerSample { recording, program_misses: misses, ..LedgerSample::default() };
        for (place, count) in named.into_iter().zip(counts) {
            let counter: Counter = super::ledger::ALL[place];
            ledger.counters[counter as usize] = count;
        }
        ledger
    })
}

fn detail() -> impl Strategy<Value = DetailSample> {
    let level = (0..Detail::ALL.len()).prop_map(|place| Detail::ALL[place]);
    (any::<bool>(), level, count()).prop_map(|(parts, level, without_wakeups_ns)| DetailSample {
        parts,
        level,
        without_wakeups_ns,
    })
}

fn cpu() -> impl Strategy<Value = CpuSample> {
    (reading(count()), reading(count()), count())
        .prop_map(|(used_ns, io_workers_ns, unseen)| CpuSample { used_ns, io_workers_ns, unseen })
}
