//! Constants that user space sets before the programs are loaded: frozen read-only data, whose values the verifier knows.
//!
//! Like aya's `Global`, but a struct is read a field at a time: each field that is read is one constant to the verifier, and
//! the others cost nothing.

use aya_ebpf::Global;

/// A constant that user space sets by the name of its static.
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

/// A word that user space sets by the name of its static, with a first value that no other constant of the programs has.
///
/// LLVM merges constants of equal bytes whose addresses are taken. Setting one would then set the other. The object does not
/// show that: only one symbol is left.
///
/// # Panics
/// While it is compiled: if the value is so small that another constant may have it.
pub(crate) const fn distinct_word(first: u32) -> Global<u32> {
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
