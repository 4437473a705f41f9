//! Sets of integers. Addresses are integers of 128 bits and sets of capabilities integers of 64, of which single bits
//! are asked for.

use super::budget::Budget;

/// Sets up to this size are looked through one by one, where bits are asked for.
const SMALL: u128 = 4096;

/// Integers in some ranges that share a bit with each of some masks and none with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntSet {
    /// Least and greatest integer of the domain.
    domain: (i128, i128),
    /// Whether there may be no value at all in this domain.
    optional: bool,
    /// Inclusive, sorted and disjoint, inside of the domain.
    ranges: Vec<(i128, i128)>,
    /// A bit of each of these is set.
    any: Vec<u64>,
    /// None of these bits is set.
    none: u64,
    /// Whether having no value is in the set.
    absent: bool,
}

impl IntSet {
    /// All integers from `min` to `max`; where `optional` is set there may be no value, which is in the set too.
    pub fn all(min: i128, max: i128, optional: bool) -> Self {
        Self {
            domain: (min, max),
            optional,
            ranges: vec![(min, max)],
            any: Vec::new(),
            none: 0,
            absent: optional,
        }
    }

    /// All of the same domain.
    #[must_use]
    pub fn everything(&self) -> Self {
        Self::all(self.domain.0, self.domain.1, self.optional)
    }

    /// Those of the domain that are in one of the ranges; no value isn't in it.
    #[must_use]
    pub fn within(&self, ranges: Vec<(i128, i128)>) -> Self {
        let (min, max) = self.domain;
        let cut = ranges.into_iter().map(|(low, high)| (low.max(min), high.min(max)));
        let ranges = crate::values::merge(cut.filter(|(low, high)| low <= high).collect());
        Self { ranges, absent: false, ..self.everything() }
    }

    /// Those of the domain that are in none of the ranges; no value is in it.
    #[must_use]
    pub fn outside(&self, ranges: Vec<(i128, i128)>) -> Self {
        let inside = self.within(ranges);
        Self { ranges: inside.gaps(), absent: self.optional, ..inside }
    }

    /// Those of the domain that share a bit with the mask; no value isn't in it.
    #[must_use]
    pub fn sharing(&self, mask: u64) -> Self {
        Self { any: vec![mask], absent: false, ..self.everything() }
    }

    /// Those of the domain that share no bit with the mask; no value is in it.
    #[must_use]
    pub fn avoiding(&self, mask: u64) -> Self {
        Self { none: mask, ..self.everything() }
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut a, mut b) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some((a_low, a_high)), Some((b_low, b_high))) = (a.peek(), b.peek()) {
            let (low, high) = (*a_low.max(b_low), *a_high.min(b_high));
            if low <= high {
                ranges.push((low, high));
            }
            if a_high < b_high {
                a.next();
            } else {
                b.next();
            }
        }
        let mut any = self.any.clone();
        any.extend(other.any.iter().filter(|mask| !self.any.contains(mask)));
        Self {
            domain: self.domain,
            optional: self.optional,
            ranges,
            any,
            none: self.none | other.none,
            absent: self.absent && other.absent,
        }
    }

    /// Sets that together are everything of the domain that isn't in this one.
    pub fn complement(&self) -> Vec<Self> {
        let lost = self.optional && !self.absent;
        let bare = Self { absent: false, ..self.everything() };
        let mut parts = vec![Self { ranges: self.gaps(), absent: lost, ..bare.clone() }];
        parts.extend(self.any.iter().map(|mask| Self { none: *mask, ..bare.clone() }));
        if self.none != 0 {
            parts.push(Self { any: vec![self.none], ..bare });
        }
        parts
    }

    /// Whether it is proved that nothing is in it.
    pub(super) fn is_empty(&self, budget: &Budget) -> bool {
        if self.absent {
            return false;
        }
        if self.ranges.is_empty() || self.any.iter().any(|mask| mask & !self.none == 0) {
            return true;
        }
        if self.any.is_empty() && self.none == 0 {
            return false;
        }
        let size = self
            .ranges
            .iter()
            .fold(0_u128, |sum, (low, high)| sum.saturating_add(high.abs_diff(*low)).saturating_add(1));
        let steps = usize::try_from(size.min(SMALL)).unwrap_or_default() + self.ranges.len();
        if !budget.spend(steps) {
            return false;
        }
        if size <= SMALL {
            return !self.ranges.iter().any(|(low, high)| (*low..=*high).any(|value| self.bits_fit(value)));
        }
        // Each demand separately: if no value meets one of them, none meets all.
        let unmet = |next: &dyn Fn(i128) -> Option<i128>| {
            self.ranges.iter().all(|(low, high)| next(*low).is_none_or(|value| value > *high))
        };
        unmet(&|low| next_without(low, self.none))
            || self.any.iter().any(|mask| unmet(&|low| next_with(low, *mask)))
    }

    fn bits_fit(&self, value: i128) -> bool {
        value & i128::from(self.none) == 0 && self.any.iter().all(|mask| value & i128::from(*mask) != 0)
    }

    /// What of the domain is between the ranges.
    fn gaps(&self) -> Vec<(i128, i128)> {
        let (min, max) = self.domain;
        let mut gaps = Vec::with_capacity(self.ranges.len() + 1);
        // The first value that isn't in any range yet; `None` behind the greatest integer that there is.
        let mut next = Some(min);
        for (low, high) in &self.ranges {
            if let Some(from) = next.filter(|from| from < low) {
                gaps.push((from, low - 1));
            }
            next = high.checked_add(1);
        }
        if let Some(from) = next.filter(|from| *from <= max) {
            gaps.push((from, max));
        }
        gaps
    }

    /// Whether the value is in the set.
    pub fn contains(&self, value: Option<i128>) -> bool {
        match value {
            None => self.absent,
            Some(value) => {
                self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&value)) && self.bits_fit(value)
            }
        }
    }
}

/// The least integer from `low` on that shares a bit with the mask.
fn next_with(low: i128, mask: u64) -> Option<i128> {
    let mask = i128::from(mask);
    if low & mask != 0 {
        return Some(low);
    }
    let bits = (0..64).map(|bit| 1_i128 << bit).filter(|bit| mask & bit != 0);
    // With this bit set and those below it clear.
    bits.map(|bit| (low | bit) & !(bit - 1)).min()
}

/// The least integer from `low` on that shares no bit with the mask.
fn next_without(low: i128, mask: u64) -> Option<i128> {
    let mask = i128::from(mask);
    let mut value = low;
    while value & mask != 0 {
        let highest = 1_i128 << (127 - (value & mask).leading_zeros());
        // Carry over it: it and all below it become clear.
        value = (value & !(highest - 1)).checked_add(highest)?;
    }
    Some(value)
}
