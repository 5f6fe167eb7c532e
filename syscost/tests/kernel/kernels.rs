//! What differs between kernels is what is said of them. `cargo xtask kernels` runs this on several.

use nix::unistd::Pid;
use syscost::{
    probe::{Probe, Snapshot},
    request::{HookChoice, Hooks, Request},
    sample::SkippedRuns,
};

use crate::{
    harness::{
        announce, await_unloaded, choice, hooks, loaded, programs_of, programs_with, run, syscost,
        task_storage,
    },
    turn,
};

fn attach(choice: HookChoice) -> anyhow::Result<Probe> {
    // Some of these tests attach first of all, and others count the programs of this process.
    turn::take();
    Probe::attach(&Request { hooks: choice, ..Request::process(std::process::id()) })
}

#[test]
fn this_kernel_has_the_hooks_that_are_said_of_it() {
    let btf = attach(HookChoice::Btf);
    assert_eq!(btf.is_ok(), task_storage(), "{:?}", btf.err());
    for hooks in hooks().iter().map(String::as_str).chain(["raw"]) {
        attach(choice(hooks)).unwrap();
    }
}

#[test]
fn the_best_hooks_are_chosen_unasked() {
    let best = &hooks()[0];
    let chosen = match attach(HookChoice::Auto).unwrap().hooks() {
        Hooks::Btf { .. } => "btf",
        Hooks::Perf => "perf",
        Hooks::Raw { .. } => "raw",
    };
    assert_eq!(chosen, best);
}

#[test]
fn check_explains_what_this_kernel_cannot_give() {
    let mut probe = attach(HookChoice::Auto).unwrap();
    let Snapshot { ledger, .. } = probe.snapshot();
    drop(probe);
    let report = run(syscost().arg("check"));
    assert_eq!(report.status.code(), Some(0), "{}", report.stdout);
    let told = |words: &str| report.stdout.contains(words);
    assert_eq!(
        ledger.program_misses == SkippedRuns::NotCounted,
        told("not counted by this kernel")
    );
    assert_eq!(!task_storage(), told("no task storage"), "{}", report.stdout);
    // Debian built 5.10 with a tool that left the variables of CPUs out of BTF.
    assert_eq!(!task_storage(), told("was not tried"), "{}", report.stdout);
    assert_eq!(!task_storage(), told("not divided into on-CPU"), "{}", report.stdout);
    assert_eq!(task_storage(), told("100 of 100 divided into on-CPU"), "{}", report.stdout);
}

/// How much work the verifier had with each program; `cargo xtask kernels` compares the numbers with
/// those it had before.
#[test]
fn the_verifier_accepts_every_program() {
    for hooks in hooks() {
        let before = programs_of(Pid::this());
        let probe = attach(choice(&hooks)).unwrap();
        let ours = &programs_of(Pid::this()) - &before;
        assert_eq!(ours.len(), programs_with(&hooks));
        let mut programs = loaded(&ours);
        programs.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, program) in programs {
            // Not said before 5.16.
            let count = program
                .verified_instruction_count()
                .map_or_else(|| "-".to_owned(), |count| count.to_string());
            announce(&format!("verifier {hooks} {name} {count}"));
        }
        drop(probe);
        await_unloaded(&ours);
    }
}
