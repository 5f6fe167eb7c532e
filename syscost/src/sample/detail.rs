//! How much is collected of each call.

use serde::{Deserialize, Serialize};

/// How much is collected of each call. From most to least: each level leaves out what the levels before it leave out,
/// and one thing more.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// Everything.
    #[default]
    Full,
    /// Without wake-ups, so that run-queue time counts as blocked.
    NoRunq,
    /// Without context switches, so that latencies are not divided into parts.
    NoOnCpu,
    /// Only one call in this many (a power of two) is measured, and stands for all of them.
    Sampling(u32),
}

impl Detail {
    /// The levels that are used, in order.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::NoRunq, Self::NoOnCpu, Self::Sampling(16), Self::Sampling(256)];

    /// The level's name in machine-readable output.
    pub fn id(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoRunq => "no_runq",
            Self::NoOnCpu => "no_on_cpu",
            Self::Sampling(_) => "sampling",
        }
    }

    /// One call in this many is measured.
    pub fn one_in(self) -> u32 {
        match self {
            Self::Sampling(one_in) => one_in,
            Self::Full | Self::NoRunq | Self::NoOnCpu => 1,
        }
    }
}

/// Which optional measurements were on; see `--max-overhead`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailSample {
    /// Whether these hooks can divide latencies into parts.
    pub parts: bool,
    /// The level when the sample was read.
    pub level: Detail,
    /// For how long since attach wake-ups were not seen, ns.
    pub without_wakeups_ns: u64,
}
