//! Read-only data that user space sets before the programs are loaded.
//!
//! Like aya's `Global`, but a struct of it is read a field at a time: each field read is one
//! constant to the verifier, and what is not read costs nothing.

/// A value that user space overrides by the name of its static.
#[repr(transparent)]
pub(crate) struct Frozen<T>(T);

impl<T> Frozen<T> {
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

/// Reads a field of a [`Frozen`] struct: `frozen!(OFFSETS.task_tgid)`.
macro_rules! frozen {
    ($global:ident.$($field:tt)+) => {
        // SAFETY: the place is a field of a live static of plain integers.
        unsafe { (&raw const (*$global.as_ptr()).$($field)+).read_volatile() }
    };
}
pub(crate) use frozen;
