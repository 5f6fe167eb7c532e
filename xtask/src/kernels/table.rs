//! The kernels that are tested on, and which tests run on which.

use super::{arch::Arch, packages::Package};

#[cfg(test)]
const WORKFLOW: &str = ".github/workflows/ci.yml";

/// A kernel to test on.
pub(super) struct Kernel {
    pub(super) label: &'static str,
    pub(super) arch: Arch,
    pub(super) package: Package,
    /// The hooks that this kernel must have, see `hooks` in `tests/kernel/harness.rs`.
    pub(super) hooks: &'static str,
    /// Hooks by which calls are lost here when threads preempt each other. The numbers must say so.
    pub(super) may_lose: &'static str,
    /// Tests that cannot pass or have no meaning here.
    pub(super) without: &'static [&'static str],
    /// All tests run here once the kernel side has changed, not only the ones of what differs between kernels.
    pub(super) thorough: bool,
}

/// The oldest kernel that is supported, two in wide use, the newest, on which programs can be preempted, and another
/// processor. In the order of their start: the slowest first, so that none is left for the end.
pub(super) static KERNELS: [Kernel; 5] = [
    Kernel {
        label: "5.10",
        arch: Arch::Amd64,
        package: Package::numbered("linux-image-5.10.0-", "-cloud-amd64", Arch::Amd64),
        // No task storage for tracing programs, and no compare-exchange.
        hooks: "raw",
        may_lose: "",
        without: &[],
        thorough: true,
    },
    Kernel {
        label: "7.x",
        arch: Arch::Amd64,
        package: Package::numbered("linux-binary-7.", "+deb14-cloud-amd64", Arch::Amd64),
        hooks: "perf",
        may_lose: "btf,raw",
        // Perf's tracepoints are found by names that some users may not read, and need BTF.
        without: &[
            "weather::a_kernel_without_btf",
            "reuse::without_kernel_btf",
            "privileges::cap_bpf_and_cap_perfmon_are_enough",
            "privileges::diagnostics_need_no_more_than_that",
        ],
        thorough: true,
    },
    Kernel {
        label: "6.1-arm64",
        arch: Arch::Arm64,
        package: Package::numbered("linux-image-6.1.0-", "-cloud-arm64", Arch::Arm64),
        hooks: "btf,raw",
        may_lose: "",
        // They are the same on every processor, and run on the other 6.1.
        without: &["budget::", "filters::", "privileges::", "screen::", "takeover::", "weather::"],
        thorough: false,
    },
    Kernel {
        label: "6.1",
        arch: Arch::Amd64,
        package: Package::numbered("linux-image-6.1.0-", "-cloud-amd64", Arch::Amd64),
        hooks: "btf,raw",
        may_lose: "",
        without: &[],
        thorough: false,
    },
    Kernel {
        label: "6.12",
        arch: Arch::Amd64,
        package: Package::numbered("linux-image-6.12.", "+deb13-cloud-amd64", Arch::Amd64),
        hooks: "btf,raw",
        may_lose: "",
        without: &[],
        thorough: false,
    },
];

/// Tests of what is the same on every kernel: output, text from outside, the terminal. They run on this machine's
/// kernel only. Each starts programs several times, which takes seconds where they are emulated.
pub(super) const SAME_EVERYWHERE: [&str; 17] = [
    "output::",
    "hostile::",
    "causes::",
    "memory::",
    "screen::a_command",
    "screen::a_dumb",
    "screen::a_resize",
    "screen::a_second",
    "screen::a_stop",
    "screen::a_terminal",
    "screen::ctrl_c_reaches",
    "screen::no_color",
    "screen::of_what",
    "screen::once_the",
    "screen::signals",
    "screen::without_utf8",
    "turn::",
];

/// Tests of what differs between kernels for each kind of hooks. They run on every kernel, each time, with all hooks
/// that the kernel has: which hooks there are, whether the verifier accepts every program, and one test of each task of
/// the programs.
pub(super) const DIFFERS_BY_HOOKS: [&str; 6] = [
    "kernels::",
    "counts::every_call_of_4_threads",
    "lifecycle::exec_from_a_thread",
    "restarts::a_call_restarted_after",
    "targets::children_are_followed",
    "weather::however_it_ends",
];

/// Tests of what differs between kernels. They run on every kernel, each time, with the hooks that are chosen there.
pub(super) const DIFFERS: [&str; 46] = [
    // How programs are loaded.
    "counts::diagnostics_are_accepted",
    "counts::the_maps_take_no_more_memory",
    "weather::a_kernel_without_btf",
    "weather::check_says",
    // Enter and exit, all of them, also of 32-bit programs.
    "counts::number_minus_one",
    "counts::threads_that_come_and_go",
    "compat::",
    "filters::filters_work_together",
    "lifecycle::a_call_that_seccomp_denies",
    "preemption::",
    "readings::",
    "cache::",
    // How the kernel begins and ends threads and processes.
    "family::children_forked_while_attaching",
    "groups::a_group_for_each_process",
    "groups::older_kernels_say",
    "groups::readings_while_threads_die",
    "identity::a_child_is_in_the_cgroup",
    "identity::a_thread_that_execs",
    "lifecycle::a_pid_that_is_used_again",
    "lifecycle::a_vfork",
    "lifecycle::threads_that_die_inside",
    "reuse::a_process_that_gets_the_pid",
    "reuse::without_kernel_btf_a_process_outlives",
    // How it restarts calls.
    "restarts::a_call_that_is_stopped_while",
    "restarts::a_handler_that_executes",
    "restarts::a_result_that_looks_like",
    "restarts::a_sleep_that_is_stopped",
    "restarts::three_interrupted",
    "unseen::a_call_open_at_attach_that_a_handler",
    "unseen::a_call_that_was_in_a_handler_at_attach_and_goes_on",
    "unseen::a_sleep_that_was_stopped",
    // What is read from tasks, namespaces and cgroups.
    "lifecycle::ages_are_right_in_a_time_namespace",
    "lifecycle::calls_in_flight_are_listed",
    "targets::a_cgroup_with_all",
    "targets::every_process_of_a_name",
    "targets::every_process_of_a_user",
    "targets::inside_a_pid_namespace",
    "targets::the_whole_host",
    // The scheduler: parts of latencies, CPU time.
    "cpu_time::of_a_process_with_threads",
    "cpu_time::rings_are_told_of",
    "partition::where_context_switches",
    "partition::who_sleeps",
    "budget::detail_is_shed",
    // Which capabilities it asks for.
    "privileges::cap_bpf_and_cap_perfmon",
    "privileges::root_keeps_nothing",
    "refusals::a_kernel_that_tells",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_lists_is_that_of_a_test() {
        let tests = crate::test::names_of_kernel_tests().unwrap();
        let without = KERNELS.iter().flat_map(|kernel| kernel.without);
        let lists = SAME_EVERYWHERE.iter().chain(&DIFFERS_BY_HOOKS).chain(&DIFFERS);
        for name in lists.chain(without) {
            assert!(tests.iter().any(|test| test.contains(name)), "no test is called {name}");
        }
    }

    #[test]
    fn nothing_that_differs_is_held_to_be_the_same() {
        for name in DIFFERS.iter().chain(&DIFFERS_BY_HOOKS) {
            assert!(!SAME_EVERYWHERE.iter().any(|same| name.contains(same)), "{name}");
        }
    }

    #[test]
    fn the_workflow_has_these_kernels_and_no_other() {
        let workflow = std::fs::read_to_string(crate::sh::root().join(WORKFLOW)).unwrap();
        let matrix = workflow
            .lines()
            .find_map(|line| line.trim().strip_prefix("kernel: [")?.strip_suffix(']'));
        let mut labels: Vec<&str> =
            matrix.unwrap().split(',').map(|label| label.trim().trim_matches('"')).collect();
        let mut known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.label).collect();
        labels.sort_unstable();
        known.sort_unstable();
        assert_eq!(labels, known, "the matrix of {WORKFLOW}");
    }
}
