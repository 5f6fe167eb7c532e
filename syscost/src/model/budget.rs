//! The budget of `--max-overhead`: less detail when measuring costs more, more detail when it costs less.

use crate::{costs::ProgramsCost, sample::Detail};

/// More detail is tried only while the cost is below this share of the budget.
const ROOM: f64 = 0.5;

/// So many measurements in a row must be below that share before more detail is tried.
const PATIENCE: u32 = 3;

/// The most measurements to wait for after attempts that failed.
const MOST_PATIENCE: u32 = 60;

/// By how much the cost may exceed the budget for calls to be sampled less often. One call in 16 is measured
/// by then: what is left is mostly what the hooks cost for all the others.
const SPARED_AT_MOST: f64 = 1.25;

/// Whether the programs cost more than the budget, and less detail would not cost less, because most of the cost
/// is that of the hooks, which every call passes.
pub fn cannot_be_kept(cost: ProgramsCost) -> bool {
    let over = |at_most_pct: f64| {
        cost.run_pct > at_most_pct && less(cost.detail, cost.run_pct, at_most_pct) == cost.detail
    };
    cost.budget_pct.is_some_and(over)
}

/// Decides the level of detail from one measurement of the cost after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// In percent of one CPU.
    at_most_pct: f64,
    level: Detail,
    /// Measurements in a row that left room for more detail.
    with_room: u32,
    /// How many of these it takes. Doubled each time that more detail turns out to cost too much.
    patience: u32,
    /// Measurements since more detail was tried; `None` if that was long ago, or never.
    tried: Option<u32>,
}

impl Budget {
    /// At most this, in percent of one CPU, beginning with full detail.
    pub fn new(at_most_pct: f64) -> Self {
        Self { at_most_pct, level: Detail::Full, with_room: 0, patience: PATIENCE, tried: None }
    }

    /// The budget, in percent of one CPU.
    pub fn at_most_pct(&self) -> f64 {
        self.at_most_pct
    }

    /// The level to use next, given the measured cost of the present one, percent of one CPU. It changes by one
    /// step at a time, so that the next measurement shows the effect of that step.
    pub fn look(&mut self, cost_pct: f64) -> Detail {
        self.tried = self.tried.map(|looks| looks + 1).filter(|looks| *looks <= PATIENCE);
        if cost_pct > self.at_most_pct {
            if self.tried.is_some() {
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            (self.with_room, self.tried) = (0, None);
            self.level = less(self.level, cost_pct, self.at_most_pct);
        } else if cost_pct <= self.at_most_pct * ROOM && self.level != Detail::Full {
            self.with_room += 1;
            if self.with_room >= self.patience {
                (self.with_room, self.tried) = (0, Some(0));
                self.level = more(self.level);
            }
        } else {
            self.with_room = 0;
        }
        if self.level == Detail::Full && self.tried.is_none() {
            self.patience = PATIENCE;
        }
        self.level
    }
}

/// The level after `level`, which costs `cost_pct` where `at_most_pct` may be; `level` itself where there is
/// none that would help.
fn less(level: Detail, cost_pct: f64, at_most_pct: f64) -> Detail {
    if matches!(level, Detail::Sampling(_)) && cost_pct > at_most_pct * SPARED_AT_MOST {
        return level;
    }
    let next = Detail::ALL.iter().position(|other| *other == level).map_or(0, |at| at + 1);
    *Detail::ALL.get(next).unwrap_or(&level)
}

fn more(level: Detail) -> Detail {
    let at = Detail::ALL.iter().position(|other| *other == level).unwrap_or(0);
    Detail::ALL[at.saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(budget: &mut Budget, costs: &[f64]) -> Vec<Detail> {
        costs.iter().map(|cost| budget.look(*cost)).collect()
    }

    #[test]
    fn detail_is_shed_in_order_and_comes_back_in_reverse() {
        use Detail::{Full, NoOnCpu, NoRunq};
        const SAMPLING: Detail = Detail::Sampling(16);
        let mut budget = Budget::new(2.0);
        assert_eq!(looks(&mut budget, &[1.9, 2.0]), [Full, Full]);
        assert_eq!(looks(&mut budget, &[9.0; 5]), [NoRunq, NoOnCpu, SAMPLING, SAMPLING, SAMPLING]);
        let back = looks(&mut budget, &[0.1; 10]);
        assert_eq!(back[..3], [SAMPLING, SAMPLING, NoOnCpu]);
        assert_eq!(back[3..6], [NoOnCpu, NoOnCpu, NoRunq]);
        assert_eq!(back[6..], [NoRunq, NoRunq, Full, Full]);
    }

    #[test]
    fn calls_are_sampled_less_often_only_where_that_can_be_enough() {
        let cost =
            |detail, run_pct| ProgramsCost { run_pct, run_ns: None, budget_pct: Some(2.0), detail };
        let (often, rarely) = (Detail::Sampling(16), Detail::Sampling(256));
        let mut budget = Budget::new(2.0);
        assert_eq!(looks(&mut budget, &[9.0; 4])[3], often);
        assert!(cannot_be_kept(cost(often, 9.0)));
        assert!(!cannot_be_kept(cost(often, 1.9)), "within it");
        assert!(!cannot_be_kept(cost(often, 2.4)), "there is one level more");
        assert!(!cannot_be_kept(cost(Detail::Full, 9.0)), "there are more");
        assert!(!cannot_be_kept(ProgramsCost { budget_pct: None, ..cost(often, 9.0) }));
        assert_eq!(looks(&mut budget, &[2.4, 1.9, 2.1]), [rarely; 3]);
        assert!(cannot_be_kept(cost(rarely, 2.1)));
        assert_eq!(looks(&mut budget, &[0.9; 3])[2], often);
    }

    #[test]
    fn what_fits_but_has_no_room_stays() {
        let mut budget = Budget::new(2.0);
        budget.look(3.0);
        assert_eq!(looks(&mut budget, &[1.5; 100]), [Detail::NoRunq; 100]);
        // Room for a moment is not enough.
        assert_eq!(looks(&mut budget, &[0.5, 0.5, 1.5, 0.5, 0.5]), [Detail::NoRunq; 5]);
    }

    #[test]
    fn what_was_too_much_is_tried_less_and_less_often() {
        let mut budget = Budget::new(2.0);
        // More detail always turns out to be too much, whatever there seems to be room for.
        let mut tries = Vec::new();
        budget.look(3.0);
        for look in 0..200 {
            let cost = if budget.level == Detail::Full { 3.0 } else { 0.5 };
            let before = budget.level;
            if budget.look(cost) < before {
                tries.push(look);
            }
        }
        let waits: Vec<i32> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.is_sorted(), "{waits:?}");
        assert_eq!(waits.last(), Some(&61));
    }
}
