//! Which bit of a thread's flags says that a signal is pending: `TIF_SIGPENDING`. It differs between machines and
//! kernels (asm/thread_info.h), and BTF does not have it. So it is tried: a thread sends itself a signal, and one bit is
//! set at the end of that call that is not set at the end of other calls.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::OnceLock,
    thread,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::{assembler::*, bpf, kernel_btf::KernelBtf};

/// How often to try at most. The kernel may set other bits meanwhile, such as the one that asks for a reschedule.
const TRIES: usize = 16;

/// Ignored by default: a late one does no harm.
const SIGNAL: Signal = Signal::SIGURG;

static FOUND: OnceLock<u32> = OnceLock::new();

/// The trial, once its program is attached.
pub(super) struct Trial {
    /// `None` where the bit is known from an earlier trial, or cannot be tried.
    collector: Option<Collector>,
}

impl Trial {
    /// Attaches the program of the trial.
    pub(super) fn begin(kernel: &KernelBtf) -> Self {
        let is_known = FOUND.get().is_some();
        let offsets = kernel.offsets.as_ref().ok().filter(|_| !is_known);
        let collector =
            offsets.and_then(|offsets| Collector::attach(offsets.task_thread_flags).ok());
        Self { collector }
    }

    /// The bit; 0 where it could not be found.
    pub(super) fn bit(self) -> u32 {
        if let Some(found) = FOUND.get() {
            return *found;
        }
        let Some(collector) = self.collector else { return 0 };
        // In a thread of its own, which the program recognises by its name.
        let found = thread::scope(|scope| scope.spawn(|| collector.find_bit()).join());
        match found {
            Ok(Ok(bit)) => *FOUND.get_or_init(|| bit),
            _ => 0,
        }
    }
}

/// A program that collects the flags of threads with a certain name, at the end of their calls.
struct Collector {
    name: [u8; 8],
    map: OwnedFd,
    _link: OwnedFd,
}

impl Collector {
    /// `flags`: where a thread's flags are in `task_struct`.
    fn attach(flags: u32) -> Result<Self> {
        let name = format!("sc{:06x}", std::process::id() & 0xff_ffff);
        let name: [u8; 8] =
            name.into_bytes().try_into().ok().context("a name of eight characters")?;
        let map = bpf::create_word().context("cannot make a map")?;
        let program = bpf::load_raw_tracepoint(&collecting(flags, name, map.as_raw_fd()))
            .context("cannot load a program that reads flags")?;
        let link = bpf::link_raw_tracepoint(&program, c"sys_exit").context("cannot attach it")?;
        Ok(Self { name, map, _link: link })
    }

    /// Gives this thread the name, and sends it signals.
    fn find_bit(&self) -> Result<u32> {
        let mut name = [0; 9];
        name[..8].copy_from_slice(&self.name);
        // SAFETY: the kernel reads up to the zero.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
        let _handled = Handled::by_nothing()?;
        let mut bits = u32::MAX;
        for _ in 0..TRIES {
            let without = flags_of(&self.map, || ())?;
            bits &= flags_of(&self.map, signal_self)? & !without;
            if bits.count_ones() == 1 {
                return Ok(bits);
            }
        }
        bail!("no single bit is set for a signal: {bits:#x}")
    }
}

/// The flags that were set at the end of any call of this thread, during `happen` and some calls after it.
fn flags_of(map: &OwnedFd, happen: impl FnOnce()) -> Result<u32> {
    bpf::set_word(map, 0)?;
    happen();
    for _ in 0..3 {
        // SAFETY: takes nothing and touches no memory.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    match bpf::word(map)? {
        0 => bail!("no call was seen"),
        word => Ok(word as u32),
    }
}

fn signal_self() {
    // SAFETY: integers.
    unsafe {
        let tid = libc::gettid();
        libc::syscall(libc::SYS_tgkill, std::process::id(), tid, SIGNAL as i32);
    }
}

/// Until this is dropped, the signal has a handler that does nothing, and is not blocked in this thread.
struct Handled {
    before: SigAction,
}

impl Handled {
    fn by_nothing() -> Result<Self> {
        extern "C" fn nothing(_: i32) {}
        let action =
            SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler does nothing.
        let before = unsafe { sigaction(SIGNAL, &action) }.context("cannot handle a signal")?;
        let handled = Self { before };
        let mut own = SigSet::empty();
        own.add(SIGNAL);
        own.thread_unblock().context("cannot unblock a signal")?;
        Ok(handled)
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        // SAFETY: the action from before.
        let _ = unsafe { sigaction(SIGNAL, &self.before) };
    }
}

/// A program that adds the flags of threads called `name` to the flags in the map, with bit 32 set.
fn collecting(offset: u32, name: [u8; 8], map: i32) -> Vec<u64> {
    let name = u64::from_ne_bytes(name);
    vec![
        instruction(COPY, R1, FRAME, 0, 0),
        instruction(ADD, R1, 0, 0, -16),
        instruction(SET, R2, 0, 0, 16),
        instruction(CALL, 0, 0, 0, GET_CURRENT_COMM),
        instruction(LOAD_DOUBLE, R0, FRAME, -16, 0),
        instruction(LOAD_CONSTANT, R1, 0, 0, name as u32 as i32),
        instruction(0, 0, 0, 0, (name >> 32) as i32),
        // Threads with other names: to the end.
        instruction(JUMP_IF_UNEQUAL, R0, R1, 18, 0),
        instruction(CALL, 0, 0, 0, GET_CURRENT_TASK),
        instruction(COPY, R3, R0, 0, 0),
        instruction(ADD, R3, 0, 0, offset as i32),
        instruction(SET, R2, 0, 0, 4),
        instruction(SET, R1, 0, 0, 0),
        instruction(STORE, FRAME, R1, -24, 0),
        instruction(COPY, R1, FRAME, 0, 0),
        instruction(ADD, R1, 0, 0, -24),
        instruction(CALL, 0, 0, 0, PROBE_READ_KERNEL),
        instruction(LOAD_WORD, R0, FRAME, -24, 0),
        instruction(SET, R1, 0, 0, 1),
        instruction(SHIFT_LEFT, R1, 0, 0, 32),
        instruction(OR, R0, R1, 0, 0),
        instruction(LOAD_CONSTANT, R2, MAP_VALUE, 0, map),
        0,
        instruction(LOAD_DOUBLE, R1, R2, 0, 0),
        instruction(OR, R0, R1, 0, 0),
        instruction(STORE, R2, R0, 0, 0),
        instruction(SET, R0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}
