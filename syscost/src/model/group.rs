//! The calls by who made them: by process, thread, cgroup or name.

use std::{borrow::Cow, collections::HashMap};

use syscost_common::cell::PartOf;

use super::{Counted, Distribution, PartSums, Parts, Total};
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
    /// All rows taken together.
    pub total: Total,
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
    /// Its calls.
    pub sum: Total,
}

impl Groups {
    /// The groups of a sample, less those before.
    pub(super) fn new(sample: &GroupsSample, before: Option<&GroupsSample>) -> Self {
        let before: HashMap<&GroupKey, &GroupSample> = before
            .into_iter()
            .flat_map(|before| &before.groups)
            .map(|group| (&group.key, group))
            .collect();
        let rows: Vec<_> = sample
            .groups
            .iter()
            .filter_map(|group| GroupRow::new(group, before.get(&group.key).copied()))
            .collect();
        Self { by: sample.by, total: Total::of(&rows), rows }
    }
}

impl GroupRow {
    /// The row of a group's calls, less those before; `None` when no call is left.
    fn new(group: &GroupSample, before: Option<&GroupSample>) -> Option<Self> {
        let since =
            |get: fn(&GroupSample) -> u64| get(group) - before.map_or(0, get).min(get(group));
        let sum = Total {
            calls: since(|group| group.calls),
            errors: since(|group| group.errors),
            total_ns: since(|group| group.total_ns),
            parts: PartSums {
                calls: since(|group| group.parted),
                on_cpu_ns: since(|group| group.parts_ns[PartOf::OnCpu as usize]),
                runq_ns: since(|group| group.parts_ns[PartOf::Runq as usize]),
                blocked_ns: since(|group| group.parts_ns[PartOf::Blocked as usize]),
            },
        };
        (sum.calls > 0).then(|| Self {
            key: group.key.clone(),
            name: group.name.clone(),
            alive: group.alive,
            sum,
        })
    }
}

impl Counted for GroupRow {
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
            (GroupKey::Other, _) => Cow::Borrowed("(other)"),
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
            calls,
            errors: calls / 2,
            total_ns: calls * 100,
            parts_ns: [calls * 70, calls * 10, calls * 20],
            parted: calls,
        }
    }

    fn sample(groups: &[(&str, u64)]) -> GroupsSample {
        let groups = groups.iter().map(|(name, calls)| group(name, *calls)).collect();
        GroupsSample { by: GroupBy::Comm, groups }
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
        let groups = Groups::new(&now, Some(&before));
        let rows: Vec<_> =
            groups.rows.iter().map(|row| (row.title().into_owned(), row.sum)).collect();
        assert_eq!(rows, [("new".to_owned(), total(4)), ("busy".to_owned(), total(20)),]);
        assert_eq!(groups.total, total(24));
        assert_eq!(Groups::new(&now, None).total.calls, 41);
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let process = |started_at_ns, calls| GroupSample {
            key: GroupKey::Process { pid: 7, started_at_ns },
            ..group("sh", calls)
        };
        let sample = |groups| GroupsSample { by: GroupBy::Process, groups };
        let before = sample(vec![process(1, 100)]);
        let now = sample(vec![process(1, 100), process(2, 3)]);
        let groups = Groups::new(&now, Some(&before));
        assert_eq!(groups.rows.len(), 1);
        assert_eq!(groups.total.calls, 3);
    }
}
