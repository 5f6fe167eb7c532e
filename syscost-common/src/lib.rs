//! What both sides of syscost's kernel border share, and nothing else.
//!
//! The kernel programs and the user-side reader are compiled by different compilers for different
//! targets; everything they must agree on is declared here once: the bucket arithmetic, the layout
//! of map values, the counters of the ledger, and the constants set at load time.
#![cfg_attr(not(test), no_std)]

pub mod cell;
pub mod comm;
pub mod config;
pub mod cpu_state;
pub mod cpu_time;
pub mod filter;
pub mod group;
pub mod hist;
pub mod in_flight;
pub mod interrupted;
pub mod kind;
pub mod ledger;
pub mod off_cpu;
pub mod open_call;
pub mod scope;
pub mod settings;
pub mod thread_state;
