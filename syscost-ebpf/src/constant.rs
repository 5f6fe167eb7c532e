//! Read-only data that user space sets before the programs are loaded.
//!
//! Like aya's `Global`, but a struct of it is read a field at a time: each field read is one
//! constant to the verifier, and what is not read costs nothing.

use aya_ebpf::Global;

/// A value that user space overrides by the name of its static.
#[repr(transparent)]
pub(crate) struct Constant<T>(T);

impl<T> Constant<T> {
    /// The value where user space sets none.
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// Where it is. Read it volatile: its value is not known when this is compiled.
    #[inline(always)]
    pub(crate) const fn as_ptr(&self) -> *const T {
        &raw const self.0
    }
}

/// A word that user space overrides by the name of its static, and its first value, which no constant in the
/// programs may have. To LLVM this is a constant as well: one of equal bytes whose address is taken is put in
/// its place, and would change with what user space sets cpu. The object does not show that: only one
/// symbol is left.
///
/// # Panics
/// While it is compiled: when the value is so small that a constant may have it.
pub(crate) const fn word(first: u32) -> Global<u32> {
    assert!(first > 0xff_ffff, "too small: a constant of the programs may have this value");
    Global::new(first)
}

/// Reads a field of a [`Constant`] struct: `constant!(OFFSETS.task_tgid)`.
macro_rules! constant {
    ($global:ident.$($field:tt)+) => {
        // SAFETY: the place is a field of a live static of plain integers.
        unsafe { (&raw const (*$global.as_ptr()).$($field)+).read_volatile() }
    };
}
pub(crate) use constant;
