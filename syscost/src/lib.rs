//! syscost: live per-syscall latency histograms of a running process, measured in the kernel.
//!
//! This library exists for the program of the same name and its tests. `ARCHITECTURE.md` says how
//! the parts fit together.

pub mod cli;
pub mod decode;
pub mod model;
pub mod probe;
pub mod reading;
pub mod sample;
pub mod view;
