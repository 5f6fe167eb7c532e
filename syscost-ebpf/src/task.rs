//! The running task, read through a BTF pointer: plain loads at offsets known when loading.

use aya_ebpf::{bindings::task_struct, helpers::generated::bpf_get_current_task_btf};
use syscost_common::kind::{AbiClass, X32_BIT, pack};

use crate::maps::OFFSETS;

/// `TS_COMPAT` of arch/x86/include/asm/thread_info.h: a 32-bit call is being served.
const TS_COMPAT: u32 = 0x0002;

/// The running task.
#[inline(always)]
pub(crate) fn current() -> *mut task_struct {
    // SAFETY: the helper has no preconditions and always returns the running task.
    unsafe { bpf_get_current_task_btf().cast() }
}

#[inline(always)]
pub(crate) fn tgid(task: *mut task_struct) -> u32 {
    read(task, OFFSETS.load().task_tgid)
}

/// The kind of call `nr` that `task` has just entered.
#[inline(always)]
pub(crate) fn kind_of(task: *mut task_struct, nr: u64) -> u32 {
    let nr = nr as u32;
    let status_at = OFFSETS.load().task_status;
    if status_at != 0 && read(task, status_at) & TS_COMPAT != 0 {
        return pack(AbiClass::Compat, nr);
    }
    kind_without_task(nr)
}

/// The kind of call `nr` where the task cannot be read: compat calls pass for native ones.
#[inline(always)]
pub(crate) fn kind_without_task(nr: u32) -> u32 {
    if nr as i32 >= 0 && nr & X32_BIT != 0 {
        return pack(AbiClass::X32, nr & !X32_BIT);
    }
    pack(AbiClass::Native, nr)
}

#[inline(always)]
fn read(task: *mut task_struct, offset: u32) -> u32 {
    // SAFETY: a BTF pointer; the verifier checks the offset against the type, and the kernel turns
    // a faulting load into 0.
    unsafe { task.cast::<u8>().add(offset as usize).cast::<u32>().read_volatile() }
}
