//! What crossing into the kernel costs on this machine: figures with their spread, and why.

use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// Everything that `syscost calibrate` measures and finds out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The CPU that it was measured on; others of the machine may differ.
    pub cpu: usize,
    /// How many interleaved rounds the spreads are of.
    pub rounds: usize,
    /// What a crossing costs by itself.
    pub direct: Direct,
    /// What it costs the program afterwards, for working sets of several sizes.
    pub indirect: Vec<Indirect>,
    /// The same as the CPU's own counters see it.
    pub counters: Counters,
    /// What decides all this.
    pub machine: Machine,
}

impl Calibration {
    /// The distance of the quartiles of a null call from which on a calibration is of no use, as a share
    /// of its median.
    const NOISY: f64 = 0.5;

    /// Whether the machine kept its pace while it was measured, so that the figures are worth keeping:
    /// what is used of them later is the null call.
    pub fn is_steady(&self) -> bool {
        let Spread { median, low, high } = self.direct.syscall_ns;
        median > 0.0 && high - low <= Self::NOISY * median
    }
}

/// What a crossing costs by itself, ns a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Direct {
    /// `getppid` by the bare instruction: there and back, with next to nothing done in between.
    pub syscall_ns: Spread,
    /// `clock_gettime` as a system call.
    pub clock_syscall_ns: Spread,
    /// The same as programs make it: by the vDSO, without crossing where the clock allows it.
    pub clock_vdso_ns: Spread,
    /// What syscost adds.
    pub tax: Tax,
}

/// What being measured adds to a `getppid`, ns a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tax {
    /// To the process that is measured.
    pub target_ns: Option<Spread>,
    /// To every other process on the host meanwhile.
    pub bystander_ns: Option<Spread>,
    /// Why that is not known.
    pub because: Option<String>,
}

/// A piece of user work on a working set: a walk through it in no order that a prefetcher could
/// guess, with a branch at each step that no predictor could.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Indirect {
    /// The data that the work goes over, bytes.
    pub working_set_bytes: usize,
    /// How long the work takes when nothing else is done, ns.
    pub alone_ns: Spread,
    /// How much longer right after as much time without a call, ns: 0, but for the method's own error.
    pub control_ns: Spread,
    /// How much longer right after a call.
    pub after: Vec<After>,
}

impl Indirect {
    /// How far off the figures after calls may be for reasons that are the same in each round, and so are not in
    /// their spreads, ns. At least what is measured without a call; and at least how much faster the work seems
    /// to be after some call, because no cost is below 0.
    pub fn error_ns(&self) -> f64 {
        let control = self.control_ns.median.abs() + self.control_ns.half_width();
        self.after.iter().map(|after| -after.added_ns.median).fold(control, f64::max)
    }

    /// How far off the figure after a call may be: by its spread, or by the error of all figures.
    pub fn uncertainty_ns(&self, after: &After) -> f64 {
        after.added_ns.half_width().max(self.error_ns())
    }
}

/// Work right after a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct After {
    /// Which call.
    pub call: String,
    /// How much longer the work takes than alone, ns; the call itself not included.
    pub added_ns: Spread,
}

/// Instructions per cycle in user mode, of the same work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Each call, and the instructions per cycle of the work right after it; alone first.
    pub user_ipc: Vec<Ipc>,
    /// Why that is not known.
    pub because: Option<String>,
}

/// Instructions per cycle of work right after a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ipc {
    /// Which call; `None` for the work alone.
    pub call: Option<String>,
    /// Instructions per cycle.
    pub ipc: Spread,
}

/// What decides what crossings cost here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub processor: String,
    /// CPUs that are online.
    pub cpus: usize,
    /// The hypervisor below, as far as it shows itself.
    pub hypervisor: Option<String>,
    /// What the kernel reads the time from.
    pub clock_source: String,
    /// The CPU's flaws, and what the kernel does about them.
    pub mitigations: Vec<Mitigation>,
}

/// A flaw of the CPU that this machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mitigation {
    /// The flaw, as the kernel calls it.
    pub flaw: String,
    /// What is done about it, in the kernel's words.
    pub status: String,
    /// What that adds to crossings; `None` where it adds nothing to them.
    pub cost: Option<String>,
}

/// What a measure against a flaw adds to crossings, by the beginning of the kernel's words for it
/// (Documentation/admin-guide/hw-vuln/ and arch/x86/kernel/cpu/bugs.c in the kernel's tree).
const COSTS: [(&str, &str); 8] = [
    ("PTI", "page tables are switched on the way in and out, and lose the TLB without PCID"),
    ("Clear CPU buffers", "buffers are cleared on every way out (VERW)"),
    ("untrained return thunk", "return prediction is retrained on every way in"),
    ("IBPB on", "nothing for system calls: branch prediction is flushed for guests only"),
    ("Enhanced / Automatic IBRS", "prediction is kept apart by the CPU itself: little"),
    ("IBRS", "a model-specific register is written on every way in and out"),
    ("Safe RET", "every return in the kernel goes by a safe one"),
    ("Retpolines", "indirect branches in the kernel are not predicted"),
];

impl Mitigation {
    /// A flaw and its status as the kernel tells them; `None` when the CPU does not have it.
    pub fn new(flaw: &str, status: &str) -> Option<Self> {
        if status == "Not affected" {
            return None;
        }
        // "Vulnerable: Safe RET, no microcode" does what it names all the same.
        let measures = status.split_once(": ").map_or("", |(_, measures)| measures);
        let mut measures = measures.split([';', ',']).map(str::trim);
        let cost =
            measures.find_map(|measure| COSTS.iter().find(|(words, _)| measure.starts_with(words)));
        Some(Self {
            flaw: flaw.to_owned(),
            status: status.to_owned(),
            cost: cost.map(|(_, cost)| (*cost).to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(control: Spread, after: &[Spread]) -> Indirect {
        let after =
            after.iter().map(|added_ns| After { call: "read".to_owned(), added_ns: *added_ns });
        Indirect {
            working_set_bytes: 128 << 10,
            alone_ns: Spread { median: 9_000.0, low: 8_900.0, high: 9_100.0 },
            control_ns: control,
            after: after.collect(),
        }
    }

    fn around(median: f64, half_width: f64) -> Spread {
        Spread { median, low: median - half_width, high: median + half_width }
    }

    #[test]
    fn no_cost_is_below_0_by_more_than_its_uncertainty() {
        for (control, medians) in [
            (around(0.0, 1.0), [-10.0, 4.0, 30.0]),
            (around(0.5, 0.5), [-10.0, -200.0, 0.0]),
            (around(-7.0, 2.0), [-10.0, -3.0, -1.0]),
        ] {
            let set = set(control, &medians.map(|median| around(median, 1.0)));
            for after in &set.after {
                let uncertainty = set.uncertainty_ns(after);
                assert!(after.added_ns.median >= -uncertainty, "{after:?}: {uncertainty}");
            }
        }
    }

    #[test]
    fn what_is_measured_after_no_call_is_uncertain_in_all_figures() {
        let quiet = set(around(0.0, 0.5), &[around(4.0, 1.0), around(30.0, 2.0)]);
        let uncertain = |set: &Indirect| [0, 1].map(|at| set.uncertainty_ns(&set.after[at]));
        assert_eq!(uncertain(&quiet), [1.0, 2.0], "their own spreads");
        let biased = set(around(-5.0, 0.5), &[around(4.0, 1.0), around(30.0, 2.0)]);
        assert_eq!(uncertain(&biased), [5.5, 5.5]);
        let faster = set(around(0.0, 0.5), &[around(-10.0, 1.0), around(5.0, 1.0)]);
        assert_eq!(uncertain(&faster), [10.0, 10.0], "no cost is below 0");
    }

    #[test]
    fn mitigations_are_explained_where_they_bear_on_crossings() {
        let cost = |status| Mitigation::new("x", status).unwrap().cost;
        assert!(cost("Mitigation: PTI").unwrap().contains("page tables"));
        assert!(cost("Mitigation: Clear CPU buffers; SMT vulnerable").unwrap().contains("VERW"));
        assert!(cost("Mitigation: Enhanced / Automatic IBRS; IBPB: conditional").is_some());
        assert!(cost("Vulnerable: Safe RET, no microcode").is_some());
        let retpolines = "Mitigation: Retpolines; STIBP: disabled; PBRSB-eIBRS: Not affected";
        assert!(cost(retpolines).unwrap().contains("indirect branches"));
        assert_eq!(cost("Vulnerable"), None);
        assert_eq!(
            cost("Mitigation: usercopy/swapgs barriers and __user pointer sanitization"),
            None
        );
        assert_eq!(Mitigation::new("x", "Not affected"), None);
    }
}
