//! A syscall kind: one number of one ABI, packed into an index of the slot table.

/// The calling convention of a syscall, as the kernel distinguishes them.
///
/// Which table of names belongs to it depends on the machine: `Native` is x86-64 on x86 and
/// AArch64 on Arm; `Compat` is i386 (`int 0x80`, `sysenter`, 32-bit `syscall`) or 32-bit Arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum AbiClass {
    /// The kernel's own 64-bit convention.
    Native = 0,
    /// The 32-bit convention of the same family.
    Compat = 1,
    /// x86's 32-bit pointers on 64-bit registers: bit 30 of the number is set.
    X32 = 2,
}

/// Numbers from 0 to this one, exclusive, have a kind of their own in each ABI.
pub const NRS_PER_ABI: u32 = 1024;

/// The number for all calls whose number has no kind of its own: too large, or negative.
pub const NR_OUT_OF_RANGE: u32 = NRS_PER_ABI - 1;

/// The number of kinds, and of entries in the slot table. A power of two, so that a mask keeps
/// any value inside the table.
pub const KINDS: u32 = NRS_PER_ABI * 4;

/// Bit 30 of a syscall number marks an x32 call (`__X32_SYSCALL_BIT` in the kernel's headers).
pub const X32_BIT: u32 = 1 << 30;

/// Packs an ABI and a number; numbers out of range share [`NR_OUT_OF_RANGE`].
#[inline(always)]
pub const fn pack(abi: AbiClass, nr: u32) -> u32 {
    let nr = if nr < NRS_PER_ABI { nr } else { NR_OUT_OF_RANGE };
    abi as u32 * NRS_PER_ABI + nr
}

/// The ABI and the number of a kind; `None` for an index that no call can have.
pub const fn unpack(kind: u32) -> Option<(AbiClass, u32)> {
    let abi = match kind / NRS_PER_ABI {
        0 => AbiClass::Native,
        1 => AbiClass::Compat,
        2 => AbiClass::X32,
        _ => return None,
    };
    Some((abi, kind % NRS_PER_ABI))
}

/// Whether `nr`, of any ABI, is one of `io_uring_setup`, `io_uring_enter` and `io_uring_register`: since
/// Linux 5.0 new calls have one number everywhere.
#[inline(always)]
pub const fn is_io_uring(nr: u32) -> bool {
    matches!(nr, 425..=427)
}
