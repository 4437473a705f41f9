//! Proofs over the domains of filters: what can never hold, what always holds, what is taken by something else.
//!
//! A filter allows a [`Set`] of the values of one [`Key`] (an argument, the program, a port). Filters of one selector
//! are a conjunction: for each key the intersection of their sets. Everything that is proved comes down to one
//! question, whether a set is empty:
//!
//! * a selector never matches where the intersection for one of its keys is empty;
//! * a filter always holds where what it leaves out is empty;
//! * a selector is taken by earlier ones where nothing of it is left outside of them.
//!
//! "Yes, empty" is always right. "Not proved" is the answer also where the search would take too long; so a
//! policy is never told something false, at worst it isn't told something true.

mod ints;
mod lower;
#[cfg(test)]
mod tests;
mod text;

use std::{cell::Cell, collections::BTreeMap};

use crate::diagnostic::FieldPath;

pub use ints::IntSet;
pub use lower::{Aspect, Key, Source, labels, lower};
pub use text::{Atom, Clause, TextSet};

/// Steps of search for one policy. A few hundred values against a few hundred take a hundredth of it.
const BUDGET: u64 = 4_000_000;
/// Alternatives that one question may be split into.
const ALTERNATIVES: usize = 4096;

/// A set of values of one key. A key may have no value at all (the port of a unix socket); sets say whether they
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
    fn complement(&self) -> Vec<Self> {
        match self {
            Self::Ints(set) => set.complement().into_iter().map(Self::Ints).collect(),
            Self::Text(set) => set.complement().into_iter().map(Self::Text).collect(),
        }
    }
}

/// One condition of a selector.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is looked at.
    pub key: Key,
    /// What it may be.
    pub set: Set,
    /// Where the filter stands.
    pub path: FieldPath,
}

/// What all conditions of a selector allow, key by key.
pub type Allowed = BTreeMap<Key, Set>;

/// Puts the conditions of a selector together.
pub fn allowed(conditions: &[Condition]) -> Allowed {
    let mut all = Allowed::new();
    for condition in conditions {
        let set = match all.get(&condition.key) {
            Some(before) => before.intersect(&condition.set),
            None => condition.set.clone(),
        };
        all.insert(condition.key.clone(), set);
    }
    all
}

/// Answers questions about sets, as long as its budget lasts.
#[derive(Debug)]
pub struct Prover {
    left: Cell<u64>,
}

impl Default for Prover {
    fn default() -> Self {
        Self { left: Cell::new(BUDGET) }
    }
}

impl Prover {
    /// Whether it is proved that nothing is in the set.
    pub fn is_empty(&self, set: &Set) -> bool {
        match set {
            Set::Ints(set) => set.is_empty(self),
            Set::Text(set) => set.is_empty(self),
        }
    }

    /// Whether it is proved that everything is in the set.
    pub fn is_everything(&self, set: &Set) -> bool {
        set.complement().iter().all(|rest| self.is_empty(rest))
    }

    /// Whether it is proved that all of `set` is in at least one of `others`.
    pub fn covered(&self, set: &Set, others: &[&Set]) -> bool {
        let mut rests = vec![set.clone()];
        for other in others {
            let outside = other.complement();
            if rests.len() * outside.len() > ALTERNATIVES {
                return false;
            }
            rests = rests.iter().flat_map(|rest| outside.iter().map(|o| rest.intersect(o))).collect();
            rests.retain(|rest| !self.is_empty(rest));
            if rests.is_empty() {
                return true;
            }
        }
        rests.is_empty() || self.is_empty(set)
    }

    /// Whether it is proved that a selector never matches.
    pub fn never(&self, selector: &Allowed) -> bool {
        selector.values().any(|set| self.is_empty(set))
    }

    /// Which of the earlier selectors are proved to take all that this one would match: one of them, or several that
    /// differ in what they ask of one key only. None where that isn't proved.
    pub fn takers(&self, earlier: &[&Allowed], later: &Allowed) -> Option<Vec<usize>> {
        let within = |taker: &Allowed, except: Option<&Key>| {
            let mut asked = taker.iter().filter(|(key, _)| Some(*key) != except);
            asked.all(|(key, set)| later.get(key).is_some_and(|mine| self.covered(mine, &[set])))
        };
        for (i, taker) in earlier.iter().enumerate() {
            if within(taker, None) {
                return Some(vec![i]);
            }
        }
        let mut keys: Vec<&Key> = earlier.iter().flat_map(|taker| taker.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let candidates: Vec<(usize, &Set)> = earlier
                .iter()
                .enumerate()
                .filter(|(_, taker)| within(taker, Some(key)))
                .filter_map(|(i, taker)| Some((i, taker.get(key)?)))
                .collect();
            if candidates.len() < 2 {
                continue;
            }
            // What isn't asked for can be anything.
            let mine = later.get(key).cloned().unwrap_or_else(|| candidates[0].1.everything());
            let sets: Vec<&Set> = candidates.iter().map(|(_, set)| *set).collect();
            if self.covered(&mine, &sets) {
                return Some(candidates.into_iter().map(|(i, _)| i).collect());
            }
        }
        None
    }

    /// Takes steps off the budget; false where it is used up.
    fn spend(&self, steps: usize) -> bool {
        let left = self.left.get().saturating_sub(steps as u64);
        self.left.set(left);
        left > 0
    }
}

impl Set {
    /// All values of the same domain.
    fn everything(&self) -> Self {
        match self {
            Self::Ints(set) => Self::Ints(set.everything()),
            Self::Text(_) => Self::Text(TextSet::everything()),
        }
    }
}
