//! Which bit of a thread's flags says that a signal waits for it: `TIF_SIGPENDING`, which has other places on other
//! machines and kernels (asm/thread_info.h), and none in BTF. Found by trying: a thread sends itself a signal, and the
//! flags at the end of that call have one bit that they have at the end of no other call.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::OnceLock,
    thread,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::{assembler::*, bpf, kernel_btf::KernelBtf};

/// How often to try at most. The kernel may set other bits meanwhile, such as that the thread has to make room.
const TRIES: usize = 16;

/// Ignored by default, so that one too many does no harm.
const SIGNAL: Signal = Signal::SIGURG;

static FOUND: OnceLock<u32> = OnceLock::new();

/// The bit; 0 where it could not be found.
pub(super) fn bit(kernel: &KernelBtf) -> u32 {
    if let Some(found) = FOUND.get() {
        return *found;
    }
    let Ok(offsets) = kernel.offsets.as_ref() else { return 0 };
    let flags = offsets.task_thread_flags;
    let tried = thread::scope(|scope| scope.spawn(|| try_out(flags)).join());
    match tried {
        Ok(Ok(bit)) => *FOUND.get_or_init(|| bit),
        _ => 0,
    }
}

/// In a thread of its own, which gets a name of its own. `flags`: where they are in `task_struct`.
fn try_out(flags: u32) -> Result<u32> {
    let name = format!("sc{:06x}", std::process::id() & 0xff_ffff);
    let name: [u8; 8] = name.into_bytes().try_into().ok().context("a name of eight characters")?;
    let mut named = [0; 9];
    named[..8].copy_from_slice(&name);
    // SAFETY: the kernel reads up to the zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, named.as_ptr()) };
    let map = bpf::create_word().context("cannot make a map")?;
    let program = bpf::load_raw_tracepoint(&collecting(flags, name, map.as_raw_fd()))
        .context("cannot load a program that reads flags")?;
    let _link = bpf::link_raw_tracepoint(&program, c"sys_exit").context("cannot attach it")?;
    let _handled = Handled::by_nothing()?;
    let mut bits = u32::MAX;
    for _ in 0..TRIES {
        let without = flags_of(&map, || ())?;
        bits &= flags_of(&map, signal_self)? & !without;
        if bits.count_ones() == 1 {
            return Ok(bits);
        }
    }
    bail!("no single bit is set for a signal: {bits:#x}")
}

/// The flags that were set at the end of any of the thread's calls: those of `happen`, and a few more.
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

/// While it lives, this thread handles the signal by a handler that does nothing.
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
        // SAFETY: as it was before.
        let _ = unsafe { sigaction(SIGNAL, &self.before) };
    }
}

/// A program that adds the flags of threads called `name` to those in the map, with bit 32 set.
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
        // To the end.
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
