//! Tests against the real kernel: live targets whose every call is known, and counts that must be
//! equal, not close. They need root; `cargo xtask test` runs them.

mod budget;
mod cgroup;
#[cfg(target_arch = "x86_64")]
mod compat;
mod counts;
mod filters;
mod groups;
mod harness;
mod kernels;
mod lifecycle;
mod partition;
mod peers;
mod preemption;
mod privileges;
mod restarts;
mod screen;
mod seats;
mod targets;
mod weather;
