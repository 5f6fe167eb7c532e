//! The clock of the programs, in user space.

use std::{fs, sync::OnceLock};

/// The time, ns of the kernel's CLOCK_MONOTONIC: the clock of `bpf_ktime_get_ns`. In a time namespace, user space sees
/// another CLOCK_MONOTONIC.
pub(crate) fn monotonic_ns() -> u64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the place given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    u64::try_from(now.wrapping_sub(*OFFSET.get_or_init(own_offset_ns))).unwrap_or(0)
}

/// The offset of this process's time namespace, ns; 0 where there are no time namespaces.
fn own_offset_ns() -> i64 {
    let namespace = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    // The file shows the offsets for future children.
    if namespace("time") != namespace("time_for_children") {
        return 0;
    }
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    offset_ns(&offsets).unwrap_or(0)
}

/// The offset of CLOCK_MONOTONIC in a `timens_offsets` (time_namespaces(7)), ns.
fn offset_ns(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    let (seconds, ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_the_kernel_writes_them() {
        let text = "monotonic      100000         0\nboottime            0         0\n";
        assert_eq!(offset_ns(text), Some(100_000_000_000_000));
        assert_eq!(offset_ns("monotonic          -1 500000000\n"), Some(-500_000_000));
        assert_eq!(offset_ns("boottime 1 1\n"), None);
        assert_eq!(offset_ns(""), None);
    }
}
