//! How much more than a floor tracing may add.

use super::figure::Figure;

/// A bound on what one contender adds, in multiples of what another one adds.
struct Goal {
    of: &'static str,
    to: &'static str,
    at_most: f64,
}

const GOALS: [Goal; 2] = [
    Goal { of: "target", to: "floor", at_most: 1.30 },
    Goal { of: "bystander", to: "empty", at_most: 1.20 },
];

/// A line for each goal whose contenders were counted, and whether all of these are met.
pub(super) fn verdicts(figures: &[Figure]) -> (Vec<String>, bool) {
    let added = |id: &str| figures.iter().find(|figure| figure.id == id).map(Figure::added);
    let (mut lines, mut all_met) = (Vec::new(), true);
    for Goal { of, to, at_most } in GOALS {
        let (Some(ours), Some(floor)) = (added(of), added(to)) else { continue };
        let ratio = ours / floor;
        let is_met = ratio <= at_most;
        let verdict = if is_met { "met" } else { "MISSED" };
        lines.push(format!("{of} / {to}: {ratio:.3} (at most {at_most:.2}: {verdict})"));
        all_met &= is_met;
    }
    (lines, all_met)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::figure::figures;

    #[test]
    fn a_goal_is_met_up_to_its_bound_and_missed_beyond() {
        let all = ["instructions calls floor 100 200 x", "instructions calls target 100 230 x"];
        let met = vec!["target / floor: 1.300 (at most 1.30: met)".to_owned()];
        assert_eq!(verdicts(&figures(&all)), (met, true));
        let all = ["instructions calls empty 100 200 x", "instructions calls bystander 100 221 x"];
        let missed = vec!["bystander / empty: 1.210 (at most 1.20: MISSED)".to_owned()];
        assert_eq!(verdicts(&figures(&all)), (missed, false));
    }

    #[test]
    fn without_both_contenders_there_is_no_verdict() {
        assert_eq!(verdicts(&figures(&["instructions calls target 100 900 x"])), (vec![], true));
    }
}
