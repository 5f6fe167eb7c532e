//! Which kind of call a number is.

use syscost_common::kind::{AbiClass, NRS_PER_ABI, X32_BIT, is_io_uring, pack};

use crate::{constant::constant, maps::MACHINE};

/// Whether a thread is in a compat call in whose task `word` lies at `OFFSETS.task_compat`.
#[inline(always)]
pub(crate) fn is_compat(word: u32) -> bool {
    word & constant!(MACHINE.compat_bit) != 0
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

/// Whether calls of `kind` are `io_uring_setup`, `io_uring_enter` or `io_uring_register`.
#[inline(always)]
pub(crate) fn is_of_io_uring(kind: u32) -> bool {
    is_io_uring(kind % NRS_PER_ABI)
}
