//! Which kind of call a number is.

use syscost_common::kind::{AbiClass, X32_BIT, pack};

/// `TS_COMPAT` of arch/x86/include/asm/thread_info.h: a 32-bit call is being served.
const TS_COMPAT: u32 = 0x0002;

/// Whether a thread with this `thread_info.status` is in a compat call.
#[inline(always)]
pub(crate) fn is_compat(status: u32) -> bool {
    status & TS_COMPAT != 0
}

/// The kind of call `nr`.
#[inline(always)]
pub(crate) fn of_call(nr: u32, is_compat: bool) -> u32 {
    if is_compat {
        return pack(AbiClass::Compat, nr);
    }
    if nr as i32 >= 0 && nr & X32_BIT != 0 {
        return pack(AbiClass::X32, nr & !X32_BIT);
    }
    pack(AbiClass::Native, nr)
}
