//! Medians and quartiles: what a noisy machine lets one say.

/// The middle and the spread of some measurements.
pub struct Summary {
    pub median: f64,
    low: f64,
    high: f64,
}

impl Summary {
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            sorted.get((share * (sorted.len().max(1) - 1) as f64).round() as usize).copied()
        };
        let at = |share: f64| at(share).unwrap_or(f64::NAN);
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }

    pub fn quartiles(&self) -> String {
        format!("{:.0}–{:.0}", self.low, self.high)
    }
}

/// The median of the ratios of two series measured in the same rounds.
pub fn ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    Summary::of(&ratios).median
}
