//! Which calls of those in scope are recorded.

use syscost_common::filter::LEFT_OUT;

use crate::{frozen::frozen, maps::FILTER, record};

/// Whether calls of `kind` are left out.
#[inline(always)]
pub(crate) fn leaves_out(kind: u32) -> bool {
    frozen!(FILTER.kinds) != 0 && record::slot_entry(kind) == LEFT_OUT
}

/// Whether a call that returns `errno` (0 for success) is recorded.
#[inline(always)]
pub(crate) fn wants(errno: u64) -> bool {
    if frozen!(FILTER.failed) != 0 && errno == 0 {
        return false;
    }
    if frozen!(FILTER.by_errno) != 0 {
        let word = match errno >> 6 {
            0 => frozen!(FILTER.errnos[0]),
            1 => frozen!(FILTER.errnos[1]),
            2 => frozen!(FILTER.errnos[2]),
            _ => 0,
        };
        return word >> (errno & 63) & 1 != 0;
    }
    true
}
