//! Programs of other tracers at the hooks of calls. Their run time is part of the measured latencies.

use super::bpf;

/// The tracepoints at both ends of a call.
const HOOKS: [&str; 2] = ["sys_enter", "sys_exit"];

/// How many BPF programs are attached there by links, of any process; `None` if the kernel does not let links be listed
/// (that takes CAP_SYS_ADMIN). Older tools attach by ioctl: their programs have no link and are not found.
pub(super) fn count() -> Option<u32> {
    let mut found = 0;
    let mut after = 0;
    while let Some(id) = bpf::next_link(after).ok()? {
        after = id;
        // The link may be gone by now.
        let tracepoint = bpf::tracepoint_of_link(id);
        found += u32::from(tracepoint.is_some_and(|name| HOOKS.contains(&name.as_str())));
    }
    Some(found)
}
