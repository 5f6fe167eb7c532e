//! Preflight: will tracing work here, with which hooks, and what will be missing?

use std::fs;

use anyhow::{Context, Result, bail};
use syscost_common::{cell::PartOf, thread_state::MAX_THREADS_BY_TID};

use super::{
    Probe, kernel_btf, kernel_btf::KernelBtf, map_bytes_at_most, namespace::Namespace, preemption,
};
use crate::{
    preflight::{Finding, Report, Verdict},
    proc::is_in_root_namespace,
    request::{HookChoice, Hooks, Request},
    sample::{KindKey, KindSample, SkippedRuns},
};

/// Some of include/uapi/linux/capability.h.
const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Looks at everything tracing depends on; at the end, traces this process for a moment.
pub fn check(choice: HookChoice) -> Report {
    let mut findings = vec![kernel(), btf(), jit(), privileges(), other_users()];
    findings.extend(memory_limit());
    if findings.iter().all(|finding| finding.verdict != Verdict::Bad) {
        findings.push(pid_namespace());
    }
    if findings.iter().all(|finding| finding.verdict != Verdict::Bad) {
        findings.extend(trial(choice));
    }
    findings.push(blind_spots());
    Report { findings }
}

/// # Errors
/// When this process may not load tracing programs.
pub(super) fn require_privileges() -> Result<()> {
    if !has_privileges(effective_capabilities()?) {
        bail!("cannot load BPF programs: needs CAP_BPF and CAP_PERFMON (try sudo)");
    }
    if in_user_namespace() {
        bail!("cannot load BPF programs: {OF_USER_NAMESPACE}");
    }
    Ok(())
}

/// The inode of the root user namespace (PROC_USER_INIT_INO, include/linux/proc_ns.h).
const ROOT_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

const OF_USER_NAMESPACE: &str = "the capabilities of this process hold in a user namespace only; run syscost as root \
                                 of the host, outside the container";

fn in_user_namespace() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Kernels without the namespaces have only the root.
    fs::metadata("/proc/self/ns/user").is_ok_and(|own| own.ino() != ROOT_USER_NAMESPACE)
}

fn has_privileges(capabilities: u64) -> bool {
    let has = |capability: u32| capabilities & (1 << capability) != 0;
    has(CAP_SYS_ADMIN) || has(CAP_BPF) && has(CAP_PERFMON)
}

fn effective_capabilities() -> Result<u64> {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    Ok(status.context("cannot read /proc/self/status")?.capeff)
}

/// Whether attaching to perf's tracepoints, on a kernel where that is to be done, takes CAP_SYS_ADMIN
/// instead of CAP_PERFMON. The kernel itself knows levels up to 2 of `kernel.perf_event_paranoid`, and
/// CAP_PERFMON overrides them all (Documentation/admin-guide/sysctl/kernel.rst). Distributions have
/// added higher ones, for which only CAP_SYS_ADMIN will do; Debian's kernels start with 3.
pub fn perf_takes_admin() -> bool {
    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok();
    let level = level.and_then(|level| level.trim().parse::<i32>().ok());
    level.is_some_and(|level| level > 2) && preemption::programs().preempted
}

/// Whether the running kernel is `major.minor` or newer.
pub(super) fn kernel_is_at_least(major: u8, minor: u8) -> bool {
    procfs::sys::kernel::Version::current()
        .is_ok_and(|version| (version.major, version.minor) >= (major, minor))
}

fn kernel() -> Finding {
    let subject = "kernel";
    let Ok(version) = procfs::sys::kernel::Version::current() else {
        return Finding::bad(subject, "cannot read /proc/sys/kernel/osrelease".to_owned());
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let detail = format!("{} on {}", release.trim(), std::env::consts::ARCH);
    if (version.major, version.minor) < (5, 10) {
        return Finding::bad(subject, format!("{detail}: older than 5.10, the oldest supported"));
    }
    Finding::good(subject, detail)
}

fn btf() -> Finding {
    let subject = "BTF";
    match KernelBtf::read().offsets {
        Ok(_) => Finding::good(subject, kernel_btf::VMLINUX.to_owned()),
        Err(error) => Finding::limited(subject, format!("{error:#}; raw tracepoints will be used")),
    }
}

fn jit() -> Finding {
    let subject = "BPF JIT";
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").as_deref().map(str::trim) {
        Ok("0") => Finding::limited(
            subject,
            "off: each event costs several times as much \
             (sysctl net.core.bpf_jit_enable=1 turns it on)"
                .to_owned(),
        ),
        Ok(_) => Finding::good(subject, "on".to_owned()),
        // Kernels built with CONFIG_BPF_JIT_ALWAYS_ON may not show the switch.
        Err(error) => Finding::good(subject, format!("assumed on (bpf_jit_enable: {error})")),
    }
}

fn privileges() -> Finding {
    let subject = "privileges";
    match effective_capabilities() {
        Err(error) => Finding::bad(subject, format!("{error:#}")),
        Ok(capabilities) if has_privileges(capabilities) && in_user_namespace() => {
            Finding::bad(subject, OF_USER_NAMESPACE.to_owned())
        }
        Ok(capabilities) if capabilities & (1 << CAP_SYS_ADMIN) != 0 => {
            Finding::good(subject, "CAP_SYS_ADMIN".to_owned())
        }
        Ok(capabilities) if has_privileges(capabilities) => {
            Finding::good(subject, "CAP_BPF and CAP_PERFMON".to_owned())
        }
        Ok(_) => {
            Finding::bad(subject, "needs root, or CAP_BPF and CAP_PERFMON (try sudo)".to_owned())
        }
    }
}

/// Whose processes can be measured: syscost needs to see them in /proc.
fn other_users() -> Finding {
    let subject = "other users";
    let (Ok(mounts), Ok(capabilities)) = (procfs::mounts(), effective_capabilities()) else {
        return Finding::limited(subject, "cannot tell whether /proc shows them".to_owned());
    };
    // Of several mounts on top of each other the last one is seen.
    let mount = mounts.iter().rfind(|mount| mount.fs_file == "/proc");
    let option = |name: &str| mount.and_then(|mount| mount.fs_mntops.get(name)?.as_deref());
    let Some(hidepid) = option("hidepid").filter(|value| !["0", "off"].contains(value)) else {
        return Finding::good(subject, "/proc shows their processes".to_owned());
    };
    let hidepid = format!("hidepid={hidepid}");
    // The group that may see everything, root's by default; it does not help against "ptraceable".
    let group = option("gid").and_then(|gid| gid.parse().ok()).unwrap_or(0);
    let of_group = nix::unistd::getegid().as_raw() == group
        || nix::unistd::getgroups()
            .is_ok_and(|groups| groups.iter().any(|member| member.as_raw() == group));
    if capabilities & (1 << CAP_SYS_PTRACE) != 0 {
        Finding::good(subject, format!("/proc shows their processes ({hidepid}, CAP_SYS_PTRACE)"))
    } else if of_group && !["hidepid=4", "hidepid=ptraceable"].contains(&hidepid.as_str()) {
        Finding::good(subject, format!("/proc shows their processes ({hidepid}, group {group})"))
    } else {
        Finding::limited(
            subject,
            format!(
                "/proc hides their processes ({hidepid}): -p and -t find those of this user only, \
                 others take CAP_SYS_PTRACE as well (try sudo); -a, --comm, --uid and --cgroup \
                 measure and name them all the same"
            ),
        )
    }
}

/// Kernels before 5.11 charge BPF memory to a limit, which not everybody can lift.
fn memory_limit() -> Option<Finding> {
    use nix::sys::resource::{Resource, getrlimit};
    let version = procfs::sys::kernel::Version::current().ok()?;
    if (version.major, version.minor) >= (5, 11)
        || effective_capabilities().ok()? & (1 << CAP_SYS_RESOURCE) != 0
    {
        return None;
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    let needed = map_bytes_at_most(super::possible_cpus().ok()?);
    (limit < needed).then(|| {
        Finding::limited(
            "memory limit",
            format!(
                "{} KiB, of up to {} KiB needed; raise it (ulimit -l), or add CAP_SYS_RESOURCE",
                limit >> 10,
                needed >> 10
            ),
        )
    })
}

fn pid_namespace() -> Finding {
    let subject = "PID namespace";
    if is_in_root_namespace() {
        return Finding::good(subject, "the root one".to_owned());
    }
    match Namespace::own(&KernelBtf::read()) {
        Ok(_) => Finding::good(
            subject,
            "not the root one: PIDs given and shown are those of this one, and `-a`, `--comm` and \
             `--uid` are about its processes"
                .to_owned(),
        ),
        Err(error) => Finding::bad(subject, format!("{error:#}")),
    }
}

/// Attaches to this very process, makes calls, and looks whether they were counted.
fn trial(choice: HookChoice) -> Vec<Finding> {
    const CALLS: u64 = 100;
    let mut probe =
        match Probe::attach(&Request { hooks: choice, ..Request::process(std::process::id()) }) {
            Ok(probe) => probe,
            Err(error) => return vec![Finding::bad("hooks", format!("{error:#}"))],
        };
    let hooks = match probe.hooks() {
        Hooks::Btf { because: None } => Finding::good(
            "hooks",
            "BTF tracepoints sys_enter, sys_exit; open calls in task storage".to_owned(),
        ),
        Hooks::Btf { because: Some(because) } => Finding::limited(
            "hooks",
            format!(
                "BTF tracepoints sys_enter, sys_exit; open calls in task storage. Those of perf, \
                 where no program is skipped, cannot be had ({because}): they take root, and \
                 tracefs on /sys/kernel/tracing"
            ),
        ),
        Hooks::Perf => Finding::good(
            "hooks",
            "perf tracepoints sys_enter, sys_exit, where this kernel skips no program; open calls \
             in task storage"
                .to_owned(),
        ),
        Hooks::Raw { because, tells_abi, .. } => {
            let abi = if *tells_abi { "" } else { "; 32-bit calls are not told from 64-bit ones" };
            Finding::limited(
                "hooks",
                format!(
                    "raw tracepoints sys_enter, sys_exit; open calls in a hash by tid \
                     (at most {MAX_THREADS_BY_TID} threads){abi} ({because})"
                ),
            )
        }
    };
    for _ in 0..CALLS {
        // SAFETY: takes nothing and touches no memory.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    let (_, kinds, ledger) = probe.snapshot();
    let getppid = kinds.iter().find(
        |kind| matches!(kind.key, KindKey::Call { nr, .. } if i64::from(nr) == libc::SYS_getppid),
    );
    let counted = getppid.map_or(0, KindSample::calls);
    let divided =
        getppid.map_or(0, |kind| kind.parts[PartOf::OnCpu as usize].buckets.iter().sum::<u64>());
    let recorded = format!("{counted} of {CALLS} calls of a trial were recorded");
    let counting = match ledger.program_misses {
        _ if counted == CALLS => Finding::good("counting", recorded),
        SkippedRuns::Counted(skipped @ 1..) => Finding::limited(
            "counting",
            format!("{recorded}; the kernel skipped {skipped} program runs meanwhile"),
        ),
        _ => Finding::bad("counting", recorded),
    };
    let parts = if matches!(probe.hooks(), Hooks::Raw { .. }) {
        Finding::limited(
            "latencies",
            "not divided into on-CPU, run queue and blocked, shown as \"–\": takes BTF tracepoints \
             (Linux 5.12 with BTF)"
                .to_owned(),
        )
    } else {
        let told = format!("{divided} of {counted} divided into on-CPU, run queue and blocked");
        let all = divided == counted;
        if all { Finding::good("latencies", told) } else { Finding::limited("latencies", told) }
    };
    let misses = match ledger.program_misses {
        SkippedRuns::Counted(_)
            if preemption::programs().preempted && *probe.hooks() != Hooks::Perf =>
        {
            Finding::limited(
                "skipped runs",
                "counted by the kernel; where threads preempt each other inside a program, newer \
             kernels skip it for others, and numbers carry \">=\""
                    .to_owned(),
            )
        }
        SkippedRuns::Counted(_) => {
            Finding::good("skipped runs", "counted by the kernel".to_owned())
        }
        SkippedRuns::NotCounted => Finding::good(
            "skipped runs",
            "not counted by this kernel (before 5.12), which skips none at these hooks: shown as \
             \"–\""
                .to_owned(),
        ),
        SkippedRuns::Unknown => Finding::limited(
            "skipped runs",
            "the kernel does not tell: no number is exact".to_owned(),
        ),
    };
    // Where it was tried, it shows in the hooks.
    let preemption::Programs { preempted, untried, .. } = preemption::programs();
    let untried = untried.map(|why| {
        let taken = if preempted { "they are assumed to be" } else { "none was at its time" };
        Finding::limited(
            "preemption",
            format!("whether threads are preempted inside programs was not tried ({why}): {taken}"),
        )
    });
    [hooks, counting, parts, misses].into_iter().chain(untried).collect()
}

/// What no tracer on these hooks can see.
fn blind_spots() -> Finding {
    Finding {
        subject: "not visible",
        verdict: Verdict::Limited,
        detail: "io_uring operations, vDSO calls, Syscall User Dispatch, guests of gVisor and \
                 the like: they do not pass the syscall entry"
            .to_owned(),
    }
}
