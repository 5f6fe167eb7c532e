//! Which calls of those in scope are recorded.

use syscost_common::filter::{LEFT_OUT, RESULTS_ALL, RESULTS_FAILED};

use crate::{constant::constant, maps::FILTER, record};

/// Whether calls of `kind` are left out.
#[inline(always)]
pub(crate) fn leaves_out(kind: u32) -> bool {
    constant!(FILTER.kinds) != 0 && record::slot_entry(kind) == LEFT_OUT
}

/// Whether a call that returns `errno` (0 for success) is recorded.
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
