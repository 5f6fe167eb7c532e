//! Phrases about the probe overhead: the run time of the programs, and the time that they add to a call.

use crate::{
    costs::{Calibrated, ProgramsCost},
    model::{Model, budget},
    spread::Spread,
    view::format,
};

/// The same from the longest phrase to the shortest; empty where nothing is known. Percentages are of one CPU.
pub fn phrases(model: &Model) -> Vec<String> {
    let run = model.cost.map(run_time);
    let tax = model.calibrated.and_then(tax);
    if let (Some(cost), Some(run)) = (model.cost, &run)
        && budget::cannot_be_kept(cost)
    {
        return vec![
            format!("probe {run}: the hooks alone, sampling cannot help"),
            format!("probe {run}: hooks alone"),
            format!("probe {run}"),
            format!("probe {}% OVER", format::pct(cost.run_pct)),
        ];
    }
    match (run, tax) {
        (Some(run), Some((target, host))) => vec![
            format!("probe {run}, {target}/call · host {host}/call"),
            format!("probe {run}, {target}/call"),
            format!("probe {run}"),
        ],
        (Some(run), None) => vec![format!("probe {run}")],
        (None, Some((target, host))) => {
            vec![format!("probe {target}/call · host {host}/call"), format!("probe {target}/call")]
        }
        (None, None) => Vec::new(),
    }
}

/// `0.3% of a CPU at first`, or `1.8% of 2%` where there is a budget, and the number is as new as the screen.
fn run_time(cost: ProgramsCost) -> String {
    let run = format::pct(cost.run_pct);
    match cost.budget_pct {
        None => format!("{run}% of a CPU at first"),
        Some(budget) if cost.run_pct > budget => {
            format!("{run}%, OVER the {}% allowed", format::pct(budget))
        }
        Some(budget) => format!("{run}% of {}%", format::pct(budget)),
    }
}

/// The time added to a call of the target, and to a call of a bystander.
fn tax(calibrated: Calibrated) -> Option<(String, String)> {
    let added = |ns: f64| format!("+{}", format::ns_f64(ns));
    let Calibrated { target_tax_ns, bystander_tax_ns, .. } = calibrated;
    let telling = |tax: Option<Spread>| tax.filter(|tax| tax.exceeds_its_spread());
    Some((added(telling(target_tax_ns)?.median), added(telling(bystander_tax_ns)?.median)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{costs::Costs, sample::Detail, view::fixture};

    fn phrases_of(change: impl FnOnce(&mut Costs)) -> Vec<String> {
        let mut costs = Costs::default();
        change(&mut costs);
        phrases(&Model::since_attach(&fixture::nginx()).with(costs))
    }

    fn cost(run_pct: f64, budget_pct: Option<f64>) -> Option<ProgramsCost> {
        Some(ProgramsCost { run_pct, run_ns: Some(90.0), budget_pct, detail: Detail::Full })
    }

    fn calibrated() -> Option<Calibrated> {
        let spread = |median| Spread { median, low: median, high: median };
        Some(Calibrated {
            crossing_ns: spread(214.0),
            target_tax_ns: Some(spread(306.0)),
            bystander_tax_ns: Some(spread(169.0)),
        })
    }

    #[test]
    fn what_is_known_is_said_as_long_as_there_is_room() {
        let both = phrases_of(|costs| {
            (costs.programs, costs.calibrated) = (cost(0.31, None), calibrated());
        });
        let expected = [
            "probe 0.3% of a CPU at first, +306ns/call · host +169ns/call",
            "probe 0.3% of a CPU at first, +306ns/call",
            "probe 0.3% of a CPU at first",
        ];
        assert_eq!(both, expected);
        let calibrated = phrases_of(|costs| costs.calibrated = calibrated());
        assert_eq!(calibrated[0], "probe +306ns/call · host +169ns/call");
    }

    #[test]
    fn a_budget_stands_beside_what_it_is_for() {
        let within = phrases_of(|costs| costs.programs = cost(1.8, Some(2.0)));
        assert_eq!(within, ["probe 1.8% of 2.0%"]);
        let over = phrases_of(|costs| costs.programs = cost(7.5, Some(0.5)));
        assert_eq!(over, ["probe 7.5%, OVER the 0.5% allowed"]);
        let for_good = phrases_of(|costs| {
            costs.programs = cost(7.5, Some(0.5))
                .map(|cost| ProgramsCost { detail: Detail::Sampling(16), ..cost });
        });
        assert_eq!(
            for_good[0],
            "probe 7.5%, OVER the 0.5% allowed: the hooks alone, sampling cannot help"
        );
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        assert!(phrases_of(|_| {}).is_empty());
        let half = phrases_of(|costs| {
            costs.calibrated =
                calibrated().map(|known| Calibrated { target_tax_ns: None, ..known });
        });
        assert!(half.is_empty());
        let noise = Spread { median: 137.0, low: 3.0, high: 467.0 };
        let noisy = phrases_of(|costs| {
            costs.calibrated =
                calibrated().map(|known| Calibrated { bystander_tax_ns: Some(noise), ..known });
        });
        assert!(noisy.is_empty());
    }
}
