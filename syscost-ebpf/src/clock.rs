//! The one clock that everything is timed by.

use aya_ebpf::helpers::bpf_ktime_get_ns;

/// ns of CLOCK_MONOTONIC.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
