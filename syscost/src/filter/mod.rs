//! Which calls are recorded, as the user put it. Pure: knows nothing of the kernel, which does the
//! leaving out, nor of the options that the words come from.

mod calls;
mod class;
mod kind_set;
mod outcome;
mod selection;

use calls::Calls;
pub use class::{CLASSES, Class};
pub use outcome::Outcome;
pub use selection::{SelectedCalls, Selection};

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

    /// The filter as data, without the tables of this machine; see [`Selection::describe`] for words.
    pub fn selection(&self) -> Selection {
        let calls = self.calls.as_ref().map(|calls| SelectedCalls {
            words: calls.words.clone(),
            negated: calls.negated,
            nothing: calls.kinds.is_empty(),
        });
        Selection { calls, outcome: self.outcome.clone() }
    }
}

#[cfg(test)]
mod tests;
