//! What measuring costs, and what a system call costs by itself. Facts about this machine and this run, found beside
//! the samples; the run loop hands them to the model.

use crate::{sample::Detail, spread::Spread};

/// All that is known of costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// What `syscost calibrate` found on this machine; `None` if it was not calibrated since it was started.
    pub calibrated: Option<Calibrated>,
    /// What the programs in the kernel cost when that was last measured; `None` if it never was.
    pub programs: Option<ProgramsCost>,
}

/// What `syscost calibrate` found, as far as it concerns a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibrated {
    /// What entering and leaving the kernel costs, ns for each call.
    pub crossing_ns: Spread,
    /// What measuring adds to each call of the target, ns; `None` where it is not known.
    pub target_tax_ns: Option<Spread>,
    /// What measuring adds to each call of all other processes, ns; `None` where it is not known.
    pub bystander_tax_ns: Option<Spread>,
}

/// What the programs in the kernel were found to cost, by the kernel's own statistics. Those cost time themselves, so
/// they are switched on for moments only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProgramsCost {
    /// How long the programs ran, over all CPUs, percent of one CPU.
    pub run_pct: f64,
    /// Mean time of one run, ns; `None` if there was none.
    pub run_ns: Option<f64>,
    /// What they may cost at most (`--max-overhead`), percent of one CPU; `None` without a budget.
    pub budget_pct: Option<f64>,
    /// How much was collected of each call at that time.
    pub detail: Detail,
}
