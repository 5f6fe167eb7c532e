//! Calls added up by the process, thread, cgroup or name that made them.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use syscost_common::cell::PartOf;

use super::{Distribution, PartSums, Parts, TableRow, Total};
use crate::{
    decode::printable::printable,
    group::GroupBy,
    sample::{GroupKey, GroupSample, GroupsSample},
};

/// The digits of the longest PID there can be (PID_MAX_LIMIT, include/linux/threads.h).
const ID_WIDTH: usize = 7;

/// All groups of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// What the calls are added up by.
    pub by: GroupBy,
    /// A row for each group with a finished call in the window, in no particular order.
    pub rows: Vec<GroupRow>,
    /// The sums over all rows.
    pub total: Total,
    /// Calls since attaching that are in the rows of syscalls and not in a group yet, because they ended while
    /// the sample was read. Below 0: calls in a group that were still being recorded in their syscall.
    pub behind: i64,
}

/// One group in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Its identity across windows.
    pub key: GroupKey,
    /// The name of the process, or the path of the cgroup; `None` where it is not known.
    pub name: Option<String>,
    /// Whether a thread that made some of the calls lives.
    pub alive: bool,
    /// How many threads made them; since attach, also in an interval.
    pub threads: u64,
    /// Its calls.
    pub sum: Total,
}

impl Groups {
    /// The difference between two samples. A group that is missing in the later one was merged into the group
    /// of all others: its calls before are subtracted there. `finished`: all calls since attaching.
    pub(super) fn new(sample: &GroupsSample, before: Option<&GroupsSample>, finished: u64) -> Self {
        let before: HashMap<&GroupKey, &GroupSample> = before
            .into_iter()
            .flat_map(|before| &before.groups)
            .map(|group| (&group.key, group))
            .collect();
        let here: HashSet<&GroupKey> = sample.groups.iter().map(|group| &group.key).collect();
        let merged = before.values().filter(|group| !here.contains(&group.key));
        let merged = merged.map(|group| sum(group)).fold(Total::default(), Total::plus);
        let rows: Vec<_> = sample
            .groups
            .iter()
            .filter_map(|group| {
                let before = before.get(&group.key).map_or(Total::default(), |group| sum(group));
                match group.key {
                    GroupKey::Other => GroupRow::new(group, before.plus(merged)),
                    _ => GroupRow::new(group, before),
                }
            })
            .collect();
        let grouped: u64 = sample.groups.iter().map(|group| group.calls).sum();
        let behind = finished.wrapping_sub(grouped) as i64;
        Self { by: sample.by, total: Total::of(&rows), behind, rows }
    }
}

fn sum(group: &GroupSample) -> Total {
    let [on_cpu_ns, runq_ns, blocked_ns] =
        [PartOf::OnCpu, PartOf::Runq, PartOf::Blocked].map(|of| group.parts_ns[of as usize]);
    Total {
        calls: group.calls,
        errors: group.errors,
        total_ns: group.total_ns,
        parts: PartSums { calls: group.parted, on_cpu_ns, runq_ns, blocked_ns },
    }
}

impl GroupRow {
    /// The row of a group: its calls since `before`; `None` where there are none.
    fn new(group: &GroupSample, before: Total) -> Option<Self> {
        let sum = sum(group).less(before);
        (sum.calls > 0).then(|| Self {
            key: group.key.clone(),
            name: group.name.clone(),
            alive: group.alive,
            threads: group.threads,
            sum,
        })
    }
}

impl TableRow for GroupRow {
    /// A PID or TID stands before the name, right-aligned to the longest there are.
    fn title(&self) -> Cow<'_, str> {
        match (&self.key, &self.name) {
            (GroupKey::Process { pid: id, .. } | GroupKey::Thread { tid: id, .. }, name) => {
                let name = name.as_deref().unwrap_or_default();
                Cow::Owned(format!("{id:>ID_WIDTH$} {}", printable(name)))
            }
            (GroupKey::Cgroup { .. }, Some(path)) => printable(path),
            (GroupKey::Cgroup { id }, None) => Cow::Owned(format!("(cgroup {id}, gone)")),
            (GroupKey::Comm(name), _) => printable(name),
            (GroupKey::Other, _) => {
                let noun = if self.threads == 1 { "thread" } else { "threads" };
                Cow::Owned(format!("(other: {} {noun})", self.threads))
            }
        }
    }

    fn sum(&self) -> Total {
        self.sum
    }

    fn latency(&self) -> Option<&Distribution> {
        None
    }

    fn parts(&self) -> Option<&Parts> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, calls: u64) -> GroupSample {
        GroupSample {
            key: GroupKey::Comm(name.to_owned()),
            name: None,
            alive: true,
            threads: 1,
            calls,
            errors: calls / 2,
            total_ns: calls * 100,
            parts_ns: [calls * 70, calls * 10, calls * 20],
            parted: calls,
        }
    }

    fn sample(groups: &[(&str, u64)]) -> GroupsSample {
        let groups = groups.iter().map(|(name, calls)| group(name, *calls)).collect();
        GroupsSample { by: GroupBy::Comm, groups, recording: 0 }
    }

    fn total(calls: u64) -> Total {
        let parts =
            PartSums { calls, on_cpu_ns: calls * 70, runq_ns: calls * 10, blocked_ns: calls * 20 };
        Total { calls, errors: calls / 2, total_ns: calls * 100, parts }
    }

    #[test]
    fn a_window_has_what_came_since_the_sample_before() {
        let before = sample(&[("idle", 7), ("busy", 10)]);
        let now = sample(&[("new", 4), ("busy", 30), ("idle", 7)]);
        let groups = Groups::new(&now, Some(&before), 0);
        let rows: Vec<_> =
            groups.rows.iter().map(|row| (row.title().into_owned(), row.sum)).collect();
        assert_eq!(rows, [("new".to_owned(), total(4)), ("busy".to_owned(), total(20)),]);
        assert_eq!(groups.total, total(24));
        let since_attach = Groups::new(&now, None, 43);
        assert_eq!((since_attach.total.calls, since_attach.behind), (41, 2));
        let recording = Groups::new(&now, None, 40);
        assert_eq!((recording.total.calls, recording.behind), (41, -1));
    }

    #[test]
    fn what_was_merged_counts_once_over_all_windows() {
        let other = |calls| GroupSample { key: GroupKey::Other, ..group("", calls) };
        let groups = |names: &[(&str, u64)], others| {
            let mut sample = sample(names);
            sample.groups.push(other(others));
            sample
        };
        // Two end without room; one of them was in a row of its own, and made 5 calls more.
        let before = groups(&[("a", 10), ("b", 20)], 100);
        let now = groups(&[("a", 11)], 100 + 25 + 3);
        let window = Groups::new(&now, Some(&before), 0);
        let rows: Vec<_> = window.rows.iter().map(|row| (&row.key, row.sum.calls)).collect();
        assert_eq!(rows, [(&GroupKey::Comm("a".to_owned()), 1), (&GroupKey::Other, 8)]);
        assert_eq!(window.total.calls, 9);
        assert_eq!(window.total.parts.on_cpu_ns, 9 * 70);
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let process = |started_at_ns, calls| GroupSample {
            key: GroupKey::Process { pid: 7, started_at_ns },
            ..group("sh", calls)
        };
        let sample = |groups| GroupsSample { by: GroupBy::Process, groups, recording: 0 };
        let before = sample(vec![process(1, 100)]);
        let now = sample(vec![process(1, 100), process(2, 3)]);
        let groups = Groups::new(&now, Some(&before), 0);
        assert_eq!(groups.rows.len(), 1);
        assert_eq!(groups.total.calls, 3);
    }
}
