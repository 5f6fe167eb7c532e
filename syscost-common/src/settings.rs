//! How much detail is being collected: the one setting that user space turns while attached.
//!
//! Less detail costs less. What was begun under one setting and ended under another is known to be
//! neither: each setting has a number of its own, which a call takes along.

/// Context switches are seen: a latency's time on the CPU is told from that off it.
pub const SWITCHES: u32 = 1;
/// Wake-ups are seen as well: waiting for a CPU is told from being blocked.
pub const WAKEUPS: u32 = 2;
/// The bits below the number of the setting.
const BITS: u32 = 2;

/// What user space sets while the programs run. A call takes a copy along: one word, so that this
/// costs the hot path as little as can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Settings {
    /// Which of [`SWITCHES`] and [`WAKEUPS`], and above them the number of the setting. 0 where neither
    /// can be seen.
    pub detail: u32,
    /// Of how many calls one is measured, and stands for all of them: a power of two, 1 for every call;
    /// [`STOPPED`] for none.
    pub one_in: u32,
}

/// In place of [`Settings::one_in`]: the measurement is over. Nothing is recorded any more, while the
/// programs are being detached, which takes the kernel up to 100 ms.
pub const STOPPED: u32 = 0;

const _: () = assert!(size_of::<Settings>() == 8);

/// The detail of setting number `setting`, with what is seen under it.
pub const fn detail(setting: u32, seen: u32) -> u32 {
    setting << BITS | seen
}

/// Whether the measurement is over.
#[inline(always)]
pub const fn is_stopped(settings: Settings) -> bool {
    settings.one_in == STOPPED
}

/// `detail`, of something that turned out not to have been seen.
#[inline(always)]
pub const fn unseen(detail: u32) -> u32 {
    detail & !(SWITCHES | WAKEUPS)
}

/// Whether context switches are seen under `detail`.
#[inline(always)]
pub const fn sees_switches(detail: u32) -> bool {
    detail & SWITCHES != 0
}

/// Whether wake-ups are seen under `detail`.
#[inline(always)]
pub const fn sees_wakeups(detail: u32) -> bool {
    detail & WAKEUPS != 0
}
