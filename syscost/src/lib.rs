//! syscost: live per-syscall latency histograms of a running process, measured in the kernel.
//!
//! This library exists for the program of the same name and its tests. `ARCHITECTURE.md` says how
//! the parts fit together.

// They panic where nobody reads: see `message`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod calibrate;
pub mod cli;
pub mod costs;
pub mod decode;
pub mod demo;
pub mod enrich;
pub mod exit;
pub mod filter;
pub mod group;
pub mod inherited;
pub mod message;
pub mod model;
mod near;
pub mod preflight;
pub mod probe;
mod proc;
pub mod reading;
pub mod request;
pub mod run;
pub mod sample;
pub mod scope;
pub mod source;
pub mod spread;
pub mod target;
pub mod view;
pub mod writer;
