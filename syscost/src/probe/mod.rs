//! The kernel border: loads the programs, attaches them, reads what they wrote.
//!
//! The only module that imports aya. Knows no model and no view.
//!
//! From the top: `preflight` tries what `attach` does, `attach` makes a [`Probe`] (`attached`), and the probe reads by
//! its `reader`. Below are the steps of attaching (`load`, `programs`, `link`, `targets`), what is read (`maps`,
//! `groups`, `open_calls`, `cpu_time`), what is asked of the kernel (`kernel_btf`, `preemption`, `pending_flag`), and
//! at the bottom the table of `hooks`, the compiled `object`s and the commands of `bpf`. Nothing imports upwards.

mod assembler;
mod attach;
mod attached;
mod bpf;
mod btf;
mod cells;
mod clock;
mod cost;
mod cpu_states;
mod cpu_time;
mod cpus;
mod detail;
mod diagnostics;
mod family;
mod fold;
mod grace;
mod groups;
mod hooks;
mod interruption;
mod kernel_btf;
mod link;
mod load;
mod map_memory;
mod mapped;
mod maps;
mod memory;
mod namespace;
mod object;
mod open_calls;
mod peers;
mod pending_flag;
mod preemption;
pub mod preflight;
mod privileges;
mod programs;
mod reader;
mod ring;
mod scope;
mod stopped;
mod tally;
mod target_map;
mod targets;

pub use attached::Probe;
pub(crate) use clock::monotonic_ns;
pub use cost::{CostMeasurement, ProgramCost};
pub use map_memory::map_bytes_at_most;
pub use reader::{Read, Snapshot};
pub use targets::IsThere;
