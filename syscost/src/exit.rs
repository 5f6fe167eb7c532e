//! The exit codes of the program, as its help documents them.
//!
//! With a command to measure, the program exits with the command's own status once the command has run.

/// All went well; also when the target has exited or the user has quit.
pub const OK: u8 = 0;
/// Tracing failed, or the output could not be written.
pub const TRACING_FAILED: u8 = 1;
/// The arguments make no sense.
pub const USAGE: u8 = 2;
/// The command to measure is there, but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command to measure was not found.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that killed the command.
pub const KILLED: u8 = 128;
