//! Sets of the values of one key.

use super::{budget::Budget, ints::IntSet, text::TextSet};

/// A set of values of one key. A key may have no value at all (the port of a unix socket); sets know whether they
/// have that in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// Of integers, addresses, capability sets.
    Ints(IntSet),
    /// Of strings.
    Text(TextSet),
}

impl Set {
    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Ints(a), Self::Ints(b)) => Self::Ints(a.intersect(b)),
            (Self::Text(a), Self::Text(b)) => Self::Text(a.intersect(b)),
            // Never asked: a key has one domain. What isn't known is the larger one, of which less is proved.
            (a, _) => a.clone(),
        }
    }

    /// Sets that together are everything that isn't in this one.
    pub(super) fn complement(&self) -> Vec<Self> {
        match self {
            Self::Ints(set) => set.complement().into_iter().map(Self::Ints).collect(),
            Self::Text(set) => set.complement().into_iter().map(Self::Text).collect(),
        }
    }

    /// All values of the same domain.
    pub(super) fn everything(&self) -> Self {
        match self {
            Self::Ints(set) => Self::Ints(set.everything()),
            Self::Text(_) => Self::Text(TextSet::everything()),
        }
    }

    /// Whether it is proved that nothing is in it.
    pub(super) fn is_empty(&self, budget: &Budget) -> bool {
        match self {
            Self::Ints(set) => set.is_empty(budget),
            Self::Text(set) => set.is_empty(budget),
        }
    }
}
