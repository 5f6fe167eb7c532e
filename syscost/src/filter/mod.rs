//! Which calls are recorded, as the user put it. Pure: knows nothing of the kernel, which does the
//! leaving out, nor of the options that the words come from.

mod calls;
mod class;
mod kind_set;
mod outcome;

use std::iter;

use calls::Calls;
pub use class::{CLASSES, Class};
pub use outcome::Outcome;

use crate::decode::{errno, printable::printable};

/// Which calls are recorded; everything else is left out in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    calls: Option<Calls>,
    outcome: Outcome,
}

impl Filter {
    /// Every call.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Only the calls that `expression` names, in strace's way: `read,write`, `%file`, `!futex`,
    /// `/^recv`.
    ///
    /// # Errors
    /// When there is no such call; one line says what is meant instead.
    pub fn with_calls(mut self, expression: &str) -> Result<Self, String> {
        self.calls = Calls::parse(expression)?;
        Ok(self)
    }

    /// Only failed calls.
    pub fn failed(mut self) -> Self {
        if self.outcome == Outcome::Any {
            self.outcome = Outcome::Failed;
        }
        self
    }

    /// Only calls that failed with an errno of `list`: names or numbers, with commas in between.
    ///
    /// # Errors
    /// When there is no such errno; one line says what is meant instead.
    pub fn with_errnos(mut self, list: &str) -> Result<Self, String> {
        self.outcome = Outcome::parse(list)?;
        Ok(self)
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        !self.restricts_kinds() && self.outcome == Outcome::Any
    }

    /// Whether calls of `kind`, packed by [`syscost_common::kind::pack`], are recorded if they end
    /// as [`outcome`](Self::outcome) says.
    pub fn wants(&self, kind: u32) -> bool {
        self.calls.as_ref().is_none_or(|calls| calls.kinds.contains(kind))
    }

    /// Whether there are kinds it does not [want](Self::wants).
    pub fn restricts_kinds(&self) -> bool {
        self.calls.is_some()
    }

    /// Whether every kind is left out.
    pub fn wants_nothing(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.kinds.is_empty())
    }

    /// How a call must have ended.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The filter in a few words, for a header: "only read, write · only failed". Harmless to show,
    /// of at most about 100 characters; `None` when nothing is left out.
    pub fn describe(&self) -> Option<String> {
        let calls =
            self.calls.as_ref().map(|calls| match (calls.kinds.is_empty(), calls.negated) {
                (true, _) => "nothing selected".to_owned(),
                (false, true) => format!("all but {}", shortened(&calls.words)),
                (false, false) => format!("only {}", shortened(&calls.words)),
            });
        let outcome = match &self.outcome {
            Outcome::Any => None,
            Outcome::Failed => Some("only failed".to_owned()),
            Outcome::Errnos(errnos) => {
                let names: Vec<_> = errnos.iter().map(|errno| errno::symbol(*errno)).collect();
                Some(format!("only {}", shortened(&names)))
            }
        };
        let parts: Vec<String> = calls.into_iter().chain(outcome).collect();
        (!parts.is_empty()).then(|| parts.join(" · "))
    }
}

/// How many characters a list may have before the rest is only counted.
const LIST_WIDTH: usize = 40;

/// `words` with commas in between, as far as there is room.
fn shortened(words: &[impl AsRef<str>]) -> String {
    let mut line = String::new();
    for (at, word) in words.iter().enumerate() {
        let word = cut(&printable(word.as_ref()));
        let separator = if at == 0 { "" } else { ", " };
        if at > 0 && line.chars().count() + separator.len() + word.chars().count() > LIST_WIDTH {
            return format!("{line} and {} more", words.len() - at);
        }
        line.extend([separator, &word]);
    }
    line
}

/// `word`, or its beginning if it is too long for a line of its own.
fn cut(word: &str) -> String {
    if word.chars().count() <= LIST_WIDTH {
        return word.to_owned();
    }
    word.chars().take(LIST_WIDTH - 1).chain(iter::once('…')).collect()
}

#[cfg(test)]
mod tests;
