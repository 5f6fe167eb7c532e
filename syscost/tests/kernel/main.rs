//! Tests on the running kernel. syscost measures programs that make known calls, and the counts must be equal, not close.
//! They need root; `cargo xtask test` runs them.

mod budget;
mod cache;
mod causes;
mod cgroup;
#[cfg(target_arch = "x86_64")]
mod compat;
mod counts;
mod cpu_time;
mod enrich;
mod family;
mod filters;
mod groups;
mod harness;
mod hostile;
mod hotplug;
mod identity;
mod kernels;
mod lifecycle;
mod memory;
mod output;
mod partition;
mod peers;
mod preemption;
mod privileges;
mod programs;
mod readings;
mod refusals;
mod restarts;
mod reuse;
mod running;
mod screen;
mod takeover;
mod targets;
mod threads;
mod turn;
mod unseen;
mod users;
mod weather;
