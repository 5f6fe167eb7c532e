//! From numbers to names: pure tables, no I/O.

pub mod errno;
pub mod printable;
pub mod syscall;
