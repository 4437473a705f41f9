//! The tables of one kernel function's classifier, built from the plans of all policies that hook it.
//!
//! This is bit-vector classification (Lakshman and Stiliadis, "High-speed policy-based packet forwarding using
//! efficient multi-dimensional range matching", SIGCOMM 1998): the selectors of all policies are numbered; each field
//! that any of them looks at has a table that maps the field's value to a *row*, the bitmap of the selectors that
//! this value satisfies. AND-ing the rows of all fields leaves the selectors that match. So the cost of an event
//! depends on the fields, not on the number of policies.
//!
//! A selector that doesn't look at a field has its bit set in all rows of the field's table.

mod addresses;
mod binaries;
mod integers;
mod rows;
mod simulate;
mod steps;
#[cfg(test)]
mod tests;
mod texts;

use gatewatch_abi::{
    BitAction, ExactKey, MatcherConfig, Step,
    consts::{
        ACTION_COUNT, ADDR_SLOTS, FOLLOW_SLOTS, INT_SLOTS, MAX_SELECTORS, TEXT_BYTES, TEXT_SLOTS, WORD_BITS,
    },
};

use self::rows::Rows;
use crate::plan::{Field, HookPlan, HookPoint, Network, Test};

/// One policy's hook at the point.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// The number that it is counted under.
    pub id: u32,
    /// Which policy it belongs to: an index into the sets of `classes`.
    pub policy: usize,
    /// What it looks for.
    pub plan: &'a HookPlan,
}

/// The tables, ready to be written into maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// What the program looks at. `follow[i].mask` is left to the caller, who numbers the sets.
    pub spec: MatcherConfig,
    /// All rows, `spec.words` words each. The first ones are those of the cgroup classes.
    pub rows: Vec<u64>,
    /// One for each bit.
    pub actions: Vec<BitAction>,
    /// Contents of `EXACT`.
    pub exact: Vec<(ExactKey, u32)>,
    /// Contents of `DIRECT`.
    pub direct: Vec<u32>,
    /// Contents of `BREAKS`.
    pub breaks: Vec<[u64; 2]>,
    /// Contents of `PREFIX`.
    pub prefixes: Vec<Step>,
    /// Contents of `POSTFIX`: slot, bytes backwards, row.
    pub postfixes: Vec<(u8, Vec<u8>, u32)>,
    /// Contents of `ADDRESSES`: slot, network, row.
    pub addresses: Vec<(u32, Network, u32)>,
    /// Contents of `BINARY_ROWS`: path, row.
    pub binaries: Vec<(Vec<u8>, u32)>,
    /// The `followChildren` set of each `spec.follow`.
    pub follow: Vec<Vec<Vec<u8>>>,
    /// The field of each integer slot in use.
    pub int_fields: Vec<Field>,
    /// The field of each string slot in use.
    pub text_fields: Vec<Field>,
    /// The field of each address slot in use.
    pub addr_fields: Vec<Field>,
}

/// Why policies don't fit on one kernel function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many selectors.
    #[error("the policies on this function have more than {MAX_SELECTORS} selectors in total")]
    Selectors,
    /// Too many integers.
    #[error("the policies on this function filter on more than {INT_SLOTS} integers in total")]
    Integers,
    /// Too many strings.
    #[error("the policies on this function filter on more than {TEXT_SLOTS} strings or paths in total")]
    Texts,
    /// Too many addresses.
    #[error("the policies on this function filter on more than {ADDR_SLOTS} addresses in total")]
    Addresses,
    /// Too many sets of programs.
    #[error(
        "the policies on this function follow the children of more than {FOLLOW_SLOTS} program sets in total"
    )]
    FollowSets,
    /// Too many ranges of one integer.
    #[error("the policies on this function split one integer into more than {} ranges", integers::MAX_BREAKS)]
    Ranges,
    /// A string that is too long for a table.
    #[error(
        "a string has more than {TEXT_BYTES} bytes (a suffix more than 127), which the kernel's match tables cannot \
         hold"
    )]
    TextLength,
}

/// A selector's place in the bitmaps, and the tests that it makes.
struct Numbered<'a> {
    bit: u32,
    policy: usize,
    tests: Vec<(Field, &'a Test)>,
}

/// The number of rows that are kept for cgroup classes, so that new classes fit without a new program.
pub const fn class_rows(classes: usize) -> usize {
    let classes = if classes < 16 { 16 } else { classes };
    (classes + classes / 2).next_multiple_of(16)
}

/// Builds the tables of one point, where all of the hooks attach. `classes[c]` says for each policy whether it watches the cgroups of class `c`
/// (class 0, the cgroups that nobody has classified yet, belongs to all). `params` is the number of the function's
/// parameters.
pub fn build(
    point: &HookPoint,
    hooks: &[Hook<'_>],
    classes: &[Vec<bool>],
    params: u32,
) -> Result<Tables, Excess> {
    let (numbered, actions) = number(hooks)?;
    let (bits, words) = (actions.len(), actions.len().div_ceil(WORD_BITS as usize).max(1));
    let only = if let [only] = actions[..] { only } else { BitAction::default() };
    let mut builder = Builder {
        rows: Rows::new(words),
        selectors: &numbered,
        tables: Tables { actions, ..Tables::default() },
    };
    builder.tables.spec.only = only;
    builder.tables.spec.words = u32::try_from(words).unwrap_or(u32::MAX);
    builder.tables.spec.bits = u32::try_from(bits).unwrap_or(u32::MAX);
    builder.tables.spec.syscall = u32::from(point.is_syscall());
    builder.tables.spec.params = params;
    builder.classes(classes);
    for field in builder.fields() {
        match field {
            Field::Binary => builder.binary()?,
            Field::File(_)
            | Field::Path(_)
            | Field::Binprm(_)
            | Field::KernelString(_)
            | Field::UserString(_) => {
                builder.text(field)?;
            }
            Field::SourceAddress(_) | Field::DestinationAddress(_) => builder.address(field)?,
            _ => builder.integer(field)?,
        }
    }
    builder.tables.rows = builder.rows.into_words();
    Ok(builder.tables)
}

/// The row of a class for the same hooks, to be written over the one that [`build`] wrote, for use when classes change.
pub fn class_row(hooks: &[Hook<'_>], class: &[bool]) -> Result<Vec<u64>, Excess> {
    let (numbered, actions) = number(hooks)?;
    let words = actions.len().div_ceil(WORD_BITS as usize).max(1);
    let mut row = vec![0; words];
    for selector in numbered {
        if class.get(selector.policy).copied().unwrap_or(false) {
            row[(selector.bit / WORD_BITS) as usize] |= 1 << (selector.bit % WORD_BITS);
        }
    }
    Ok(row)
}

/// Numbers the selectors. Those of one hook are neighbours in one word, in their order, so that the lowest bit is
/// the one that takes the event.
fn number<'a>(hooks: &[Hook<'a>]) -> Result<(Vec<Numbered<'a>>, Vec<BitAction>), Excess> {
    let mut numbered = Vec::new();
    let mut actions: Vec<BitAction> = Vec::new();
    for hook in hooks {
        let count = u32::try_from(hook.plan.selectors.len()).map_err(|_| Excess::Selectors)?;
        if count > WORD_BITS {
            return Err(Excess::Selectors);
        }
        let mut first = u32::try_from(actions.len()).map_err(|_| Excess::Selectors)?;
        if first % WORD_BITS + count > WORD_BITS {
            first = first.next_multiple_of(WORD_BITS);
            actions.resize(first as usize, BitAction::default());
        }
        let siblings = (0..count).fold(0, |mask, i| mask | 1 << (first % WORD_BITS + i));
        for (selector, bit) in hook.plan.selectors.iter().zip(first..) {
            let flags = if selector.actions.count { ACTION_COUNT } else { 0 };
            actions.push(BitAction { siblings, hook: hook.id, flags });
            let tests = selector.filters.iter().map(|filter| (filter.field, &filter.test)).collect();
            numbered.push(Numbered { bit, policy: hook.policy, tests });
        }
    }
    if actions.len() > MAX_SELECTORS {
        return Err(Excess::Selectors);
    }
    Ok((numbered, actions))
}

/// The tables while they are made.
struct Builder<'a> {
    rows: Rows,
    selectors: &'a [Numbered<'a>],
    tables: Tables,
}

impl<'a> Builder<'a> {
    fn classes(&mut self, classes: &[Vec<bool>]) {
        for class in 0..class_rows(classes.len()) {
            let watched = classes.get(class);
            let row = self.row(|selector| {
                watched.is_some_and(|policies| policies.get(selector.policy).copied().unwrap_or(false))
            });
            self.rows.push(row);
        }
    }

    /// Every field that is looked at, each once, in a fixed order.
    fn fields(&self) -> Vec<Field> {
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
    fn tests(selector: &'a Numbered<'a>, field: Field) -> impl Iterator<Item = &'a Test> {
        selector.tests.iter().filter(move |(of, _)| *of == field).map(|(_, test)| *test)
    }

    /// A row: the selectors for which `holds`.
    fn row(&self, holds: impl Fn(&'a Numbered<'a>) -> bool) -> Vec<u64> {
        let mut row = vec![0; self.rows.words()];
        for selector in self.selectors {
            if holds(selector) {
                row[(selector.bit / WORD_BITS) as usize] |= 1 << (selector.bit % WORD_BITS);
            }
        }
        row
    }

    /// A row of its own or one that is the same.
    fn intern(&mut self, holds: impl Fn(&'a Numbered<'a>) -> bool) -> u32 {
        let row = self.row(holds);
        self.rows.intern(row)
    }
}

/// Whether a test is negated: such a one holds where there is no value.
const fn negated(test: &Test) -> bool {
    match test {
        Test::Int { negated, .. }
        | Test::Mask { negated, .. }
        | Test::Text { negated, .. }
        | Test::Address { negated, .. } => *negated,
    }
}
