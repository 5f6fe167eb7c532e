//! The numbers of the machine's CPUs.

use std::{fs, ops::RangeInclusive};

use anyhow::{Context, Result};

/// The CPUs that may ever be online. The list does not change while the machine runs.
const POSSIBLE: &str = "/sys/devices/system/cpu/possible";

/// How many entries an array by CPU needs: the highest number of a possible CPU plus 1. There may be fewer CPUs, because
/// numbers can have gaps.
///
/// # Errors
/// When the kernel's list cannot be read.
pub(super) fn possible_cpus() -> Result<u32> {
    let list = fs::read_to_string(POSSIBLE)
        .with_context(|| format!("cannot read {POSSIBLE}: is /sys mounted?"))?;
    entries(&list)
        .with_context(|| format!("{POSSIBLE} is no list of CPUs: {}", list.escape_debug()))
}

/// Which CPUs are online now.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// The CPUs that are online now; empty if the list cannot be read.
pub(super) fn online_cpus() -> Vec<RangeInclusive<u32>> {
    let list = fs::read_to_string(ONLINE);
    list.ok().and_then(|list| ranges(&list)).unwrap_or_default()
}

/// The highest number in a list like `0-3,8-11`, plus 1.
fn entries(list: &str) -> Option<u32> {
    ranges(list)?.iter().map(|range| *range.end()).max()?.checked_add(1)
}

fn ranges(list: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..=last)
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_reach_up_to_the_highest_number() {
        for (list, expected) in [
            ("0\n", Some(1)),
            ("0-3\n", Some(4)),
            ("0-3,8-11\n", Some(12)),
            ("0,2,5\n", Some(6)),
            ("8-11,0-3\n", Some(12)),
            ("", None),
            ("\n", None),
            ("3-0\n", None),
            ("0-x\n", None),
        ] {
            assert_eq!(entries(list), expected, "{list:?}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        let possible = possible_cpus().unwrap();
        let online = online_cpus();
        assert!(possible >= 1 && online.iter().all(|range| *range.end() < possible));
        assert!(!online.is_empty(), "one runs this");
    }
}
