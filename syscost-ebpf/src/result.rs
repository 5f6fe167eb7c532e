//! What the result of a call says.

/// The errno of a call that was interrupted and does not go on.
pub(crate) const EINTR: u32 = 4;
/// The errno that x86, and a tracer that skips a call, leave in the register for results.
pub(crate) const ENOSYS: u32 = 38;

/// Whether `ret` may be a negated errno, or an interruption: it is one, or 4096 too much. One comparison.
#[inline(always)]
pub(crate) fn may_be_errno(ret: u64) -> bool {
    ret >= (-4096_i64) as u64
}

/// The errno of a failed call; 0 for a call that did not fail.
#[inline(always)]
pub(crate) fn errno(ret: i64) -> u64 {
    // Only -4095..=-1 are errors (IS_ERR_VALUE, include/linux/err.h).
    let negated = (ret as u64).wrapping_neg();
    if negated.wrapping_sub(1) < 4095 { negated } else { 0 }
}

/// Whether `ret` says that the call was interrupted and has no result yet.
#[inline(always)]
pub(crate) fn is_interruption(ret: i64) -> bool {
    // ERESTARTSYS 512, ERESTARTNOINTR 513, ERESTARTNOHAND 514, ERESTART_RESTARTBLOCK 516 (include/linux/errno.h).
    // ENOIOCTLCMD, 515, is none.
    matches!(ret, -514..=-512 | -516)
}
