//! What hooks need of a matcher, and what is in use of it.

use std::collections::{BTreeMap, BTreeSet};

use gatewatch_abi::consts::{
    ADDR_SLOTS, DIRECT_VALUES, FOLLOW_SLOTS, INT_SLOTS, MAX_SELECTORS, TEXT_SLOTS, WORD_BITS,
};

use crate::{
    match_tables::excess::{Excess, MAX_BREAKS, MAX_VALUES},
    plan::{Field, HookPlan, Test, TextOp},
};

/// What one hook needs.
#[derive(Debug, Default)]
pub(super) struct Needs<'a> {
    selectors: usize,
    integers: BTreeMap<Field, Integer>,
    texts: BTreeSet<Field>,
    addresses: BTreeSet<Field>,
    followed: BTreeSet<&'a [Vec<u8>]>,
}

/// What is needed for one integer field.
#[derive(Clone, Debug, Default)]
struct Integer {
    /// Whether there is a test for ranges; it may have none.
    ranges: bool,
    /// Where ranges begin, and where they end.
    starts: BTreeSet<i128>,
    /// Whether there is a range of more than one value.
    wide: bool,
    /// The most masks that a selector has. Each has a table of its own.
    masks: usize,
}

impl<'a> Needs<'a> {
    /// What a hook needs.
    pub(super) fn of(plan: &'a HookPlan) -> Self {
        let mut needs = Self { selectors: plan.selectors.len(), ..Self::default() };
        for selector in &plan.selectors {
            let mut masks: BTreeMap<Field, usize> = BTreeMap::new();
            for filter in &selector.filters {
                match &filter.test {
                    Test::Int { ranges, .. } => {
                        needs.integers.entry(filter.field).or_default().add_ranges(ranges);
                    }
                    Test::Mask { .. } => *masks.entry(filter.field).or_default() += 1,
                    Test::Text { follow_children: true, values, .. } => {
                        needs.followed.insert(values);
                    }
                    // Whole paths of programs are looked up by their ids, without a slot.
                    Test::Text { op: TextOp::Equal, .. } if filter.field == Field::Binary => {}
                    Test::Text { .. } => {
                        needs.texts.insert(filter.field);
                    }
                    Test::Address { .. } => {
                        needs.addresses.insert(filter.field);
                    }
                }
            }
            for (field, masks) in masks {
                let integer = needs.integers.entry(field).or_default();
                integer.masks = integer.masks.max(masks);
            }
        }
        needs
    }

    /// How many fields it takes of a matcher that has none of them.
    pub(super) fn slots(&self) -> usize {
        let integers: usize = self.integers.values().map(Integer::slots).sum();
        integers + self.texts.len() + self.addresses.len() + self.followed.len()
    }
}

impl Integer {
    fn add_ranges(&mut self, ranges: &[(i128, i128)]) {
        self.ranges = true;
        // Neighbours are one range.
        for neighbours in ranges.chunk_by(|before, next| before.1.saturating_add(1) >= next.0) {
            if let (Some((low, _)), Some((_, high))) = (neighbours.first(), neighbours.last()) {
                self.wide |= low != high;
                self.starts.extend([*low, high.saturating_add(1)]);
            }
        }
    }

    fn slots(&self) -> usize {
        usize::from(self.ranges) + self.masks
    }

    /// The slots of both together.
    fn slots_with(&self, more: &Self) -> usize {
        usize::from(self.ranges || more.ranges) + self.masks.max(more.masks)
    }

    /// Whether the values of both can be in one table.
    fn has_table_with(&self, more: &Self) -> bool {
        let starts = self.starts.len() + more.starts.difference(&self.starts).count();
        let most = if self.wide || more.wide { MAX_BREAKS } else { MAX_VALUES };
        // One more interval is before the first start.
        starts < most || [self, more].into_iter().all(Self::is_small)
    }

    /// Whether all values can be looked up in an array.
    fn is_small(&self) -> bool {
        let first = self.starts.first().is_none_or(|start| *start >= 0);
        first && self.starts.last().is_none_or(|end| *end <= i128::from(DIRECT_VALUES))
    }
}

/// What the hooks of one lane take of its matcher.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage<'a> {
    /// How many selectors each hook has, by its place among all hooks of the point.
    selectors: BTreeMap<usize, usize>,
    /// Selectors of all hooks, and of the hook that has the most.
    total: usize,
    most: usize,
    integers: BTreeMap<Field, Integer>,
    texts: BTreeSet<Field>,
    addresses: BTreeSet<Field>,
    followed: BTreeSet<&'a [Vec<u8>]>,
}

impl<'a> Usage<'a> {
    /// Whether it has a hook.
    pub(super) fn is_used(&self) -> bool {
        !self.selectors.is_empty()
    }

    /// How many more fields the matcher reads with this hook; an error where it cannot hold the hook as well.
    pub(super) fn room_for(&self, index: usize, needs: &Needs<'_>) -> Result<usize, Excess> {
        if needs.selectors > WORD_BITS as usize || self.bits_with(index, needs.selectors) > MAX_SELECTORS {
            return Err(Excess::Selectors);
        }
        let none = Integer::default();
        let known = |field: &Field| self.integers.get(field).unwrap_or(&none);
        if !needs.integers.iter().all(|(field, more)| known(field).has_table_with(more)) {
            return Err(Excess::Ranges);
        }
        let before: usize = self.integers.values().map(Integer::slots).sum();
        let more = |(field, more): (&Field, &Integer)| known(field).slots_with(more) - known(field).slots();
        let integers: usize = needs.integers.iter().map(more).sum();
        let texts = needs.texts.difference(&self.texts).count();
        let addresses = needs.addresses.difference(&self.addresses).count();
        let followed = needs.followed.difference(&self.followed).count();
        if before + integers > INT_SLOTS {
            Err(Excess::Integers)
        } else if self.texts.len() + texts > TEXT_SLOTS {
            Err(Excess::Texts)
        } else if self.addresses.len() + addresses > ADDR_SLOTS {
            Err(Excess::Addresses)
        } else if self.followed.len() + followed > FOLLOW_SLOTS {
            Err(Excess::FollowSets)
        } else {
            Ok(integers + texts + addresses + followed)
        }
    }

    /// Adds a hook.
    pub(super) fn add(&mut self, index: usize, needs: &Needs<'a>) {
        self.selectors.insert(index, needs.selectors);
        self.total += needs.selectors;
        self.most = self.most.max(needs.selectors);
        for (field, more) in &needs.integers {
            let known = self.integers.entry(*field).or_default();
            known.ranges |= more.ranges;
            known.starts.extend(&more.starts);
            known.wide |= more.wide;
            known.masks = known.masks.max(more.masks);
        }
        self.texts.extend(&needs.texts);
        self.addresses.extend(&needs.addresses);
        self.followed.extend(&needs.followed);
    }

    /// The length of a row with this hook: the selectors of one hook are in one word.
    fn bits_with(&self, index: usize, selectors: usize) -> usize {
        // The usual case: no hook needs more than its bit, and none is moved to the next word.
        let total: usize = self.total + selectors;
        if total > MAX_SELECTORS || self.most.max(selectors) <= 1 {
            return total;
        }
        let word = WORD_BITS as usize;
        let before = self.selectors.range(..index);
        let after = self.selectors.range(index..);
        before.chain([(&index, &selectors)]).chain(after).fold(0, |bits, (_, count)| {
            let first = if bits % word + count > word { bits.next_multiple_of(word) } else { bits };
            first + count
        })
    }
}
