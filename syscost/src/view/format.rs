//! Numbers as text: short enough for a column, and never a misleading 0.
//!
//! Knows no model beyond a column's value, and neither widths nor colours.

use crate::view::width::Columns;
use crate::{model::column::Value, reading::Reading, spread::Spread};

/// The sign for a number that was not collected.
pub const NOT_COLLECTED: &str = "–";

/// A cell of the table.
pub fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Count(n) => reading(*n, count),
        Value::PerSec(n) => reading(*n, rate),
        Value::Pct(n) => reading(*n, pct),
        Value::Ns(n) => reading(*n, ns),
        Value::NsPerSec(n) => reading(*n, ns_f64),
        Value::CpuPerSec(n) => reading(*n, |ns| rate(ns / 1e6)),
    }
}

/// A number with its trust: `>=` before a lower bound, `≈` before an estimate, `–` where nothing was
/// collected.
pub fn reading<T>(reading: Reading<T>, format: impl FnOnce(T) -> String) -> String {
    match reading {
        Reading::NotCollected => NOT_COLLECTED.into(),
        Reading::Partial(value) => match format(value) {
            // A lower bound of less than the smallest number: more than 0.
            small if small.starts_with('<') => ">0".into(),
            // It has the sign already.
            text if text.starts_with('>') => text,
            text => format!(">={text}"),
        },
        Reading::Estimated(value) => format!("≈{}", format(value)),
        Reading::Exact(value) => format(value),
    }
}

/// A stretch of time, in at most five characters: `214ns`, `1.9µs`, `101ms`, `2.3s`, `1m05s`.
pub fn ns(ns: u64) -> String {
    ns_f64(ns as f64)
}

/// [`ns`] for a computed time, which may be between 0 and 1 ns.
pub fn ns_f64(ns: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")];
    if ns <= 0.0 {
        return "0".into();
    }
    if ns < 0.95 {
        return "<1ns".into();
    }
    if ns >= 59.5e9 {
        return long(ns);
    }
    // 999.5 rounds up into the next unit.
    let (size, unit) = UNITS.into_iter().find(|(size, _)| ns < size * 999.5).unwrap_or(UNITS[3]);
    let value = ns / size;
    // The clock counts whole nanoseconds: they have no decimals.
    if value < 9.95 && size > 1.0 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// A measured time, and how far from its middle half of the measurements were: `214ns±2ns`.
pub fn spread(spread: Spread) -> String {
    format!("{}±{}", ns_f64(spread.median), ns_f64(spread.half_width()))
}

fn long(ns: f64) -> String {
    let secs = (ns / 1e9).round() as u64;
    let (mins, hours, days) = (secs / 60, secs / 3600, secs / 86400);
    if secs < 600 {
        format!("{mins}m{:02}s", secs % 60)
    } else if hours < 1 {
        format!("{mins}m")
    } else if hours < 10 {
        format!("{hours}h{:02}m", mins % 60)
    } else if days < 1 {
        format!("{hours}h")
    } else if days < 10 {
        format!("{days}d{:02}h", hours % 24)
    } else {
        format!("{days}d")
    }
}

/// A number of things, in at most five characters: `880`, `3.1k`, `12.4k`, `1.2M`.
pub fn count(count: u64) -> String {
    match count {
        ..1000 => count.to_string(),
        _ => thousands(count as f64),
    }
}

fn thousands(value: f64) -> String {
    const UNITS: [(f64, &str); 5] = [(1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P")];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| value < size * 999.5).unwrap_or(UNITS[4]);
    let value = value / size;
    if value < 99.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A number of things in full, for a ledger: `1,234,567`.
pub fn full(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Things per second: `0.2`, `3.1`, `880`, `12.4k`.
pub fn rate(rate: f64) -> String {
    match rate {
        ..=0.0 => "0".into(),
        ..0.01 => "<0.01".into(),
        ..0.095 => format!("{rate:.2}"),
        ..9.95 => format!("{rate:.1}"),
        ..999.5 => format!("{rate:.0}"),
        _ => thousands(rate),
    }
}

/// A share, 0 to 100, without the sign: `0`, `0.04`, `38.2`, `100`. 100 only for all.
pub fn pct(pct: f64) -> String {
    match pct {
        ..=0.0 => "0".into(),
        ..0.01 => "<0.01".into(),
        ..0.095 => format!("{pct:.2}"),
        ..99.95 => format!("{pct:.1}"),
        ..100.0 => ">99.9".into(),
        _ => "100".into(),
    }
}

/// A stretch of time as a clock shows it: `00:02:13`.
pub fn clock(ns: u64) -> String {
    let secs = ns / 1_000_000_000;
    format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

/// The arguments of a call in `room` characters: as many whole ones as fit, and `…` where there are
/// more. Half an argument would be another one.
pub fn arguments(arguments: Option<&[String]>, room: usize) -> String {
    let Some(arguments) = arguments else {
        return NOT_COLLECTED.chars().take(room).collect();
    };
    let all = arguments.join(", ");
    if all.columns() <= room {
        return all;
    }
    let fits = |text: &String| text.columns() <= room;
    let some = |count| format!("{}, …", arguments[..count].join(", "));
    let most = (1..arguments.len()).rev().map(some).find(fits);
    most.unwrap_or_else(|| if room > 0 { "…".to_owned() } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_at_most_three_digits_and_the_unit_that_fits() {
        let cases = [
            (0, "0"),
            (1, "1ns"),
            (214, "214ns"),
            (999, "999ns"),
            (1_000, "1.0µs"),
            (1_940, "1.9µs"),
            (9_960, "10µs"),
            (41_200, "41µs"),
            (999_499, "999µs"),
            (999_500, "1.0ms"),
            (101_000_000, "101ms"),
            (2_300_000_000, "2.3s"),
            (59_400_000_000, "59s"),
            (59_600_000_000, "1m00s"),
            (65_000_000_000, "1m05s"),
            (754_000_000_000, "12m"),
            (3_900_000_000_000, "1h05m"),
            (40_000_000_000_000, "11h"),
            (200_000_000_000_000, "2d07h"),
            (8_640_000_000_000_000, "100d"),
            (u64::MAX, "213503d"),
        ];
        for (value, text) in cases {
            assert_eq!(ns(value), text);
        }
        assert_eq!(ns_f64(0.4), "<1ns");
    }

    #[test]
    fn counts_and_rates_never_show_a_misleading_zero() {
        let counts =
            [(0, "0"), (880, "880"), (3_100, "3.1k"), (12_400, "12.4k"), (999_999, "1.0M")];
        for (value, text) in counts {
            assert_eq!(count(value), text);
        }
        let rates = [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.05, "0.05"),
            (0.2, "0.2"),
            (9.96, "10"),
            (1e6, "1.0M"),
        ];
        for (value, text) in rates {
            assert_eq!(rate(value), text);
        }
        let shares =
            [(0.0, "0"), (0.004, "<0.01"), (0.04, "0.04"), (38.24, "38.2"), (99.99, ">99.9")];
        for (value, text) in shares {
            assert_eq!(pct(value), text);
        }
        assert_eq!(full(1_234_567), "1,234,567");
        assert_eq!(full(123), "123");
        assert_eq!(clock(133_400_000_000), "00:02:13");
    }

    #[test]
    fn arguments_are_whole_or_left_out() {
        let three = ["AT_FDCWD", "0x7ffd12345678", "O_RDONLY"].map(str::to_owned);
        let three = Some(&three[..]);
        assert_eq!(arguments(three, 34), "AT_FDCWD, 0x7ffd12345678, O_RDONLY");
        assert_eq!(arguments(three, 33), "AT_FDCWD, 0x7ffd12345678, …");
        assert_eq!(arguments(three, 26), "AT_FDCWD, …");
        assert_eq!(arguments(three, 10), "…");
        assert_eq!((arguments(three, 0), arguments(Some(&[]), 0)), (String::new(), String::new()));
        assert_eq!((arguments(None, 0), arguments(None, 9)), (String::new(), "–".to_owned()));
    }

    #[test]
    fn trust_is_shown() {
        assert_eq!(reading(Reading::Partial(5), count), ">=5");
        assert_eq!(reading(Reading::Partial(0.001), rate), ">0");
        assert_eq!(reading(Reading::Partial(99.99), pct), ">99.9");
        assert_eq!(reading(Reading::Estimated(5), count), "≈5");
        assert_eq!(reading(Reading::Exact(0), count), "0");
        assert_eq!(reading(Reading::NotCollected, count), "–");
    }
}
