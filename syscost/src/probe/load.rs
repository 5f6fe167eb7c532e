//! An object into the kernel: its settings set, its maps sized and filled, its programs not loaded yet.

use std::{collections::BTreeSet, fs, ops::Range};

use anyhow::{Context, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, Pod, VerifierLogLevel, include_bytes_aligned,
    maps::{Array, HashMap, Map, MapData, Queue},
    programs::Program,
};
use syscost_common::{
    cell::{self, ERRNOS, SLOTS},
    config::{Machine, Offsets},
    cpu_state::CpuState,
    filter::{self, LEFT_OUT},
    group,
    kind::KINDS,
    scope,
    settings::Settings,
    thread_state::ThreadState,
};

use super::{Request, diagnostics::Diagnostics, groups, monotonic_ns, possible_cpus, scope::Entry};
use crate::filter::{Filter, Outcome};

/// The object for kernels with BTF and task storage.
pub(super) static BTF_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/btf.bpf.o"));
/// The object for those without.
pub(super) static RAW_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/raw.bpf.o"));

#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = Machine::X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = Machine::AARCH64;

/// A setting as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Bytes<T>(T);

// SAFETY: integers without padding, valid for any bytes.
unsafe impl Pod for Bytes<Offsets> {}
// SAFETY: as above.
unsafe impl Pod for Bytes<Machine> {}
// SAFETY: as above.
unsafe impl Pod for Bytes<scope::Scope> {}
// SAFETY: as above.
unsafe impl Pod for Bytes<filter::Filter> {}
// SAFETY: as above.
unsafe impl Pod for Bytes<ThreadState> {}
// SAFETY: as above.
unsafe impl Pod for Bytes<CpuState> {}
// SAFETY: as above.
unsafe impl Pod for Bytes<scope::TargetState> {}

/// What the programs are told before they are loaded.
pub(super) struct Told<'a> {
    pub(super) request: &'a Request,
    pub(super) scope: scope::Scope,
    /// What the map of targets is filled with.
    pub(super) targets: Vec<Entry>,
    /// [`scope::TargetState::id`].
    pub(super) id: u64,
    /// `None` without kernel BTF.
    pub(super) offsets: Option<Offsets>,
    /// Whether the kernel may preempt a thread inside a program that is hooked as ours will be.
    pub(super) preempted: bool,
}

/// Loads `object`, but no program yet.
pub(super) fn load(object: &[u8], told: &Told<'_>) -> Result<(Ebpf, Option<Diagnostics>)> {
    let cpus = possible_cpus()?;
    let offsets = Bytes(told.offsets.unwrap_or(Offsets::UNKNOWN));
    let request = told.request;
    // 0 lets the verifier remove every diagnostic from the programs.
    let log_level: u8 = if request.verbose { 0xff } else { 0 };
    let (scope, machine) = (Bytes(told.scope), Bytes(MACHINE));
    let filter = Bytes(filter_constants(&request.filter));
    let group_by = groups::constant(request.group_by);
    let preempted = u32::from(told.preempted);
    let mut loader = loader();
    loader
        .override_global("SCOPE", &scope, true)
        .override_global("FILTER", &filter, true)
        .override_global("GROUP_BY", &group_by, true)
        .override_global("PREEMPTED", &preempted, true)
        .override_global("MACHINE", &machine, true)
        .override_global("OFFSETS", &offsets, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries("CELLS", cell::count(cpus))
        .map_max_entries("CPUS", cpus);
    if !request.verbose {
        // Nothing will be said; a page is the smallest there is.
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    let grouped = group_by != group::NONE;
    let groups = if grouped { request.room.groups } else { 1 };
    loader
        .map_max_entries("GROUPS", groups)
        .map_max_entries("GROUP_OF_KEY", groups)
        .map_max_entries("FREE_GROUPS", groups)
        .map_max_entries("DEATHS", if grouped { group::DEATHS } else { 1 })
        .map_max_entries("TARGETS", if told.targets.is_empty() { 1 } else { request.room.targets })
        .map_max_entries("FORKS", if told.scope.follow == 0 { 1 } else { scope::MAX_FORKS });
    let mut ebpf = loader.load(object).context("cannot load the BPF object")?;
    fill_slots(&mut ebpf, &request.filter)?;
    fill_targets(&mut ebpf, told)?;
    // Before the programs are loaded: once they are, the map they log to is theirs.
    let diagnostics = request.verbose.then(|| Diagnostics::listen(&mut ebpf)).transpose()?;
    Ok((ebpf, diagnostics))
}

/// Loads the object with BTF only to ask the kernel something: with the smallest maps there are.
pub(super) fn smallest(offsets: Offsets) -> Result<Ebpf> {
    let (offsets, log_level) = (Bytes(offsets), 0u8);
    let mut loader = loader();
    loader
        .override_global("OFFSETS", &offsets, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries("CELLS", 1)
        .map_max_entries("TARGETS", 1)
        .map_max_entries("FORKS", 1)
        .map_max_entries("GROUPS", 1)
        .map_max_entries("GROUP_OF_KEY", 1)
        .map_max_entries("FREE_GROUPS", 1)
        .map_max_entries("DEATHS", 1)
        .map_max_entries("AYA_LOGS", 4096);
    loader.load(BTF_OBJECT).context("cannot load the BPF object")
}

fn loader() -> EbpfLoader<'static> {
    let mut loader = without_files(EbpfLoader::new);
    loader
        // The programs have no CO-RE relocations that would need the kernel's BTF.
        .btf(None)
        .allow_unsupported_maps()
        .verifier_log_level(VerifierLogLevel::DISABLE);
    loader
}

/// Calls `make` while no file can be opened. A new loader reads and parses the kernel's BTF, whatever it is
/// told afterwards, which takes some 25 MiB; it goes without if there is none to be read.
fn without_files<T>(make: impl FnOnce() -> T) -> T {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    if let Ok((_, hard)) = limits {
        // Only lowered, and what is open stays open: so are the first three, by Rust's runtime. poll(2) takes no
        // more files than that, and other threads of this program, which open none, wait for fewer.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, 3, hard);
    }
    let made = make();
    if let Ok((soft, hard)) = limits {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
    made
}

fn filter_constants(filter: &Filter) -> filter::Filter {
    let mut told =
        filter::Filter { kinds: filter.restricts_kinds().into(), ..filter::Filter::default() };
    match filter.outcome() {
        Outcome::Any => {}
        Outcome::Failed => told.results = filter::RESULTS_FAILED,
        Outcome::Errnos(errnos) => {
            told.results = filter::RESULTS_BY_ERRNO;
            for errno in errnos.iter().map(|errno| usize::from(*errno)) {
                assert!(errno < ERRNOS, "errno {errno} is beyond the table");
                told.errnos[errno / 64] |= 1 << (errno % 64);
            }
        }
    }
    told
}

/// Hands out all slots but the one for overflow, and marks what the filter leaves out.
fn fill_slots(ebpf: &mut Ebpf, filter: &Filter) -> Result<()> {
    fill_queue(ebpf, "FREE_SLOTS", 1..SLOTS)?;
    if filter.restricts_kinds() {
        let mut slots: Array<&mut MapData, u32> = Array::try_from(map(ebpf, "SLOT_OF_KIND")?)?;
        for kind in (0..KINDS).filter(|kind| !filter.wants(*kind)) {
            slots.set(kind, LEFT_OUT, 0).context("cannot mark what the filter leaves out")?;
        }
    }
    Ok(())
}

/// Hands `all` of something out.
pub(super) fn fill_queue(ebpf: &mut Ebpf, name: &str, all: Range<u32>) -> Result<()> {
    let mut free: Queue<&mut MapData, u32> = Queue::try_from(map(ebpf, name)?)?;
    for one in all {
        free.push(one, 0).with_context(|| format!("cannot fill the queue {name}"))?;
    }
    Ok(())
}

fn fill_targets(ebpf: &mut Ebpf, told: &Told<'_>) -> Result<()> {
    set_target_state(ebpf, scope::TargetState { id: told.id, ..Default::default() })?;
    let mut map = target_map(ebpf)?;
    for entry in &told.targets {
        map.insert(entry.id, entry.value, 0).context("cannot enter the targets")?;
    }
    Ok(())
}

/// The map of targets, as long as no privilege is given up.
pub(super) fn target_map(ebpf: &mut Ebpf) -> Result<HashMap<&mut MapData, u32, u32>> {
    Ok(HashMap::try_from(map(ebpf, "TARGETS")?)?)
}

/// The forks that were noted since [`note_forks`]: the child, and its parent.
pub(super) fn forks(ebpf: &mut Ebpf) -> Result<Vec<(u32, u32)>> {
    let map: HashMap<&mut MapData, u32, u32> = HashMap::try_from(map(ebpf, "FORKS")?)?;
    map.iter().collect::<Result<_, _>>().context("cannot read which processes were forked")
}

/// Sets whether the programs note all forks.
pub(super) fn note_forks(ebpf: &mut Ebpf, wanted: bool) -> Result<()> {
    let mut map: Array<&mut MapData, u32> = Array::try_from(map(ebpf, "NOTES_FORKS")?)?;
    map.set(0, u32::from(wanted), 0).context("cannot set whether forks are noted")
}

/// Sets what has become of the targets, before any call is seen.
pub(super) fn set_target_state(ebpf: &mut Ebpf, state: scope::TargetState) -> Result<()> {
    let mut map: Array<&mut MapData, Bytes<scope::TargetState>> =
        Array::try_from(map(ebpf, "TARGET_STATE")?)?;
    map.set(0, Bytes(state), 0).context("cannot set what has become of the targets")
}

/// Sets what can be changed later, for the time until then.
pub(super) fn set_settings(ebpf: &mut Ebpf, settings: Settings) -> Result<()> {
    let mut map: Array<&mut MapData, Bytes<CpuState>> = Array::try_from(map(ebpf, "CPUS")?)?;
    let fresh = CpuState::fresh(settings, monotonic_ns());
    for cpu in 0..map.len() {
        map.set(cpu, Bytes(fresh), 0).context("cannot set what is collected")?;
    }
    Ok(())
}

/// Enters the threads of `tgid` that exist now: an exit they make first is of a call that was open.
pub(super) fn enter_threads(ebpf: &mut Ebpf, tgid: u32) -> Result<()> {
    let mut states: HashMap<_, u32, Bytes<ThreadState>> =
        HashMap::try_from(map(ebpf, "STATE_BY_TID")?)?;
    // All zero: whatever the thread exits first was open when it was entered here.
    let known = ThreadState::default();
    let mut entered: BTreeSet<u32> = BTreeSet::new();
    // Until a round finds no new thread: they may be making more meanwhile.
    loop {
        let before = entered.len();
        for thread in fs::read_dir(format!("/proc/{tgid}/task")).into_iter().flatten().flatten() {
            if let Some(tid) = thread.file_name().to_str().and_then(|name| name.parse().ok())
                && entered.insert(tid)
            {
                // No room: the programs will find none either, and count it.
                let _ = states.insert(tid, Bytes(known), 0);
            }
        }
        if entered.len() == before {
            return Ok(());
        }
    }
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).with_context(|| format!("object has no map {name}"))
}

/// The program `name` of an object, as the type it is of.
pub(super) fn typed<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    let program =
        ebpf.program_mut(name).with_context(|| format!("object has no program {name}"))?;
    program.try_into().map_err(|_| anyhow!("program {name} is of another type"))
}
