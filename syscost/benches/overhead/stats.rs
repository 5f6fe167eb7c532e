//! Medians and quartiles: what a noisy machine lets one say.

use syscost::spread::Spread;

/// The middle and the spread of some measurements; not a number where there are none.
pub(crate) fn spread(values: &[f64]) -> Spread {
    let nothing = Spread { median: f64::NAN, low: f64::NAN, high: f64::NAN };
    Spread::of(values).unwrap_or(nothing)
}

/// The quartiles, for a table.
pub(crate) fn quartiles(spread: Spread) -> String {
    format!("{:.0}–{:.0}", spread.low, spread.high)
}
