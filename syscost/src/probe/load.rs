//! Loads an object for a measurement: sets its constants, sizes its maps and fills them. Loads no program.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use syscost_common::{
    cell::{self, ERRNOS, SLOTS},
    config::{Machine, Offsets},
    filter::{self, LEFT_OUT},
    group,
    kind::KINDS,
    scope,
    thread_state::ThreadState,
};

use super::{
    cpu_states,
    cpus::possible_cpus,
    diagnostics::Diagnostics,
    object::{self, Bytes},
    scope::Resolved,
    target_map,
};
use crate::{
    filter::{Filter, Outcome},
    group::GroupBy,
    request::Request,
};

#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = Machine::X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = Machine::AARCH64;

/// What an object is loaded with.
pub(super) struct LoadPlan<'a> {
    /// What was asked for.
    pub(super) request: &'a Request,
    /// The scope in ids of the root PID namespace.
    pub(super) resolved: &'a Resolved,
    /// Where the kernel keeps what the programs read. `None` without kernel BTF.
    pub(super) offsets: Option<Offsets>,
    /// Whether the kernel may preempt a thread inside a program at the hooks that will be used.
    pub(super) preempted: bool,
}

/// Loads `object`, and listens to its programs' diagnostics where they are asked for.
///
/// # Errors
/// When the kernel refuses a map.
pub(super) fn load(object: &[u8], plan: &LoadPlan<'_>) -> Result<(Ebpf, Option<Diagnostics>)> {
    let cpus = possible_cpus()?;
    let LoadPlan { request, resolved, .. } = plan;
    let (offsets, machine) = (Bytes(plan.offsets.unwrap_or(Offsets::UNKNOWN)), Bytes(MACHINE));
    // With 0, the verifier removes every diagnostic from the programs.
    let log_level: u8 = if request.verbose { 0xff } else { 0 };
    let scope = Bytes(resolved.scope);
    let filter = Bytes(filter_constants(&request.filter));
    let group_by = group_constant(request.group_by);
    let preempted = u32::from(plan.preempted);
    let room = cpu_states::room_for(cpus);
    let cpu_mask = room - 1;
    let mut loader = object::loader();
    loader
        .override_global("SCOPE", &scope, true)
        .override_global("FILTER", &filter, true)
        .override_global("GROUP_BY", &group_by, true)
        .override_global("PREEMPTED", &preempted, true)
        .override_global("MACHINE", &machine, true)
        .override_global("OFFSETS", &offsets, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .override_global("CPU_MASK", &cpu_mask, true)
        .map_max_entries("CELLS", cell::count(cpus));
    if !request.verbose {
        // Stays empty; a page is the smallest size.
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    let has_groups = group_by != group::NONE;
    let groups = if has_groups { request.room.groups } else { 1 };
    let targets = if resolved.targets.is_empty() { 1 } else { request.room.targets };
    loader
        .map_max_entries("GROUPS", groups)
        .map_max_entries("GROUP_OF_KEY", groups)
        .map_max_entries("FREE_GROUPS", groups)
        .map_max_entries("DEATHS", if has_groups { group::DEATHS } else { 1 })
        .map_max_entries("TARGETS", targets)
        .map_max_entries("FORKS", if resolved.scope.follow == 0 { 1 } else { scope::MAX_FORKS });
    let mut ebpf = loader.load(object).context("cannot load the BPF object")?;
    cpu_states::make_room(room, &ebpf)?;
    fill_slots(&mut ebpf, &request.filter)?;
    target_map::fill(&mut ebpf, resolved)?;
    // Before the programs are loaded: afterwards the ring belongs to them.
    let diagnostics = request.verbose.then(|| Diagnostics::listen(&mut ebpf)).transpose()?;
    Ok((ebpf, diagnostics))
}

/// The constant by which the programs know `by`.
fn group_constant(by: GroupBy) -> u32 {
    match by {
        GroupBy::Syscall => group::NONE,
        GroupBy::Process => group::BY_PROCESS,
        GroupBy::Thread => group::BY_THREAD,
        GroupBy::Cgroup => group::BY_CGROUP,
        GroupBy::Comm => group::BY_COMM,
    }
}

/// The constants by which the programs know `filter`.
fn filter_constants(filter: &Filter) -> filter::Filter {
    let mut constants =
        filter::Filter { kinds: filter.restricts_kinds().into(), ..filter::Filter::default() };
    match filter.outcome() {
        Outcome::Any => {}
        Outcome::Failed => constants.results = filter::RESULTS_FAILED,
        Outcome::Errnos(errnos) => {
            constants.results = filter::RESULTS_BY_ERRNO;
            for errno in errnos.iter().map(|errno| usize::from(*errno)) {
                assert!(errno < ERRNOS, "errno {errno} is beyond the table");
                constants.errnos[errno / 64] |= 1 << (errno % 64);
            }
        }
    }
    constants
}

/// Fills the queue of free slots, without the overflow slot, and marks the kinds that the filter leaves out.
fn fill_slots(ebpf: &mut Ebpf, filter: &Filter) -> Result<()> {
    object::fill_queue(ebpf, "FREE_SLOTS", 1..SLOTS)?;
    if filter.restricts_kinds() {
        let mut slots: Array<&mut MapData, u32> =
            Array::try_from(object::map(ebpf, "SLOT_OF_KIND")?)?;
        for kind in (0..KINDS).filter(|kind| !filter.wants(*kind)) {
            slots.set(kind, LEFT_OUT, 0).context("cannot mark what the filter leaves out")?;
        }
    }
    Ok(())
}

/// Enters the threads of `tgid` that exist now into the map of thread states: the first exit of such a thread is of a
/// call that was open before. For kernels without BTF, where a new thread cannot be recognised at fork.
pub(super) fn enter_threads(ebpf: &mut Ebpf, tgid: u32) -> Result<()> {
    let mut states: HashMap<_, u32, Bytes<ThreadState>> =
        HashMap::try_from(object::map(ebpf, "STATE_BY_TID")?)?;
    // All zero: the first exit of the thread is of a call that was open when the thread was entered here.
    let known = ThreadState::default();
    let mut entered: BTreeSet<u32> = BTreeSet::new();
    // Until a round finds no new thread: the threads may be making others.
    loop {
        let before = entered.len();
        for thread in fs::read_dir(format!("/proc/{tgid}/task")).into_iter().flatten().flatten() {
            if let Some(tid) = thread.file_name().to_str().and_then(|name| name.parse().ok())
                && entered.insert(tid)
            {
                // When the map is full, the programs find that as well, and count it.
                let _ = states.insert(tid, Bytes(known), 0);
            }
        }
        if entered.len() == before {
            return Ok(());
        }
    }
}
