//! Names for what the kernel gives numbers: what a file descriptor of a process refers to, and what is
//! mapped at an address.
//!
//! After privileges are given up, the main process may not look into others. A helper may: a process that is
//! forked before, keeps CAP_SYS_PTRACE and nothing else, and answers questions over a socket. The main
//! process asks through [`Names`], which never waits. docs/decisions/0014 has the reasons.
//!
//! Knows nothing of samples, models and views. What it returns is text from outside, made printable.

mod client;
mod helper;
mod mapping;
mod message;
mod object;
mod process;
mod sandbox;

pub use client::{Name, Names, Turn};
pub use helper::{Helper, NotStarted};
pub use mapping::{Backing, Mapping};
pub use message::{Answer, Question, Reason};
pub use object::{Address, FileKind, Object, Socket};
pub use process::Process;
