//! How a call must have ended to be recorded. Knows errno names, not which calls return them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{decode::errno, near::did_you_mean};

/// Linux's highest errno, EHWPOISON (include/uapi/asm-generic/errno.h).
const HIGHEST: u16 = 133;

/// Names that share their number with another one, as in `errno(3)`.
const ALIASES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("EDEADLOCK", "EDEADLK"), ("ENOTSUP", "EOPNOTSUPP")];

/// How a call must have ended to be recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// However it ended.
    #[default]
    Any,
    /// It failed.
    Failed,
    /// It failed with one of these errnos: in 1..=133, ascending, each once, at least one.
    Errnos(Vec<u16>),
}

impl Outcome {
    /// Those of `list`: names or numbers with commas in between.
    ///
    /// # Errors
    /// One line about the first that does not exist.
    pub(super) fn parse(list: &str) -> Result<Self, String> {
        let named = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut errnos = named.map(number).collect::<Result<Vec<_>, _>>()?;
        if errnos.is_empty() {
            return Err(format!("'{list}': names no errno; ENOENT or 2 would"));
        }
        errnos.sort_unstable();
        errnos.dedup();
        Ok(Self::Errnos(errnos))
    }
}

fn number(name: &str) -> Result<u16, String> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = name.parse().ok().filter(|errno| (1..=HIGHEST).contains(errno));
        return number.ok_or_else(|| format!("{name}: not an errno; they are from 1 to {HIGHEST}"));
    }
    let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    let name = alias.map_or(name, |(_, same)| same);
    (1..=HIGHEST).find(|errno| errno::symbol(*errno).eq_ignore_ascii_case(name)).ok_or_else(|| {
        let known: Vec<Cow<str>> = (1..=HIGHEST).map(errno::symbol).collect();
        let near = did_you_mean(&name.to_ascii_uppercase(), known.iter().map(|known| &**known));
        format!("{name}: no such errno; {}", near.as_deref().unwrap_or("see `man 3 errno`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_sorted_and_told_once() {
        let errnos = |list| Outcome::parse(list);
        assert_eq!(errnos("ENOENT"), Ok(Outcome::Errnos(vec![2])));
        assert_eq!(errnos("11,ENOENT,EAGAIN,2"), Ok(Outcome::Errnos(vec![2, 11])));
        assert_eq!(errnos("ewouldblock, edeadlock"), Ok(Outcome::Errnos(vec![11, 35])));
        assert_eq!(errnos("ENOTSUP,EHWPOISON,133"), Ok(Outcome::Errnos(vec![95, 133])));
        assert_eq!(errnos("E41"), Ok(Outcome::Errnos(vec![41])));
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let error = |list| Outcome::parse(list).unwrap_err();
        assert_eq!(error("ENOENTT"), "ENOENTT: no such errno; did you mean ENOENT or ENONET?");
        assert_eq!(error("1,enont"), "enont: no such errno; did you mean ENONET or ENOENT?");
        assert_eq!(error("success"), "success: no such errno; see `man 3 errno`");
        assert_eq!(error("-2"), "-2: no such errno; see `man 3 errno`");
        for number in ["0", "134", "99999999999999999999"] {
            assert_eq!(error(number), format!("{number}: not an errno; they are from 1 to 133"));
        }
        assert_eq!(error(","), "',': names no errno; ENOENT or 2 would");
    }
}
