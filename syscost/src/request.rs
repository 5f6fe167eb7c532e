//! What to measure, and by which hooks: what the command line decides, and the probe carries out.

use syscost_common::{group::MAX_GROUPS, scope::MAX_TARGETS};

use crate::{filter::Filter, group::GroupBy, scope::Scope};

/// Which hooks to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// The best that the kernel has.
    #[default]
    Auto,
    /// BTF tracepoints and task storage, or fail.
    Btf,
    /// The same, but at the tracepoints of perf, where no program is ever skipped.
    Perf,
    /// Raw tracepoints and a hash by tid, also on kernels that have BTF tracepoints.
    Raw,
}

/// Which hooks are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hooks {
    /// BTF tracepoints; the open call is kept in task storage.
    Btf {
        /// Why not those of perf, where programs at BTF tracepoints may be skipped.
        because: Option<String>,
    },
    /// The tracepoints of perf; the open call is kept in task storage.
    Perf,
    /// Raw tracepoints; the open call is kept in a hash by tid.
    Raw {
        /// Why not BTF tracepoints.
        because: String,
        /// Whether these were asked for.
        forced: bool,
        /// Whether 32-bit calls are told from native ones, which takes kernel BTF.
        tells_abi: bool,
    },
}

/// How many entries the bounded maps have that hold something of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Processes or threads, given and followed.
    pub targets: u32,
    /// Groups that dead threads have left calls in; one of them is that of all others.
    pub groups: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self { targets: MAX_TARGETS, groups: MAX_GROUPS }
    }
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose calls.
    pub scope: Scope,
    /// Which of them.
    pub filter: Filter,
    /// What to add them up by, beside the histograms by syscall.
    pub group_by: GroupBy,
    /// Which hooks to use.
    pub hooks: HookChoice,
    /// How much room the maps get.
    pub room: Room,
    /// Whether the programs tell why a loss counter rises; see [`Probe::diagnostics`](crate::probe::Probe::diagnostics).
    pub verbose: bool,
}

impl Request {
    /// All calls of the process `tgid`, with the best hooks there are.
    pub fn process(tgid: u32) -> Self {
        Self {
            scope: Scope::Process(tgid),
            filter: Filter::default(),
            group_by: GroupBy::Syscall,
            hooks: HookChoice::Auto,
            room: Room::default(),
            verbose: false,
        }
    }
}
