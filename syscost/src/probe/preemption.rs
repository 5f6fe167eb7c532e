//! Whether the running kernel preempts threads inside programs. This is tried, not looked up by version, because
//! distributions backport such changes.
//!
//! While a thread is preempted inside a program, a program of another thread may run on the same CPU. So additions must
//! be atomic. The kernel also skips a run of a program that is running on the same CPU already (`__bpf_trace_run`,
//! kernel/trace/bpf_trace.c).

use std::{
    ffi::CStr,
    fs,
    os::fd::{AsRawFd, OwnedFd},
    sync::OnceLock,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    assembler::*,
    bpf,
    kernel_btf::{Counts, KernelBtf, Place},
};

/// How the kernel runs programs at tracepoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    /// Whether a thread may be preempted inside a program at a raw or BTF tracepoint. Those of perf keep
    /// preemption off (include/trace/perf.h).
    pub(super) preempted: bool,
    /// Whether programs may compare and exchange (Linux 5.12, and the JIT of some machines later).
    pub(super) exchange: bool,
    /// Why `preempted` could not be tried; `None` if it was tried. Without a trial it is assumed to be true, unless
    /// the kernel is too old or was built without preemption.
    pub(super) untried: Option<String>,
}

/// How this kernel runs programs. Tried once, at the first call with the privileges for it.
pub(super) fn programs() -> Programs {
    TRIED.get().cloned().unwrap_or_else(|| try_out(&KernelBtf::read()))
}

/// The same, where the kernel's BTF has been read already.
pub(super) fn programs_by(kernel: &KernelBtf) -> Programs {
    TRIED.get().cloned().unwrap_or_else(|| try_out(kernel))
}

static TRIED: OnceLock<Programs> = OnceLock::new();

fn try_out(kernel: &KernelBtf) -> Programs {
    let exchange = bpf::load_raw_tracepoint(&exchanging());
    let counts = kernel.counts.as_ref().map_err(|why| anyhow!("{why:#}"));
    let preempted = counts.and_then(|counts| is_preempted(*counts));
    // A trial that failed for lack of privileges, memory or descriptors may succeed later.
    let refused = [libc::EINVAL, ENOTSUPP, libc::EOPNOTSUPP];
    let is_refused =
        |why: &std::io::Error| why.raw_os_error().is_some_and(|errno| refused.contains(&errno));
    let may_ask = exchange.as_ref().err().is_none_or(is_refused);
    // If the assumption is wrong, loading the programs fails.
    let exchange = exchange.is_ok() || !may_ask;
    let programs = match preempted {
        Ok(preempted) => Programs { preempted, exchange, untried: None },
        Err(why) => Programs {
            // Kernels without compare-exchange are years older than those with preemption inside programs.
            preempted: exchange && may_preempt(),
            exchange,
            untried: Some(format!("{why:#}")),
        },
    };
    if may_ask {
        let _ = TRIED.set(programs.clone());
    }
    programs
}

/// The error for an instruction that the JIT does not support (include/linux/errno.h).
const ENOTSUPP: i32 = 524;

/// Whether the kernel was built to preempt itself, as its version says (init/Makefile).
fn may_preempt() -> bool {
    let version = fs::read_to_string("/proc/sys/kernel/version");
    version.map_or(true, |version| version.contains("PREEMPT"))
}

/// Whether programs at tracepoints run with preemption on. Asks programs at a tracepoint of system calls, and at
/// another one.
///
/// A program must stay on its CPU. For that the kernel turns off either preemption or migration, and counts the latter in
/// the task. Where migration is off, preemption may be off as well. Its own count shows that, but BTF does not always
/// tell where it is.
fn is_preempted(counts: Counts) -> Result<bool> {
    let migration =
        counts.migration.context("this kernel does not count what keeps a task on its CPU")?;
    let migration = AtBoth::attach(migration)?;
    if migration.counts()?.iter().all(|count| *count == 0) {
        return Ok(false);
    }
    let place =
        counts.preemption.context("this kernel's count of preemption is not to be found")?;
    let preemption = AtBoth::attach(place)?;
    if preemption.counts()?.iter().all(|count| *count != 0) {
        return Ok(false);
    }
    // A kernel without preemption need not count it. Preemption is always off while a thread is switched out: a count
    // of 0 there means that this kernel does not count.
    let pause = || thread::sleep(Duration::from_millis(1));
    Ok(Count::attach(place, c"sched_switch")?.when(pause)? != 0)
}

/// A count of the kernel's, read by a program at a tracepoint.
struct Count {
    map: OwnedFd,
    tracepoint: &'static CStr,
    _link: OwnedFd,
}

impl Count {
    fn attach(place: Place, tracepoint: &'static CStr) -> Result<Self> {
        let map = bpf::create_word().context("cannot make a map")?;
        let program = bpf::load_raw_tracepoint(&reading(place, map.as_raw_fd()))
            .context("cannot load a program that reads a count")?;
        let link = bpf::link_raw_tracepoint(&program, tracepoint)
            .with_context(|| format!("cannot attach to {tracepoint:?}"))?;
        Ok(Self { map, tracepoint, _link: link })
    }

    /// The count when `happen` makes the tracepoint occur.
    fn when(&self, happen: impl FnOnce()) -> Result<u32> {
        bpf::set_word(&self.map, 0)?;
        happen();
        match bpf::word(&self.map)? {
            0 => bail!("{:?} did not happen", self.tracepoint),
            word => Ok(word as u32 & COUNT),
        }
    }
}

/// A count at a tracepoint of system calls and at one of another kind.
///
/// Both are attached before either is detached: the kernel waits for a grace period of RCU, some milliseconds,
/// when a tracepoint gets its first program soon after another one has lost its last (`tracepoint_add_func`,
/// kernel/tracepoint.c).
struct AtBoth {
    call: Count,
    wait: Count,
}

impl AtBoth {
    fn attach(place: Place) -> Result<Self> {
        let call = Count::attach(place, c"sys_enter")?;
        Ok(Self { call, wait: Count::attach(place, c"sched_process_wait")? })
    }

    fn counts(&self) -> Result<[u32; 2]> {
        Ok([self.call.when(make_a_call)?, self.wait.when(wait_for_nobody)?])
    }
}

fn make_a_call() {
    // SAFETY: takes nothing and touches no memory.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Makes the tracepoint `sched_process_wait` occur. Returns at once: this process is no child of its own.
fn wait_for_nobody() {
    let id = std::process::id();
    // SAFETY: nothing is written where the pointer is null.
    unsafe {
        let nothing = std::ptr::null_mut::<libc::siginfo_t>();
        libc::syscall(libc::SYS_waitid, libc::P_PID, id, nothing, libc::WEXITED | libc::WNOHANG, 0)
    };
}

/// The bits of a count. On x86 the bit above them, in the count of preemption, says that no switch is due.
const COUNT: u32 = 0x7fff_ffff;

/// A program that compares and exchanges.
fn exchanging() -> Vec<u64> {
    vec![
        instruction(SET, R0, 0, 0, 0),
        instruction(SET, R1, 0, 0, 1),
        instruction(STORE, FRAME, R0, -8, 0),
        instruction(ATOMIC, FRAME, R1, -8, COMPARE_EXCHANGE),
        instruction(SET, R0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// A program that puts the count at `place` into the map, with bit 32 set.
fn reading(place: Place, map: i32) -> Vec<u64> {
    let load = |size| if size == 2 { LOAD_HALF } else { LOAD_WORD };
    let mut program = match place {
        Place::PerCpu { variable, offset, size } => vec![
            instruction(LOAD_CONSTANT, R1, VARIABLE, 0, variable as i32),
            0,
            instruction(CALL, 0, 0, 0, THIS_CPU_PTR),
            instruction(load(size), R0, R0, offset as i16, 0),
        ],
        Place::InTask { offset, size } => vec![
            instruction(CALL, 0, 0, 0, GET_CURRENT_TASK),
            instruction(COPY, R3, R0, 0, 0),
            instruction(ADD, R3, 0, 0, offset as i32),
            instruction(SET, R2, 0, 0, size.into()),
            instruction(SET, R1, 0, 0, 0),
            instruction(STORE, FRAME, R1, -8, 0),
            instruction(COPY, R1, FRAME, 0, 0),
            instruction(ADD, R1, 0, 0, -8),
            instruction(CALL, 0, 0, 0, PROBE_READ_KERNEL),
            instruction(load(size), R0, FRAME, -8, 0),
        ],
    };
    program.extend([
        instruction(SET, R1, 0, 0, 1),
        instruction(SHIFT_LEFT, R1, 0, 0, 32),
        instruction(OR, R0, R1, 0, 0),
        instruction(LOAD_CONSTANT, R2, MAP_VALUE, 0, map),
        0,
        instruction(STORE, R2, R0, 0, 0),
        instruction(SET, R0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    program
}
