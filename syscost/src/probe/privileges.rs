//! What this process may do, and how old the kernel is.

use std::{fs, os::unix::fs::MetadataExt};

use anyhow::{Context, Result, bail};
use procfs::{process::Process, sys::kernel::Version};

/// Some capabilities of include/uapi/linux/capability.h.
pub(super) const CAP_SYS_PTRACE: u32 = 19;
pub(super) const CAP_SYS_ADMIN: u32 = 21;
pub(super) const CAP_SYS_RESOURCE: u32 = 24;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The inode of the root user namespace (PROC_USER_INIT_INO, include/linux/proc_ns.h).
const ROOT_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Why capabilities are no help in a container.
pub(super) const OF_USER_NAMESPACE: &str = "the capabilities of this process hold in a user namespace only; run \
                                            syscost as root of the host, outside the container";

/// # Errors
/// When this process may not load tracing programs.
pub(super) fn require() -> Result<()> {
    if !may_trace(capabilities()?) {
        bail!("cannot load BPF programs: needs CAP_BPF and CAP_PERFMON (try sudo)");
    }
    if in_user_namespace() {
        bail!("cannot load BPF programs: {OF_USER_NAMESPACE}");
    }
    Ok(())
}

/// Whether this process is in a user namespace that is not the root one.
pub(super) fn in_user_namespace() -> bool {
    // Kernels without user namespaces have no such file.
    fs::metadata("/proc/self/ns/user").is_ok_and(|own| own.ino() != ROOT_USER_NAMESPACE)
}

/// The effective capabilities, one bit each.
pub(super) fn capabilities() -> Result<u64> {
    let status = Process::myself().and_then(|process| process.status());
    Ok(status.context("cannot read /proc/self/status")?.capeff)
}

/// Whether `capabilities` has `capability`.
pub(super) const fn has(capabilities: u64, capability: u32) -> bool {
    capabilities & (1 << capability) != 0
}

/// Whether `capabilities` suffice to load tracing programs.
pub(super) const fn may_trace(capabilities: u64) -> bool {
    has(capabilities, CAP_SYS_ADMIN) || has(capabilities, CAP_BPF) && has(capabilities, CAP_PERFMON)
}

/// Whether the running kernel is `major.minor` or newer.
pub(super) fn kernel_is_at_least(major: u8, minor: u8) -> bool {
    Version::current().is_ok_and(|version| (version.major, version.minor) >= (major, minor))
}
