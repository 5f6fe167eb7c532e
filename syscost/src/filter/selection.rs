//! What a filter says, as data that a recording can hold, and in words. Knows no kinds: the tables of syscalls differ
//! between machines and versions.

use std::iter;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::decode::{errno, printable::printable};

/// Which calls are recorded, as the user put it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The calls that were selected by name; `None` for all.
    pub calls: Option<SelectedCalls>,
    /// How a call must have ended.
    pub outcome: Outcome,
}

/// The words after `-e`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedCalls {
    /// The words between the commas.
    pub words: Vec<String>,
    /// Whether they say which calls are left out, rather than which are recorded.
    pub negated: bool,
    /// Whether they select no call at all.
    pub nothing: bool,
}

impl Selection {
    /// The selection in a few words, for a header: "only read, write · only failed". Safe to show, of at most about
    /// 100 characters; `None` if nothing is left out.
    pub fn describe(&self) -> Option<String> {
        let calls = self.calls.as_ref().map(|calls| match (calls.nothing, calls.negated) {
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

/// A list may have this many characters; the rest is only counted.
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
