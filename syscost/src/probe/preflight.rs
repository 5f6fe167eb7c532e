//! Preflight: whether tracing works here, with which hooks, and what will be missing.

use std::fs;

use syscost_common::{cell::PartOf, thread_state::MAX_THREADS_BY_TID};

use super::{
    attached::Probe,
    cpus::possible_cpus,
    kernel_btf::{self, KernelBtf},
    map_memory::map_bytes_at_most,
    namespace::Namespace,
    preemption,
    privileges::{self as own, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_RESOURCE, OF_USER_NAMESPACE},
    reader::Snapshot,
};
use crate::{
    preflight::{Finding, Report, Verdict},
    proc::is_in_root_namespace,
    request::{HookChoice, Hooks, Request},
    sample::{KindKey, KindSample, SkippedRuns},
};

/// Checks everything that tracing depends on. At the end, traces this process for a moment.
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

/// Whether attaching to perf's tracepoints, on a kernel where that is to be done, takes CAP_SYS_ADMIN
/// instead of CAP_PERFMON. The kernel itself knows levels up to 2 of `kernel.perf_event_paranoid`, and
/// CAP_PERFMON overrides them all (Documentation/admin-guide/sysctl/kernel.rst). Distributions have
/// added higher ones, for which only CAP_SYS_ADMIN will do; Debian's kernels start with 3.
pub fn perf_takes_admin() -> bool {
    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok();
    let level = level.and_then(|level| level.trim().parse::<i32>().ok());
    level.is_some_and(|level| level > 2) && preemption::programs().preempted
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
    match own::capabilities() {
        Err(error) => Finding::bad(subject, format!("{error:#}")),
        Ok(capabilities) if own::may_trace(capabilities) && own::in_user_namespace() => {
            Finding::bad(subject, OF_USER_NAMESPACE.to_owned())
        }
        Ok(capabilities) if own::has(capabilities, CAP_SYS_ADMIN) => {
            Finding::good(subject, "CAP_SYS_ADMIN".to_owned())
        }
        Ok(capabilities) if own::may_trace(capabilities) => {
            Finding::good(subject, "CAP_BPF and CAP_PERFMON".to_owned())
        }
        Ok(_) => {
            Finding::bad(subject, "needs root, or CAP_BPF and CAP_PERFMON (try sudo)".to_owned())
        }
    }
}

/// Whether processes of other users can be measured: syscost must see them in /proc.
fn other_users() -> Finding {
    let subject = "other users";
    let (Ok(mounts), Ok(capabilities)) = (procfs::mounts(), own::capabilities()) else {
        return Finding::limited(subject, "cannot tell whether /proc shows them".to_owned());
    };
    // Of several mounts at one place, the last one is visible.
    let mount = mounts.iter().rfind(|mount| mount.fs_file == "/proc");
    let option = |name: &str| mount.and_then(|mount| mount.fs_mntops.get(name)?.as_deref());
    let Some(hidepid) = option("hidepid").filter(|value| !["0", "off"].contains(value)) else {
        return Finding::good(subject, "/proc shows their processes".to_owned());
    };
    let hidepid = format!("hidepid={hidepid}");
    // A group that may see all processes, by default root's. It does not help against "ptraceable".
    let group = option("gid").and_then(|gid| gid.parse().ok()).unwrap_or(0);
    let of_group = nix::unistd::getegid().as_raw() == group
        || nix::unistd::getgroups()
            .is_ok_and(|groups| groups.iter().any(|member| member.as_raw() == group));
    if own::has(capabilities, CAP_SYS_PTRACE) {
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

/// Kernels before 5.11 charge BPF memory to a limit. Lifting it takes CAP_SYS_RESOURCE.
fn memory_limit() -> Option<Finding> {
    use nix::sys::resource::{Resource, getrlimit};
    let version = procfs::sys::kernel::Version::current().ok()?;
    if (version.major, version.minor) >= (5, 11)
        || own::has(own::capabilities().ok()?, CAP_SYS_RESOURCE)
    {
        return None;
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    let needed = map_bytes_at_most(possible_cpus().ok()?);
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

/// Attaches to this process, makes calls, and checks whether they were counted.
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
    let Snapshot { kinds, ledger } = probe.snapshot();
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
    // If it was tried, the finding on hooks shows the result.
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

/// What no tracer with these hooks can see.
fn blind_spots() -> Finding {
    Finding {
        subject: "not visible",
        verdict: Verdict::Limited,
        detail: "io_uring operations, vDSO calls, Syscall User Dispatch, guests of gVisor and \
                 the like: they do not pass the syscall entry"
            .to_owned(),
    }
}
