//! The compiled objects, and the programs and maps in them. Knows no request: `load.rs` decides on constants
//! and sizes.

use std::ops::Range;

use anyhow::{Context, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, Pod, VerifierLogLevel, include_bytes_aligned,
    maps::{Map, MapData, Queue},
    programs::Program,
};
use syscost_common::{
    config::{Machine, Offsets},
    filter, scope,
    thread_state::ThreadState,
};

/// The object for kernels with BTF and task storage.
pub(super) static BTF_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/btf.bpf.o"));
/// The object for kernels without.
pub(super) static RAW_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/raw.bpf.o"));

/// A constant of the programs, or a value of a map, as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Bytes<T>(pub(super) T);

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
unsafe impl Pod for Bytes<scope::TargetState> {}

/// A loader that reads no kernel BTF and asks the verifier for no log.
pub(super) fn loader() -> EbpfLoader<'static> {
    let mut loader = without_files(EbpfLoader::new);
    loader
        // The programs have no CO-RE relocations that would need the kernel's BTF.
        .btf(None)
        .allow_unsupported_maps()
        .verifier_log_level(VerifierLogLevel::DISABLE);
    loader
}

/// Loads the BTF object with the smallest maps, for an iterator that only answers a question.
pub(super) fn smallest(offsets: Offsets) -> Result<Ebpf> {
    let (offsets, log_level) = (Bytes(offsets), 0u8);
    let mut loader = loader();
    loader
        .override_global("OFFSETS", &offsets, true)
        // The object has room for one CPU.
        .override_global("CPU_MASK", &0_u32, true)
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

/// Calls `make` while no file can be opened. A new loader reads and parses the kernel's BTF before it can be told
/// not to, which takes some 25 MiB; without a file to read it goes on without.
fn without_files<T>(make: impl FnOnce() -> T) -> T {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    if let Ok((_, hard)) = limits {
        // Open files stay open; the first three numbers are taken. poll(2) takes no more files than the limit, and
        // the other threads of this program, which open no files, poll fewer.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, 3, hard);
    }
    let made = make();
    if let Ok((soft, hard)) = limits {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
    made
}

/// The map called `name`.
///
/// # Errors
/// When the object has none.
pub(super) fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).with_context(|| format!("object has no map {name}"))
}

/// The program called `name`, as the type that it is of.
///
/// # Errors
/// When the object has none, or one of another type.
pub(super) fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    let program =
        ebpf.program_mut(name).with_context(|| format!("object has no program {name}"))?;
    program.try_into().map_err(|_| anyhow!("program {name} is of another type"))
}

/// Puts the numbers `free` into the queue called `name`, from which the programs take them.
pub(super) fn fill_queue(ebpf: &mut Ebpf, name: &str, free: Range<u32>) -> Result<()> {
    let mut queue: Queue<&mut MapData, u32> = Queue::try_from(map(ebpf, name)?)?;
    for number in free {
        queue.push(number, 0).with_context(|| format!("cannot fill the queue {name}"))?;
    }
    Ok(())
}
