//! Which calls of those in scope are recorded, set before loading.

use crate::cell::ERRNOS;

/// Stands in the table of slots for a kind that is left out: no slot has this number.
pub const LEFT_OUT: u32 = u32::MAX;

/// Calls are recorded whatever they return.
pub const RESULTS_ALL: u32 = 0;
/// Failed calls are.
pub const RESULTS_FAILED: u32 = 1;
/// Calls that failed with an errno whose bit is set are.
pub const RESULTS_BY_ERRNO: u32 = 2;

/// How many words hold a bit for each errno.
pub const ERRNO_WORDS: usize = ERRNOS.div_ceil(64);

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// 1: kinds marked [`LEFT_OUT`] in the table of slots are not recorded.
    pub kinds: u32,
    /// Which results are: one of the `RESULTS_*` constants.
    pub results: u32,
    /// Bit `n % 64` of word `n / 64` is for errno `n`.
    pub errnos: [u64; ERRNO_WORDS],
}

const _: () = assert!(size_of::<Filter>() == 32);
