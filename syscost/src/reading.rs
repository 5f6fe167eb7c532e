//! A number together with how far it can be trusted.

use serde::{Deserialize, Serialize};

/// A number that may be exact, too low, an estimate, or absent. So 0 always means zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// Nothing was collected; shown as "–", never as 0.
    NotCollected,
    /// About this much, because some calls stand for others; shown with "≈".
    Estimated(T),
    /// At least this much, because something may be missing; shown with ">=".
    Partial(T),
    /// Exactly this much.
    Exact(T),
}

impl<T> Reading<T> {
    /// `Exact` if `exact`, else `Partial`.
    pub fn exact_if(exact: bool, value: T) -> Self {
        if exact { Self::Exact(value) } else { Self::Partial(value) }
    }

    /// The number itself; `None` if nothing was collected.
    pub fn value(self) -> Option<T> {
        match self {
            Self::NotCollected => None,
            Self::Estimated(value) | Self::Partial(value) | Self::Exact(value) => Some(value),
        }
    }

    /// Another number that can be trusted as far as this one.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::NotCollected => Reading::NotCollected,
            Self::Estimated(value) => Reading::Estimated(f(value)),
            Self::Partial(value) => Reading::Partial(f(value)),
            Self::Exact(value) => Reading::Exact(f(value)),
        }
    }
}
