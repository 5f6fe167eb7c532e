//! The kernel border: loads the programs, attaches them, reads what they wrote.
//!
//! The only module that imports aya. Knows no model and no view.

mod bpf;
mod diagnostics;
mod fold;
mod kernel_btf;
mod maps;
pub mod preflight;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    mem::size_of,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, anyhow, bail};
use aya::{
    Btf, Ebpf, EbpfLoader, Pod, VerifierLogLevel, include_bytes_aligned,
    maps::{HashMap, Map, Queue},
    programs::{
        BtfTracePoint, Iter, Program, RawTracePoint, raw_trace_point::RawTracePointLink,
        tp_btf::BtfTracePointLink,
    },
};
use syscost_common::{
    cell::{self, SLOTS},
    config::{Machine, Offsets},
    kind,
    open_call::{InFlight, ORIGIN_UNKNOWN, OpenCall},
};

use crate::sample::{KindSample, LedgerSample, OpenCallSample};
use diagnostics::Diagnostics;
use maps::Maps;

pub use maps::map_bytes_at_most;

static BTF_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/btf.bpf.o"));
static RAW_OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/raw.bpf.o"));

/// Which hooks to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// The best that the kernel has.
    #[default]
    Auto,
    /// BTF tracepoints and task storage, or fail.
    Btf,
    /// Raw tracepoints and a hash by tid, even where better is to be had.
    Raw,
}

/// Which hooks are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hooks {
    /// BTF tracepoints; the open call is kept in task storage.
    Btf,
    /// Raw tracepoints; the open call is kept in a hash by tid.
    Raw {
        /// Why not BTF tracepoints.
        because: String,
        /// Whether 32-bit calls are told from native ones, which takes kernel BTF.
        tells_abi: bool,
    },
}

/// The programs, attached to the kernel. Dropping it detaches them.
pub struct Probe {
    links: Vec<Link>,
    ebpf: Ebpf,
    maps: Maps,
    diagnostics: Option<Diagnostics>,
    hooks: Hooks,
    attached_at_ns: u64,
    /// The iterator over open calls, where there can be one.
    open_calls: Option<OwnedFd>,
    /// What [`Probe::program_misses`] said last, once the programs are gone.
    final_misses: Option<Option<u64>>,
}

/// An attachment; closing it detaches.
enum Link {
    Btf(#[expect(dead_code, reason = "held to be dropped")] BtfTracePointLink),
    Raw(#[expect(dead_code, reason = "held to be dropped")] RawTracePointLink),
}

// SAFETY: four-byte integers without padding, valid for any bytes.
unsafe impl Pod for PodOffsets {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodOffsets(Offsets);

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodMachine(Machine);

// SAFETY: four-byte integers without padding, valid for any bytes.
unsafe impl Pod for PodMachine {}

#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = Machine::X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = Machine::AARCH64;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodOpenCall(OpenCall);

// SAFETY: integers without padding, valid for any bytes.
unsafe impl Pod for PodOpenCall {}

impl Probe {
    /// Loads the programs and attaches them to all threads of the process `tgid` (as the root PID
    /// namespace numbers it).
    ///
    /// # Errors
    /// When the kernel refuses: missing privileges, missing features, no memory.
    pub fn attach(tgid: u32, choice: HookChoice, verbose: bool) -> Result<Self> {
        preflight::require_privileges()?;
        lift_memlock_limit();
        match choice {
            HookChoice::Raw => Self::attach_raw(tgid, verbose, "forced by --hooks raw".to_owned()),
            HookChoice::Btf => Self::attach_btf(tgid, verbose),
            HookChoice::Auto => match Self::attach_btf(tgid, verbose) {
                Ok(probe) => Ok(probe),
                Err(why) => {
                    let because = format!("{why:#}");
                    Self::attach_raw(tgid, verbose, because)
                        .with_context(|| format!("BTF tracepoints: {why:#}; raw tracepoints"))
                }
            },
        }
    }

    fn attach_btf(tgid: u32, verbose: bool) -> Result<Self> {
        let bytes = fs::read(kernel_btf::VMLINUX)
            .with_context(|| format!("no kernel BTF in {}", kernel_btf::VMLINUX))?;
        let offsets = kernel_btf::offsets(&bytes)?;
        drop(bytes);
        let loaded = load(BTF_OBJECT, tgid, Some(offsets), verbose);
        let (mut ebpf, diagnostics) = loaded.map_err(|error| {
            // The kernel itself only says "invalid argument".
            let old = !preflight::kernel_is_at_least(5, 11);
            if old { anyhow!("no task storage for tracing programs before 5.11") } else { error }
        })?;
        // aya's loader has parsed the same and dropped it by now: once in memory is enough.
        let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
        // Fork first, so that every thread born from here on is known to be; exit before enter,
        // so that no enter stays without its exit.
        let programs = [
            ("process_fork", "sched_process_fork"),
            ("process_exit", "sched_process_exit"),
            ("sys_exit", "sys_exit"),
            ("sys_enter", "sys_enter"),
        ];
        for (name, tracepoint) in programs {
            let program: &mut BtfTracePoint = typed(&mut ebpf, name)?;
            program
                .load(tracepoint, &btf)
                .with_context(|| format!("cannot load the program for `{tracepoint}`"))?;
        }
        // Not on every kernel: bpf_task_pt_regs is there since 5.15.
        let open_calls = typed::<Iter>(&mut ebpf, "open_calls").ok().and_then(|program| {
            program.load("task", &btf).ok()?;
            bpf::link_task_iterator(program.fd().ok()?.as_fd(), tgid).ok()
        });
        drop(btf);
        let mut links = Vec::new();
        for (name, tracepoint) in programs {
            let program: &mut BtfTracePoint = typed(&mut ebpf, name)?;
            let link = program.attach().and_then(|id| program.take_link(id));
            links.push(Link::Btf(link.with_context(|| format!("cannot attach `{tracepoint}`"))?));
        }
        let probe = Self::attached(ebpf, links, diagnostics, Hooks::Btf)?;
        Ok(Self { open_calls, ..probe })
    }

    fn attach_raw(tgid: u32, verbose: bool, because: String) -> Result<Self> {
        let offsets = fs::read(kernel_btf::VMLINUX).ok();
        let offsets = offsets.and_then(|bytes| kernel_btf::offsets(&bytes).ok());
        let (mut ebpf, diagnostics) = load(RAW_OBJECT, tgid, offsets, verbose)?;
        // Before 5.12 there is no compare-exchange, nor does one program preempt another.
        let exchange = preflight::kernel_is_at_least(5, 12);
        let programs = [
            ("process_exec", "sched_process_exec"),
            ("process_exit", "sched_process_exit"),
            (if exchange { "sys_exit_cmpxchg" } else { "sys_exit" }, "sys_exit"),
            ("sys_enter", "sys_enter"),
        ];
        for (name, tracepoint) in programs {
            let program: &mut RawTracePoint = typed(&mut ebpf, name)?;
            program
                .load()
                .with_context(|| format!("cannot load the program for `{tracepoint}`"))?;
        }
        // Without BTF a child cannot be recognised when it is forked. The threads that exist now
        // are entered instead; any other thread is younger. `process_exit` is attached before, so
        // that a thread which dies meanwhile is not left in the map for long.
        let mut links = Vec::new();
        for (name, tracepoint) in programs {
            if tracepoint == "sys_exit" {
                enter_threads(&mut ebpf, tgid)?;
            }
            let program: &mut RawTracePoint = typed(&mut ebpf, name)?;
            let link = program.attach(tracepoint).and_then(|id| program.take_link(id));
            links.push(Link::Raw(link.with_context(|| format!("cannot attach `{tracepoint}`"))?));
        }
        let hooks = Hooks::Raw { because, tells_abi: offsets.is_some() };
        Self::attached(ebpf, links, diagnostics, hooks)
    }

    fn attached(
        ebpf: Ebpf,
        links: Vec<Link>,
        diagnostics: Option<Diagnostics>,
        hooks: Hooks,
    ) -> Result<Self> {
        let maps = Maps::open(&ebpf, possible_cpus()?)?;
        give_back_memory();
        Ok(Self {
            links,
            ebpf,
            maps,
            diagnostics,
            hooks,
            attached_at_ns: monotonic_ns(),
            open_calls: None,
            final_misses: None,
        })
    }

    /// Which hooks are in use.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// When the probes were attached, ns of CLOCK_MONOTONIC.
    pub fn attached_at_ns(&self) -> u64 {
        self.attached_at_ns
    }

    /// What has been recorded so far. Call it at least every two seconds: the kernel's bucket
    /// counters wrap at 2^32 calls.
    pub fn snapshot(&mut self) -> (u64, Vec<KindSample>, LedgerSample) {
        // The ledger last: what the histograms count, it counts as well.
        let at_ns = monotonic_ns();
        let kinds = self.maps.kinds();
        let counters = self.maps.counters();
        let program_misses = self.final_misses.unwrap_or_else(|| self.program_misses());
        (at_ns, kinds, LedgerSample { counters, program_misses })
    }

    /// Detaches the programs, waits until none of them is running any more, and unloads them; what
    /// was recorded stays readable and no longer changes.
    pub fn detach(&mut self) {
        // Enter first, which was attached last: no enter without its exit here either.
        while self.links.pop().is_some() {}
        // Programs run inside an RCU read-side section; this call returns after all that began
        // before it have ended (membarrier(2), MEMBARRIER_CMD_GLOBAL).
        // SAFETY: takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
        self.open_calls = None;
        let misses = self.program_misses();
        self.final_misses.get_or_insert(misses);
        for (_, program) in self.ebpf.programs_mut() {
            // What was never loaded has nothing to unload, and says so.
            let _ = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::RawTracePoint(program) => program.unload(),
                Program::Iter(program) => program.unload(),
                _ => Ok(()),
            };
        }
    }

    /// What the programs had to say since the last time; only those loaded to be verbose say
    /// anything.
    pub fn diagnostics(&mut self) -> Vec<String> {
        self.diagnostics.as_mut().map_or_else(Vec::new, Diagnostics::drain)
    }

    /// The calls that are open now, in no particular order; `None` where this kernel cannot list
    /// them, and once the programs are detached.
    pub fn open_calls(&self) -> Option<Vec<OpenCallSample>> {
        let mut bytes = Vec::new();
        let mut run = bpf::run_iterator(self.open_calls.as_ref()?.as_fd()).ok()?;
        run.read_to_end(&mut bytes).ok()?;
        let records = bytes.chunks_exact(size_of::<InFlight>());
        Some(records.filter_map(OpenCallSample::from_record).collect())
    }

    /// Kernel memory of the maps, bytes, as the kernel accounts for it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn map_bytes(&self) -> Result<u64> {
        maps::accounted_bytes(&self.ebpf)
    }

    fn program_misses(&self) -> Option<u64> {
        let mut misses = 0;
        // The iterator misses nothing: it runs when we ask it to.
        let hooked = self.ebpf.programs().filter(|(name, _)| *name != "open_calls");
        for (_, program) in hooked {
            // One that was never loaded: made for another kernel than this.
            let Ok(fd) = program.fd() else { continue };
            misses += bpf::recursion_misses(fd.as_fd())?;
        }
        Some(misses)
    }
}

impl OpenCallSample {
    fn from_record(bytes: &[u8]) -> Option<Self> {
        assert_eq!(bytes.len(), size_of::<InFlight>());
        // SAFETY: as long as the record, which is integers only; the bytes may be unaligned.
        let record: InFlight = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        let (abi, nr) = kind::unpack(record.kind)?;
        Some(Self {
            tid: record.tid,
            abi,
            nr,
            entered_at_ns: (record.entered_at != 0).then_some(record.entered_at),
            args: record.args,
            runnable: record.runnable != 0,
        })
    }
}

/// Loads `object` with its knobs set and its maps sized, but no program yet.
fn load(
    object: &[u8],
    tgid: u32,
    offsets: Option<Offsets>,
    verbose: bool,
) -> Result<(Ebpf, Option<Diagnostics>)> {
    let cpus = possible_cpus()?;
    let offsets = offsets.map(PodOffsets);
    // 0 lets the verifier remove every diagnostic from the programs.
    let log_level: u8 = if verbose { 0xff } else { 0 };
    let mut loader = EbpfLoader::new();
    loader
        // The programs have no CO-RE relocations that would need the kernel's BTF.
        .btf(None)
        .allow_unsupported_maps()
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("TARGET_TGID", &tgid, true)
        .override_global("MACHINE", &PodMachine(MACHINE), true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries("CELLS", cell::count(cpus))
        .map_max_entries("LEDGER", cpus);
    if !verbose {
        // Nothing will be said; a page is the smallest there is.
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    if let Some(offsets) = &offsets {
        loader.override_global("OFFSETS", offsets, true);
    }
    let mut ebpf = loader.load(object).context("cannot load the BPF object")?;
    let free = ebpf.map_mut("FREE_SLOTS").context("object has no map FREE_SLOTS")?;
    let mut free = Queue::<_, u32>::try_from(free)?;
    for slot in 1..SLOTS {
        free.push(slot, 0).context("cannot fill the queue of free slots")?;
    }
    // Before the programs are loaded: once they are, the map they log to is theirs.
    let diagnostics = verbose.then(|| Diagnostics::listen(&mut ebpf)).transpose()?;
    Ok((ebpf, diagnostics))
}

/// Enters the threads of `tgid` that exist now: an exit they make first is of a call that was open.
fn enter_threads(ebpf: &mut Ebpf, tgid: u32) -> Result<()> {
    let map: &mut Map = ebpf.map_mut("OPEN_BY_TID").context("object has no map OPEN_BY_TID")?;
    let mut open: HashMap<_, u32, PodOpenCall> = HashMap::try_from(map)?;
    let known = OpenCall { origin: ORIGIN_UNKNOWN, ..OpenCall::default() };
    let mut entered: BTreeSet<u32> = BTreeSet::new();
    // Until a round finds no new thread: they may be making more meanwhile.
    loop {
        let before = entered.len();
        for thread in fs::read_dir(format!("/proc/{tgid}/task")).into_iter().flatten().flatten() {
            if let Some(tid) = thread.file_name().to_str().and_then(|name| name.parse().ok())
                && entered.insert(tid)
            {
                // No room: the programs will find none either, and count it.
                let _ = open.insert(tid, PodOpenCall(known), 0);
            }
        }
        if entered.len() == before {
            return Ok(());
        }
    }
}

fn typed<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    let program =
        ebpf.program_mut(name).with_context(|| format!("object has no program {name}"))?;
    program.try_into().map_err(|_| anyhow!("program {name} is of another type"))
}

/// Kernels before 5.11 charge BPF memory to this limit. Where it cannot be lifted, loading says so.
fn lift_memlock_limit() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Parsing the kernel's BTF takes some 30 MiB for a moment, which the allocator would keep.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer; may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// CPUs that may ever be online: what per-CPU arrays are sized by.
fn possible_cpus() -> Result<u32> {
    let cpus =
        aya::util::nr_cpus().map_err(|(path, error)| anyhow!("cannot read {path}: {error}"))?;
    match u32::try_from(cpus) {
        Ok(cpus) if cpus > 0 => Ok(cpus),
        _ => bail!("the kernel names {cpus} possible CPUs"),
    }
}

/// Now, ns of CLOCK_MONOTONIC: the clock of `bpf_ktime_get_ns`.
fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the place given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
