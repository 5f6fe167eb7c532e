//! Whole numbers as typed on the command line. Limits other than 0 are checked elsewhere.

/// Digits that make a number above 0. Signs are not digits.
pub(super) fn positive(text: &str) -> Option<u64> {
    natural(text).filter(|number| *number > 0)
}

/// Digits that make a number.
pub(super) fn natural(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
