//! What must hold, and whether it does.

use crate::{rounds::Series, stats::spread};

/// A bound on what one contender adds, in multiples of what another adds in the same rounds.
struct Ratio {
    what: &'static str,
    of: &'static str,
    to: &'static str,
    at_most: f64,
}

const RATIOS: [Ratio; 5] = [
    Ratio { what: "target / two-clock floor", of: "target", to: "floor", at_most: 1.25 },
    Ratio { what: "target / `syscount -L -p`", of: "target", to: "syscount", at_most: 0.45 },
    Ratio { what: "target / `bpftrace` hist()", of: "target", to: "bpftrace", at_most: 0.25 },
    Ratio { what: "bystander / empty pair", of: "bystander", to: "empty", at_most: 1.25 },
    Ratio {
        what: "bystander's switch / empty programs",
        of: "switch-bystander",
        to: "switch-empty",
        at_most: 2.0,
    },
];

/// Whether a ratio takes the contender `id`.
pub(crate) fn asks_for(id: &str) -> bool {
    RATIOS.iter().any(|ratio| [ratio.of, ratio.to].contains(&id))
}

/// Prints what of the requirements was asked for; `false` when one is missed.
pub(crate) fn print_ratios(all: &[Series]) -> bool {
    let series = |id: &str| all.iter().find(|series| series.contender.id == id);
    let mut met = true;
    for Ratio { what, of, to, at_most } in RATIOS {
        let (Some(of), Some(to)) = (series(of), series(to)) else { continue };
        let ratios = of.ratios_to(to);
        if ratios.is_empty() {
            println!("{what:<WIDTH$}        – × (at most {at_most} ×: not measured)");
            continue;
        }
        met &= print(what, spread(&ratios).median, at_most, "×");
    }
    met
}

/// Prints one line; `false` when it is missed.
pub(crate) fn print(what: &str, measured: f64, at_most: f64, unit: &str) -> bool {
    let met = measured <= at_most;
    let verdict = if met { "met" } else { "MISSED" };
    println!("{what:<WIDTH$} {measured:>8.2} {unit} (at most {at_most} {unit}: {verdict})");
    met
}

const WIDTH: usize = 36;
