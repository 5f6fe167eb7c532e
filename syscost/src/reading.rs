//! A number together with how far it can be trusted.

/// A value that was read, may be low, is estimated, or was never collected. Keeps 0 meaning zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Reading<T> {
    /// Nothing was collected; shown as "–", never as 0.
    NotCollected,
    /// About this much: calls were sampled, and those measured stand for the others; shown with "≈".
    Estimated(T),
    /// At least this much: something may be missing; shown with ">=".
    Partial(T),
    /// Exactly this.
    Exact(T),
}

impl<T> Reading<T> {
    /// `Exact` where `exact`, else `Partial`.
    pub fn exact_if(exact: bool, value: T) -> Self {
        if exact { Self::Exact(value) } else { Self::Partial(value) }
    }

    /// The number itself, however far it can be trusted.
    pub fn value(self) -> Option<T> {
        match self {
            Self::NotCollected => None,
            Self::Estimated(value) | Self::Partial(value) | Self::Exact(value) => Some(value),
        }
    }

    /// The same trust in another number.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::NotCollected => Reading::NotCollected,
            Self::Estimated(value) => Reading::Estimated(f(value)),
            Self::Partial(value) => Reading::Partial(f(value)),
            Self::Exact(value) => Reading::Exact(f(value)),
        }
    }
}
