//! Proofs over the domains of filters: what can never hold, what always holds, what something else covers.
//!
//! A filter allows a [`Set`] of the values of one [`Key`] (an argument, the program, a port). Filters of one selector
//! are a conjunction: for each key the intersection of their sets. Everything that is proved comes down to one
//! question, whether a set is empty:
//!
//! * a selector never matches where the intersection for one of its keys is empty;
//! * a filter always holds where what it leaves out is empty;
//! * earlier selectors cover a selector if nothing of it is left outside of them.
//!
//! "Yes, empty" is always right. "Not proved" is the answer also where the search would take too long; so no
//! finding is ever false, but some may be missing.

mod budget;
mod condition;
mod ints;
mod lower;
mod set;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use self::budget::{ALTERNATIVES, Budget};

pub use condition::{Aspect, Condition, Key, Source};
pub use ints::IntSet;
pub use lower::{labels, lower};
pub use set::Set;
pub use text::{Atom, Clause, TextSet};

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
#[derive(Debug, Default)]
pub struct Prover {
    budget: Budget,
}

impl Prover {
    /// Whether it is proved that nothing is in the set.
    pub fn is_empty(&self, set: &Set) -> bool {
        set.is_empty(&self.budget)
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
}
