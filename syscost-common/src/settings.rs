//! The settings that user space changes while the programs are attached: the level of detail, sampling, and the end.
//!
//! Each change of the detail gets a number, which a call notes at enter. So a call that begins under one setting and ends
//! under another is recognised.

/// Context switches are seen: a latency is divided into the time on the CPU and off it.
pub const SWITCHES: u32 = 1;
/// Wake-ups are seen as well: the time off the CPU is divided into run queue and blocked.
pub const WAKEUPS: u32 = 2;
/// The bits below the number of the setting.
const BITS: u32 = 2;

/// What user space sets while the programs run. A call notes a copy at enter. It is one word of eight bytes, so that the
/// programs see one setting or the other, and the hot path compares it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Settings {
    /// Which of [`SWITCHES`] and [`WAKEUPS`] are seen, and above these bits the number of the setting. 0 with hooks that
    /// can see neither.
    pub detail: u32,
    /// One in this many calls is measured, and counts this many times: a power of two; 1 for every call, [`STOPPED`] for
    /// none.
    pub one_in: u32,
}

/// In place of [`Settings::one_in`]: the measurement has ended. Nothing is recorded while the programs are being detached,
/// which takes the kernel up to 100 ms.
pub const STOPPED: u32 = 0;

const _: () = assert!(size_of::<Settings>() == 8);

/// The detail of setting number `setting`, with what is seen under it.
pub const fn detail(setting: u32, seen: u32) -> u32 {
    setting << BITS | seen
}

/// Whether the measurement has ended.
#[inline(always)]
pub const fn is_stopped(settings: Settings) -> bool {
    settings.one_in == STOPPED
}

/// `detail`, without context switches and wake-ups being seen.
#[inline(always)]
pub const fn unseen(detail: u32) -> u32 {
    detail & !(SWITCHES | WAKEUPS)
}

/// Whether all context switches were seen between two moments with these settings.
#[inline(always)]
pub const fn saw_all_switches(then: Settings, now: Settings) -> bool {
    then.detail == now.detail && sees_switches(now.detail)
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
