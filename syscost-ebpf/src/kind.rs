//! Which kind of call a number is.

use syscost_common::kind::{AbiClass, X32_BIT, pack};

/// `TS_COMPAT` of arch/x86/include/asm/thread_info.h: a 32-bit call is being served.
const TS_COMPAT: u32 = 0x0002;

/// The kind of call `nr`, made by a thread with this `thread_info.status`. Where the status is not
/// known, 0 stands for it, and a compat call passes for a native one.
#[inline(always)]
pub(crate) fn of_call(nr: u32, status: u32) -> u32 {
    if status & TS_COMPAT != 0 {
        return pack(AbiClass::Compat, nr);
    }
    if nr as i32 >= 0 && nr & X32_BIT != 0 {
        return pack(AbiClass::X32, nr & !X32_BIT);
    }
    pack(AbiClass::Native, nr)
}
