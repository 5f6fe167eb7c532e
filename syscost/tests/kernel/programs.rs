//! The BPF programs that a process holds. Those of other processes are nobody's business: another test
//! run, or another tracer, may be on the same machine.

use std::collections::BTreeSet;

use aya::{maps::MapData, programs::ProgramInfo};
use nix::unistd::Pid;

use crate::running::eventually;

/// How many of our programs an attached syscost has: with task storage seven on the hooks and the one
/// that lists open calls; without, five and one for exec.
pub(crate) fn programs_with(hooks: &str) -> usize {
    if hooks == "raw" { 6 } else { 8 }
}

/// The programs that a process holds, by their ids.
pub(crate) fn programs_of(pid: Pid) -> BTreeSet<u32> {
    held(pid, "prog_id:")
}

/// The map called `name` that a process holds.
pub(crate) fn map_of(pid: Pid, name: &str) -> MapData {
    let mut maps = held(pid, "map_id:").into_iter().map(|id| MapData::from_id(id).expect("a map"));
    let is_called = |map: &MapData| map.info().is_ok_and(|info| info.name_as_str() == Some(name));
    maps.find(is_called).unwrap_or_else(|| panic!("no map {name}"))
}

/// How many hooks a process has attached that are no perf events.
pub(crate) fn hooks_of(pid: Pid) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten();
    files
        .filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok())
        .filter(|info| {
            let kind = info.lines().find_map(|line| line.strip_prefix("link_type:"));
            kind.is_some_and(|kind| matches!(kind.trim(), "tracing" | "raw_tracepoint"))
        })
        .count()
}

/// The ids of what a process holds, as its descriptors tell them in `field`.
fn held(pid: Pid, field: &str) -> BTreeSet<u32> {
    std::fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .into_iter()
        .flatten()
        .filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok())
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix(field))?;
            Some(id.trim().parse().expect("a number"))
        })
        .collect()
}

/// What the kernel says of these programs, by name. It keeps 15 characters of a name.
pub(crate) fn loaded(programs: &BTreeSet<u32>) -> Vec<(String, ProgramInfo)> {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| programs.contains(&program.id()))
        .map(|program| (program.name_as_str().expect("a name").to_owned(), program))
        .collect()
}

/// Waits until the kernel has none of these programs any more. There must be some: the test would
/// say nothing otherwise.
pub(crate) fn await_unloaded(programs: &BTreeSet<u32>) {
    assert!(!programs.is_empty(), "no programs to wait for");
    eventually("all its programs are gone", || loaded(programs).is_empty());
}
