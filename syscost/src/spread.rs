//! A median of several measurements, with its quartiles.

use serde::{Deserialize, Serialize};

/// A median with its quartiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The first quartile: a quarter of the measurements are below.
    pub low: f64,
    /// The third quartile: a quarter of the measurements are above.
    pub high: f64,
}

impl Spread {
    /// The spread of `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| sorted[(share * last as f64).round() as usize];
        Some(Self { median: at(0.5), low: at(0.25), high: at(0.75) })
    }

    /// Half the distance between the quartiles: the number after `±`.
    pub fn half_width(self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Whether the median is further from 0 than its half width. If not, it cannot be told from noise.
    pub fn exceeds_its_spread(self) -> bool {
        self.median.abs() > self.half_width()
    }

    /// The spread of `n` times each measurement.
    pub fn times(self, n: f64) -> Self {
        Self { median: self.median * n, low: self.low * n, high: self.high * n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_within_its_spread_of_0_does_not_exceed_it() {
        let spread = |median, low, high| Spread { median, low, high };
        assert!(spread(106.0, 103.0, 115.0).exceeds_its_spread());
        assert!(spread(-40.0, -50.0, -30.0).exceeds_its_spread());
        assert!(!spread(137.0, 103.0, 467.0).exceeds_its_spread());
        assert!(!spread(0.0, 0.0, 0.0).exceeds_its_spread());
    }

    #[test]
    fn a_spread_is_median_and_quartiles() {
        let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
        let one = Spread::of(&[7.0]).unwrap();
        assert_eq!((one.low, one.median, one.high), (7.0, 7.0, 7.0));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(spread.times(2.0).high, 8.0);
    }
}
