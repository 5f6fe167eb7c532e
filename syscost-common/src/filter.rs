//! Which calls of those in scope are recorded, set before loading.

use crate::cell::ERRNOS;

/// Stands in the table of slots for a kind that is left out: no slot has this number.
pub const LEFT_OUT: u32 = u32::MAX;

/// How many words hold a bit for each errno.
pub const ERRNO_WORDS: usize = ERRNOS.div_ceil(64);

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// 1: kinds marked [`LEFT_OUT`] in the table of slots are not recorded.
    pub kinds: u32,
    /// 1: only failed calls are recorded.
    pub failed: u32,
    /// 1: only calls that failed with an errno whose bit is set in `errnos`.
    pub by_errno: u32,
    /// Explicit padding: kernel memory holds nothing undefined.
    pub reserved: u32,
    /// Bit `n % 64` of word `n / 64` is for errno `n`.
    pub errnos: [u64; ERRNO_WORDS],
}

const _: () = assert!(size_of::<Filter>() == 40);
