//! The parts of the builder that all kinds of tables share: numbered selectors, and rows over them.

use gatewatch_abi::consts::WORD_BITS;

use super::{rows::Rows, tables::Tables};
use crate::plan::{Field, Test};

/// A selector's place in the bitmaps, and the tests that it makes.
pub(super) struct Numbered<'a> {
    pub(super) bit: u32,
    pub(super) policy: usize,
    pub(super) tests: Vec<(Field, &'a Test)>,
}

/// The number of rows that are kept for policy sets, so that new sets fit without a new program.
pub const fn policy_set_rows(sets: usize) -> usize {
    let sets = if sets < 16 { 16 } else { sets };
    (sets + sets / 2).next_multiple_of(16)
}

/// The tables while they are built.
pub(super) struct Builder<'a> {
    pub(super) rows: Rows,
    pub(super) selectors: &'a [Numbered<'a>],
    pub(super) tables: Tables,
}

impl<'a> Builder<'a> {
    pub(super) fn policy_sets(&mut self, policy_sets: &[Vec<bool>]) {
        for set in 0..policy_set_rows(policy_sets.len()) {
            let watching = policy_sets.get(set);
            let row = self.row(|selector| {
                watching.is_some_and(|policies| policies.get(selector.policy).copied().unwrap_or(false))
            });
            self.rows.push(row);
        }
    }

    /// Every field that a selector reads, each once, in a fixed order.
    pub(super) fn fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self
            .selectors
            .iter()
            .flat_map(|selector| selector.tests.iter().map(|(field, _)| *field))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// The tests that a selector makes on a field.
    pub(super) fn tests(selector: &'a Numbered<'a>, field: Field) -> impl Iterator<Item = &'a Test> {
        selector.tests.iter().filter(move |(of, _)| *of == field).map(|(_, test)| *test)
    }

    /// A row: the selectors for which `holds`.
    pub(super) fn row(&self, holds: impl Fn(&'a Numbered<'a>) -> bool) -> Vec<u64> {
        let mut row = vec![0; self.rows.words()];
        for selector in self.selectors {
            if holds(selector) {
                row[(selector.bit / WORD_BITS) as usize] |= 1 << (selector.bit % WORD_BITS);
            }
        }
        row
    }

    /// A row of its own or one that is the same.
    pub(super) fn intern(&mut self, holds: impl Fn(&'a Numbered<'a>) -> bool) -> u32 {
        let row = self.row(holds);
        self.rows.intern(row)
    }
}

/// Whether a test is negated: such a one holds where there is no value.
pub(super) const fn negated(test: &Test) -> bool {
    match test {
        Test::Int { negated, .. }
        | Test::Mask { negated, .. }
        | Test::Text { negated, .. }
        | Test::Address { negated, .. } => *negated,
    }
}
