//! A set of syscall kinds.

use syscost_common::kind::KINDS;

const WORDS: usize = KINDS as usize / u64::BITS as usize;

/// A set of kinds, each packed by [`syscost_common::kind::pack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KindSet(Box<[u64; WORDS]>);

impl KindSet {
    /// No kind at all.
    pub(super) fn empty() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Every possible kind, with and without a name.
    pub(super) fn full() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    /// Adds `kind`, which is below [`KINDS`].
    pub(super) fn insert(&mut self, kind: u32) {
        let (word, bit) = place(kind);
        self.0[word] |= bit;
    }

    /// Whether `kind` is in it; an index that no kind can have never is.
    pub(super) fn contains(&self, kind: u32) -> bool {
        let (word, bit) = place(kind);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Makes it the set of all other kinds.
    pub(super) fn invert(&mut self) {
        for bits in self.0.iter_mut() {
            *bits = !*bits;
        }
    }

    /// Whether no kind is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }

    /// Whether every kind is in it.
    pub(super) fn is_full(&self) -> bool {
        self.0.iter().all(|bits| *bits == u64::MAX)
    }
}

fn place(kind: u32) -> (usize, u64) {
    ((kind / u64::BITS) as usize, 1 << (kind % u64::BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_contained_and_nothing_else() {
        let mut set = KindSet::empty();
        for kind in [0, 63, 64, KINDS - 1] {
            set.insert(kind);
        }
        let contained: Vec<u32> = (0..KINDS + 64).filter(|kind| set.contains(*kind)).collect();
        assert_eq!(contained, [0, 63, 64, KINDS - 1]);
    }

    #[test]
    fn inverting_turns_everything_into_nothing() {
        let mut set = KindSet::full();
        assert!(set.is_full() && !set.is_empty());
        set.invert();
        assert_eq!(set, KindSet::empty());
        assert!(set.is_empty() && !set.is_full());
        assert!(!KindSet::full().contains(KINDS));
    }
}
