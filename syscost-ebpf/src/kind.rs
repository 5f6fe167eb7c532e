//! Which kind of call a number is, and which kinds are special.

use syscost_common::kind::{AbiClass, NRS_PER_ABI, X32_BIT, is_io_uring, pack, unpack};

use crate::{constant::constant, maps::MACHINE};

/// The number of a call that will not be made: a tracer has replaced the program's (ptrace(2)), or the program gave an
/// impossible one. Its exit is one without an enter, as after a seccomp denial.
pub(crate) const NO_CALL: i32 = -1;

/// Whether `word`, read at `OFFSETS.task_compat` of a task, says that it is in a compat call.
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

/// Whether calls of `kind` are compat calls.
#[inline(always)]
pub(crate) fn is_of_compat_call(kind: u32) -> bool {
    matches!(unpack(kind), Some((AbiClass::Compat, _)))
}

/// Whether calls of `kind` have the number `nr`.
#[inline(always)]
pub(crate) fn has_nr(kind: u32, nr: i64) -> bool {
    unpack(kind).is_some_and(|(_, own)| nr == own.into())
}

/// Whether calls of `kind` are `io_uring_setup`, `io_uring_enter` or `io_uring_register`.
#[inline(always)]
pub(crate) fn is_of_io_uring(kind: u32) -> bool {
    is_io_uring(kind % NRS_PER_ABI)
}

/// Whether `kind` is `restart_syscall`, by which the kernel makes a thread enter some interrupted calls again.
#[inline(always)]
pub(crate) fn is_restart_syscall(kind: u32) -> bool {
    kind == pack(AbiClass::Native, constant!(MACHINE.restart_syscall))
        || kind == pack(AbiClass::X32, 219)
        // i386 and 32-bit Arm.
        || kind == pack(AbiClass::Compat, 0)
}

/// Whether `kind` is `execve` or `execveat`.
#[inline(always)]
pub(crate) fn is_exec(kind: u32) -> bool {
    kind == pack(AbiClass::Native, constant!(MACHINE.execve))
        || kind == pack(AbiClass::Native, constant!(MACHINE.execveat))
        || kind == pack(AbiClass::X32, 520)
        || kind == pack(AbiClass::X32, 545)
        // i386 and 32-bit Arm: execve; i386's execveat; that of 32-bit Arm.
        || kind == pack(AbiClass::Compat, 11)
        || kind == pack(AbiClass::Compat, 358)
        || kind == pack(AbiClass::Compat, 387)
}

/// Whether `kind` is a handler's return. It has no result: the register holds whatever the interrupted code had there.
#[inline(always)]
pub(crate) fn is_sigreturn(kind: u32) -> bool {
    if kind < NRS_PER_ABI {
        return kind == pack(AbiClass::Native, constant!(MACHINE.rt_sigreturn));
    }
    kind == pack(AbiClass::X32, 513)
        // i386 and 32-bit Arm: sigreturn and rt_sigreturn.
        || kind == pack(AbiClass::Compat, 119)
        || kind == pack(AbiClass::Compat, 173)
}
