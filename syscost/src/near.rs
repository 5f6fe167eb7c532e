//! What was probably meant by a name that does not exist. Knows no kind of name.

use std::collections::BTreeSet;

/// From here on, names are alike. Jaro and Winkler's measure, from 0 to 1, favours a common
/// beginning: people know how a call begins, and forget the `64` or `at` that it ends with.
const ALIKE: f64 = 0.85;

/// How much less alike than the nearest a further suggestion may be.
const BEHIND: f64 = 0.05;

/// How many names to suggest at most.
const MOST: usize = 3;

/// A question that names what in `known` is like `name`, the nearest first; `None` when nothing
/// is.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let mut near: Vec<(f64, &str)> = known
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    // Stable: what is equally near stays in alphabetical order.
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.truncate(MOST);
    let nearest = near.first()?.0;
    near.retain(|(likeness, _)| *likeness >= nearest - BEHIND);
    let names: Vec<&str> = near.into_iter().map(|(_, other)| other).collect();
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        _ => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 7] = ["close", "preadv", "pread64", "read", "readv", "read", "write"];

    #[test]
    fn the_nearest_comes_first() {
        assert_eq!(did_you_mean("wriet", KNOWN).as_deref(), Some("did you mean write?"));
        assert_eq!(
            did_you_mean("pread", KNOWN).as_deref(),
            Some("did you mean preadv, pread64 or read?")
        );
    }

    #[test]
    fn what_is_like_nothing_gets_no_suggestion() {
        assert_eq!(did_you_mean("frobnicate", KNOWN), None);
        assert_eq!(did_you_mean("", KNOWN), None);
    }
}
