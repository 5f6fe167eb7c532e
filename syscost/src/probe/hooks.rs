//! The table of hooks: each program that is attached, its tracepoint, its place in the order, and the feature
//! that needs it. The table is data only: `programs.rs` loads programs and `link.rs` attaches them.
//!
//! Hooks are attached from the top of the table to the bottom and detached from the bottom to the top. Between
//! two phases, `attach.rs` brings the map of targets up to date.

use crate::{request::Hooks, sample::Detail};

/// A row of the table: a program of an object, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// The name of the program in its object.
    pub(super) program: &'static str,
    /// The name of the tracepoint.
    pub(super) tracepoint: &'static str,
    /// How the kernel calls the program. Programs at raw tracepoints are in an object of their own.
    pub(super) way: Way,
    /// When it is attached.
    pub(super) phase: Phase,
    /// What it is for.
    pub(super) needed_by: Feature,
    /// The kernels that it is for.
    kernels: Kernels,
}

/// How the kernel calls a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At a BTF tracepoint: arguments are typed, and tasks are handed over.
    Btf,
    /// At a tracepoint of perf, in this category. Preemption is off while the program runs.
    Perf(&'static str),
    /// At a raw tracepoint.
    Raw,
}

/// The order of attaching. Detaching goes in reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Threads begin, exec and end. Once these are seen, a target that is checked stays as it is checked.
    Lives,
    /// What happens to a thread inside a call. First, so that nothing inside a recorded call is missed.
    InsideCalls,
    /// Enter and exit of calls. Detached first at the end of a measurement: no call is recorded any more, and
    /// a thread that ends still leaves its totals behind.
    Calls,
}

/// What needs a hook, or an iterator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// Every measurement.
    Always,
    /// A scope of threads: exec can change a thread's tid.
    Threads,
    /// The division of waiting time into blocked and run queue.
    Wakeups,
    /// The time that a call spends off the CPU, and CPU time.
    Switches,
    /// Totals by group.
    Groups,
}

/// For which kernels a row is, where the table has several for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernels {
    All,
    /// Threads are preempted inside programs.
    Preempting,
    NotPreempting,
    /// There is kernel BTF, although the hooks are raw ones.
    WithBtf,
    /// Programs can compare and exchange.
    WithExchange,
    WithoutExchange,
}

/// What decides between rows, besides the hooks in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    /// Whether single threads are measured.
    pub(super) threads: bool,
    /// Whether the calls are added up by group.
    pub(super) groups: bool,
    /// Whether threads are preempted inside programs at raw and BTF tracepoints.
    pub(super) preempted: bool,
    /// Whether programs can compare and exchange.
    pub(super) exchange: bool,
    /// Whether the offsets in the kernel's structs are known.
    pub(super) kernel_btf: bool,
}

use Feature::{Always, Groups, Switches, Threads, Wakeups};
use Phase::{Calls, InsideCalls, Lives};
use Way::{Btf, Perf, Raw};

/// Programs of the BTF object first, then those of the raw one.
#[rustfmt::skip]
const TABLE: &[Hook] = &[
    // Exec before the others: a target whose tid changes is followed from the first hook on.
    hook("process_exec",     "sched_process_exec", Btf,                  Lives,       Threads),
    hook("exec_perf",        "sched_process_exec", Perf("sched"),        Lives,       Threads),
    // Thread exit before fork: each child that is taken in is taken out when it ends.
    hook("process_exit",     "sched_process_exit", Btf,                  Lives,       Always),
    hook("exit_perf",        "sched_process_exit", Perf("sched"),        Lives,       Always),
    // Fork before calls: every thread that is born from then on is known to be. Where programs are preempted,
    // the fork is seen a moment later, at a tracepoint that runs with interrupts off.
    hook("process_fork",     "sched_process_fork", Btf,                  Lives,       Always).on(Kernels::NotPreempting),
    hook("wakeup_new",       "sched_wakeup_new",   Btf,                  Lives,       Always).on(Kernels::Preempting),
    // These run with interrupts off, so that BTF programs are not preempted. Perf hands over no tasks.
    hook("sched_wakeup",     "sched_wakeup",       Btf,                  InsideCalls, Wakeups),
    hook("sched_switch",     "sched_switch",       Btf,                  InsideCalls, Switches),
    // Signals before calls: the calls of a handler are told from a restart.
    hook("signal_deliver",   "signal_deliver",     Btf,                  InsideCalls, Always),
    // Exit before enter: every enter that is seen has its exit seen.
    hook("sys_exit",         "sys_exit",           Btf,                  Calls,       Always),
    hook("sys_exit_perf",    "sys_exit",           Perf("raw_syscalls"), Calls,       Always),
    hook("sys_enter",        "sys_enter",          Btf,                  Calls,       Always),
    hook("sys_enter_perf",   "sys_enter",          Perf("raw_syscalls"), Calls,       Always),

    hook("process_exit",     "sched_process_exit", Raw,                  Lives,       Always),
    hook("process_fork",     "sched_process_fork", Raw,                  Lives,       Always).on(Kernels::WithBtf),
    hook("process_exec",     "sched_process_exec", Raw,                  Lives,       Always),
    hook("signal_deliver",   "signal_deliver",     Raw,                  InsideCalls, Always),
    hook("sys_exit_cmpxchg", "sys_exit",           Raw,                  Calls,       Always).on(Kernels::WithExchange),
    // Where there is no compare-exchange, no program preempts another.
    hook("sys_exit",         "sys_exit",           Raw,                  Calls,       Always).on(Kernels::WithoutExchange),
    hook("sys_enter",        "sys_enter",          Raw,                  Calls,       Always),
];

const fn hook(
    program: &'static str,
    tracepoint: &'static str,
    way: Way,
    phase: Phase,
    needed_by: Feature,
) -> Hook {
    Hook { program, tracepoint, way, phase, needed_by, kernels: Kernels::All }
}

impl Hook {
    const fn on(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The hooks to attach, in this order.
    pub(super) fn to_attach(hooks: &Hooks, conditions: Conditions) -> Vec<Self> {
        let is_used = |hook: &&Self| {
            hook.suits(hooks) && conditions.need(hook.needed_by) && conditions.are_met(hook.kernels)
        };
        TABLE.iter().filter(is_used).copied().collect()
    }

    fn suits(&self, hooks: &Hooks) -> bool {
        match (hooks, self.way) {
            (Hooks::Btf { .. }, Btf) | (Hooks::Perf, Perf(_)) | (Hooks::Raw { .. }, Raw) => true,
            // BTF tracepoints serve where there is no program for perf's.
            (Hooks::Perf, Btf) => !TABLE
                .iter()
                .any(|hook| matches!(hook.way, Perf(_)) && hook.tracepoint == self.tracepoint),
            _ => false,
        }
    }

    /// Whether the hook stays attached at `level` of detail.
    pub(super) fn is_used_at(&self, level: Detail) -> bool {
        !goes_without(level).contains(&self.needed_by)
    }
}

/// The features that `level` of detail does without.
const fn goes_without(level: Detail) -> &'static [Feature] {
    match level {
        Detail::Full => &[],
        Detail::NoRunq => &[Wakeups],
        Detail::NoOnCpu | Detail::Sampling(_) => &[Wakeups, Switches],
    }
}

/// Whether context switches are seen at `level`.
pub(super) fn sees_switches(level: Detail) -> bool {
    !goes_without(level).contains(&Switches)
}

/// A program of the BTF object that the kernel runs for each task when user space reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Iterator {
    /// The name of the program in its object.
    pub(super) program: &'static str,
    /// What it is for.
    needed_by: Feature,
    /// Whether the measurement goes on without it where the kernel does not take it.
    pub(super) optional: bool,
}

const ITERATORS: &[Iterator] = &[
    // `bpf_task_pt_regs` is there since Linux 5.15.
    Iterator { program: "open_calls", needed_by: Always, optional: true },
    Iterator { program: "thread_totals", needed_by: Groups, optional: false },
    // Without it, CPU time is known from each CPU's first context switch on.
    Iterator { program: "running_tasks", needed_by: Switches, optional: true },
];

impl Iterator {
    /// The iterators to load.
    pub(super) fn to_load(conditions: Conditions) -> impl std::iter::Iterator<Item = Self> {
        ITERATORS.iter().filter(move |iterator| conditions.need(iterator.needed_by)).copied()
    }
}

impl Conditions {
    fn need(self, feature: Feature) -> bool {
        match feature {
            Always | Wakeups | Switches => true,
            Threads => self.threads,
            Groups => self.groups,
        }
    }

    fn are_met(self, kernels: Kernels) -> bool {
        match kernels {
            Kernels::All => true,
            Kernels::Preempting => self.preempted,
            Kernels::NotPreempting => !self.preempted,
            Kernels::WithBtf => self.kernel_btf,
            Kernels::WithExchange => self.exchange,
            Kernels::WithoutExchange => !self.exchange,
        }
    }
}

#[cfg(test)]
mod tests {
    use aya_obj::{Object, ProgramSection};

    use super::*;
    use crate::probe::object::{BTF_OBJECT, RAW_OBJECT};

    const PLAIN: Conditions = Conditions {
        threads: false,
        groups: false,
        preempted: false,
        exchange: true,
        kernel_btf: true,
    };

    const BTF: Hooks = Hooks::Btf { because: None };

    fn raw() -> Hooks {
        Hooks::Raw { because: String::new(), forced: true, tells_abi: true }
    }

    fn order(hooks: &Hooks, conditions: Conditions) -> Vec<&'static str> {
        Hook::to_attach(hooks, conditions).iter().map(|hook| hook.program).collect()
    }

    #[test]
    fn btf_hooks_are_attached_in_this_order() {
        const CALLS: [&str; 5] =
            ["sched_wakeup", "sched_switch", "signal_deliver", "sys_exit", "sys_enter"];
        let all = [&["process_exit", "process_fork"][..], &CALLS].concat();
        assert_eq!(order(&BTF, PLAIN), all);
        let threads = [&["process_exec"], &all[..]].concat();
        assert_eq!(order(&BTF, Conditions { threads: true, ..PLAIN }), threads);
        let preempted = [&["process_exit", "wakeup_new"][..], &CALLS].concat();
        assert_eq!(order(&BTF, Conditions { preempted: true, ..PLAIN }), preempted);
    }

    #[test]
    fn perf_hooks_are_attached_in_this_order() {
        const CALLS: [&str; 5] =
            ["sched_wakeup", "sched_switch", "signal_deliver", "sys_exit_perf", "sys_enter_perf"];
        let preempted = Conditions { preempted: true, ..PLAIN };
        let all = [&["exit_perf", "wakeup_new"][..], &CALLS].concat();
        assert_eq!(order(&Hooks::Perf, preempted), all);
        let threads = Conditions { threads: true, ..preempted };
        assert_eq!(order(&Hooks::Perf, threads), [&["exec_perf"], &all[..]].concat());
        // Where they are asked for and not needed.
        let forced = [&["exit_perf", "process_fork"][..], &CALLS].concat();
        assert_eq!(order(&Hooks::Perf, PLAIN), forced);
    }

    #[test]
    fn raw_hooks_are_attached_in_this_order() {
        let calls = ["signal_deliver", "sys_exit_cmpxchg", "sys_enter"];
        let all = [&["process_exit", "process_fork", "process_exec"][..], &calls].concat();
        assert_eq!(order(&raw(), PLAIN), all);
        assert_eq!(order(&raw(), Conditions { threads: true, ..PLAIN }), all);
        let without_btf = [&["process_exit", "process_exec"][..], &calls].concat();
        assert_eq!(order(&raw(), Conditions { kernel_btf: false, ..PLAIN }), without_btf);
        let old = Conditions { exchange: false, ..PLAIN };
        assert!(order(&raw(), old).ends_with(&["signal_deliver", "sys_exit", "sys_enter"]));
    }

    #[test]
    fn phases_begin_one_after_the_other() {
        for hooks in [BTF, Hooks::Perf, raw()] {
            let hooks = Hook::to_attach(&hooks, Conditions { threads: true, ..PLAIN });
            assert!(hooks.is_sorted_by_key(|hook| hook.phase), "{hooks:?}");
            let calls = hooks.iter().filter(|hook| hook.phase == Calls);
            let tracepoints: Vec<_> = calls.map(|hook| hook.tracepoint).collect();
            assert_eq!(tracepoints, ["sys_exit", "sys_enter"]);
        }
    }

    #[test]
    fn less_detail_does_without_the_hooks_of_the_scheduler() {
        let left_out = |level| -> Vec<&str> {
            let hooks = Hook::to_attach(&BTF, PLAIN);
            let unused = hooks.iter().filter(|hook| !hook.is_used_at(level));
            unused.map(|hook| hook.tracepoint).collect()
        };
        assert!(left_out(Detail::Full).is_empty());
        assert_eq!(left_out(Detail::NoRunq), ["sched_wakeup"]);
        assert_eq!(left_out(Detail::NoOnCpu), ["sched_wakeup", "sched_switch"]);
        assert_eq!(left_out(Detail::Sampling(16)), left_out(Detail::NoOnCpu));
        let seeing = Detail::ALL.map(sees_switches);
        assert_eq!(seeing, [true, true, false, false, false]);
    }

    #[test]
    fn every_program_is_in_its_object_and_of_its_kind() {
        let (btf, raw) = (Object::parse(BTF_OBJECT).unwrap(), Object::parse(RAW_OBJECT).unwrap());
        for hook in TABLE {
            let object = if hook.way == Raw { &raw } else { &btf };
            let program = object.programs.get(hook.program).expect(hook.program);
            let is_of_its_kind = match hook.way {
                Btf => matches!(program.section, ProgramSection::BtfTracePoint),
                Perf(_) => matches!(program.section, ProgramSection::TracePoint),
                Raw => matches!(program.section, ProgramSection::RawTracePoint),
            };
            assert!(is_of_its_kind, "{hook:?}");
        }
        for iterator in ITERATORS {
            let program = btf.programs.get(iterator.program).expect(iterator.program);
            assert!(matches!(program.section, ProgramSection::Iter { .. }), "{iterator:?}");
        }
    }
}
