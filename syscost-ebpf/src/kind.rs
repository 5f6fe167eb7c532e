//! Which kind of call a number is, as far as the number itself tells.

use syscost_common::kind::{AbiClass, X32_BIT, pack};

/// The kind of call `nr`, taken for a native or an x32 one: a compat call looks native.
#[inline(always)]
pub(crate) fn of_number(nr: u32) -> u32 {
    if nr as i32 >= 0 && nr & X32_BIT != 0 {
        return pack(AbiClass::X32, nr & !X32_BIT);
    }
    pack(AbiClass::Native, nr)
}
