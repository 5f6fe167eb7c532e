//! How much memory attaching takes at its peak.

use std::{fs, os::unix::process::CommandExt};

use crate::{
    cgroup::Cgroup,
    harness::{Stat, Target, hooks, skipped, syscost},
};

/// `VmHWM`, bytes: the most that was resident at any time.
fn peak(pid: nix::unistd::Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

const MIB: u64 = 1 << 20;

#[test]
fn attaching_takes_24_mib_at_most() {
    for hooks in hooks() {
        for by in ["syscall", "process"] {
            if by != "syscall" && hooks == "raw" {
                continue;
            }
            let target = Target::start(&["calls", "1", "1"]);
            let stat = Stat::attach(target.pid(), &["--hooks", &hooks, "--by", by]);
            let peak = peak(stat.pid());
            // Unoptimized, the program's own code alone is twice as large.
            let most = if cfg!(debug_assertions) { 28 } else { 24 };
            assert!(peak <= most * MIB, "{hooks}, by {by}: {} KiB", peak >> 10);
            stat.kill();
        }
    }
}

/// The cgroup's limit counts the kernel's memory as well: that of maps, and on newer kernels the verifier's,
/// up to 32 MiB for the largest program.
#[test]
fn a_cgroup_of_48_mib_is_enough() {
    let Some(cgroup) = Cgroup::with_memory_limit("syscost-test-memory", 48 * MIB) else {
        return skipped("no memory controller in a cgroup hierarchy that can be written");
    };
    for hooks in hooks() {
        let mut target = Target::start(&["calls", "1", "1000"]);
        let procs = format!("{}/cgroup.procs", cgroup.path());
        let mut command = syscost();
        // SAFETY: opens and writes a file between fork and exec.
        unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
        let stat = Stat::attach_by(&mut command, target.pid(), &["--hooks", &hooks]);
        target.work();
        let measured = stat.stop();
        measured.assert_exact();
        assert_eq!(measured.count("getppid"), 1_000, "{hooks}");
    }
}
