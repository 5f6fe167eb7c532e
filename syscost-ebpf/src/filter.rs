//! Which calls of those in scope are recorded.

use syscost_common::filter::{LEFT_OUT, RESULTS_ALL, RESULTS_FAILED};

use crate::{constant::constant, maps::FILTER, slots};

/// Whether calls of `kind` are left out.
#[inline(always)]
pub(crate) fn leaves_out(kind: u32) -> bool {
    constant!(FILTER.kinds) != 0 && slots::entry(kind) == LEFT_OUT
}

/// Whether the result of a call decides if it is recorded. Constant to the verifier.
#[inline(always)]
pub(crate) fn depends_on_result() -> bool {
    constant!(FILTER.results) != RESULTS_ALL
}

/// Whether a call with `errno` (0 for success) is recorded.
#[inline(always)]
pub(crate) fn wants(errno: u64) -> bool {
    match constant!(FILTER.results) {
        RESULTS_ALL => true,
        RESULTS_FAILED => errno != 0,
        _ => {
            let word = match errno >> 6 {
                0 => constant!(FILTER.errnos[0]),
                1 => constant!(FILTER.errnos[1]),
                2 => constant!(FILTER.errnos[2]),
                _ => 0,
            };
            word >> (errno & 63) & 1 != 0
        }
    }
}
