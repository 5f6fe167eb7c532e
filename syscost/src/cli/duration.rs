//! Durations as typed on the command line: `5`, `1.5s`, `500ms`, `2m`, `1m30s`. Their limits depend on what
//! they are for, and are checked elsewhere.

use std::time::Duration;

/// The duration that `text` means; `None` when it means none. A number without a unit is seconds.
pub(super) fn parse(text: &str) -> Option<Duration> {
    // The library takes M for months. Minutes are more likely to be meant.
    if text.contains('M') || !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // As in other numbers, digits may be left out before or behind the point.
    let text = if text.starts_with('.') { &format!("0{text}") } else { text };
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let text = if is_number { &format!("{}s", text.trim_end_matches('.')) } else { text };
    humantime::parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_need_no_unit() {
        assert_eq!(parse("5"), Some(Duration::from_secs(5)));
        assert_eq!(parse("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!((parse(".5"), parse("5.")), (parse("0.5s"), parse("5s")));
    }

    #[test]
    fn units_may_have_decimals_and_be_added_up() {
        assert_eq!(parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("0.5m30s"), Some(Duration::from_secs(60)));
        assert_eq!(parse("1h2min"), Some(Duration::from_secs(3720)));
        assert_eq!(parse("100us"), Some(Duration::from_micros(100)));
        assert_eq!(parse("100us"), parse("100µs"));
    }

    #[test]
    fn rubbish_is_not_a_duration() {
        for text in ["", " ", "s", ".", "-5", "+5", "5x", "5M", "1e3", "inf", "NaN", "1..5", "5s3"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&"9".repeat(400)), None);
    }
}
