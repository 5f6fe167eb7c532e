//! A budget for what measuring costs: less detail when it is exceeded, more when there is room again.

use crate::sample::Detail;

/// How much of the budget may be used for more detail to be tried.
const ROOM: f64 = 0.5;

/// How many looks in a row must find room before more detail is tried.
const PATIENCE: u32 = 3;

/// The longest wait, in looks, after attempts that failed.
const MOST_PATIENCE: u32 = 60;

/// Decides how much detail the budget has room for. Given one look at the cost after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// In percent of one CPU.
    at_most_pct: f64,
    level: Detail,
    /// Looks in a row that found room.
    with_room: u32,
    /// How many of those it takes. Doubled each time that more detail turns out to be too much.
    patience: u32,
    /// Looks since more detail was tried; `None` when that was long ago, or never.
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

    /// How much detail there is to be from now on, the present level having been found to cost
    /// `cost_pct` of one CPU. One step at a time: the next look is at what that step has brought.
    pub fn look(&mut self, cost_pct: f64) -> Detail {
        self.tried = self.tried.map(|looks| looks + 1).filter(|looks| *looks <= PATIENCE);
        if cost_pct > self.at_most_pct {
            if self.tried.is_some() {
                self.patience = (self.patience * 2).min(MOST_PATIENCE);
            }
            (self.with_room, self.tried) = (0, None);
            self.level = less(self.level);
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

fn less(level: Detail) -> Detail {
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
        use Detail::{Full, NoOnCpu, NoRunq, Sampling};
        let mut budget = Budget::new(2.0);
        assert_eq!(looks(&mut budget, &[1.9, 2.0]), [Full, Full]);
        assert_eq!(looks(&mut budget, &[9.0; 5]), [NoRunq, NoOnCpu, Sampling, Sampling, Sampling]);
        let back = looks(&mut budget, &[0.1; 10]);
        assert_eq!(back[..3], [Sampling, Sampling, NoOnCpu]);
        assert_eq!(back[3..6], [NoOnCpu, NoOnCpu, NoRunq]);
        assert_eq!(back[6..], [NoRunq, NoRunq, Full, Full]);
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
