//! From numbers to names: pure tables, no I/O.

pub mod arguments;
pub mod errno;
pub mod printable;
pub mod syscall;
