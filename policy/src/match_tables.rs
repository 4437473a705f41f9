//! The tables of one kernel function's matcher, built from the plans of all policies that hook it.
//!
//! This is bit-vector classification (Lakshman and Stiliadis, "High-speed policy-based packet forwarding using
//! efficient multi-dimensional range matching", SIGCOMM 1998): the selectors of all policies are numbered; each field
//! that any of them reads has a table that maps the field's value to a *row*, the bitmap of the selectors that
//! this value satisfies. AND-ing the rows of all fields leaves the selectors that match. So the cost of an event
//! depends on the fields, not on the number of policies.
//!
//! A selector that doesn't read a field has its bit set in all rows of the field's table.

mod addresses;
mod binaries;
mod builder;
pub(crate) mod excess;
mod integers;
mod points;
mod records;
mod rows;
mod simulate;
mod steps;
mod tables;
#[cfg(test)]
mod tests;
mod texts;
mod ways;

use gatewatch_abi::{
    BitAction,
    consts::{
        ACTION_COUNT, ACTION_ERROR_SHIFT, ACTION_HARMLESS, ACTION_OVERRIDE, ACTION_RECORD,
        ACTION_SIGNAL_SHIFT, MAX_SELECTORS, SYSCALL_32_BIT, SYSCALL_NATIVE, SYSCALL_NOT, WORD_BITS,
    },
};

use self::{
    builder::{Builder, Numbered},
    rows::Rows,
};
use crate::plan::{ActionPlan, Field, HookPlan, HookPoint};

pub use builder::policy_set_rows;
pub use excess::Excess;
pub use records::RESULT;
pub use tables::Tables;

/// One policy's hook at the point.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// The number that it is counted under.
    pub id: u32,
    /// Which policy it belongs to: an index into each of `policy_sets`.
    pub policy: usize,
    /// Its compiled filters and actions.
    pub plan: &'a HookPlan,
}

/// Builds the tables of one hook point, where all of the hooks attach. `policy_sets[s]` has an entry for each policy: whether
/// it is in policy set `s`. Set 0, that of the cgroups without a policy set yet, has all policies. `params` is
/// the number of the function's parameters.
pub fn build(
    point: &HookPoint,
    hooks: &[Hook<'_>],
    policy_sets: &[Vec<bool>],
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
    builder.tables.config.only = only;
    builder.tables.config.words = u32::try_from(words).unwrap_or(u32::MAX);
    builder.tables.config.bits = u32::try_from(bits).unwrap_or(u32::MAX);
    builder.tables.config.syscall = match point.is_syscall() {
        false => SYSCALL_NOT,
        true if point.is_ia32() => SYSCALL_32_BIT,
        true => SYSCALL_NATIVE,
    };
    builder.tables.config.params = params;
    let enforces = builder.tables.actions.iter().any(|action| action.flags > ACTION_HARMLESS);
    builder.tables.config.enforces = u32::from(enforces);
    builder.policy_sets(policy_sets);
    for field in builder.fields() {
        match field {
            Field::Binary => builder.binary()?,
            Field::File(_)
            | Field::Path(_)
            | Field::Dentry(_)
            | Field::Binprm(_)
            | Field::KernelString(_)
            | Field::UserString(_)
            | Field::TracepointString(_)
            | Field::Descriptor(_)
            | Field::UnixName { .. }
            | Field::WayText { .. }
            | Field::DeviceName(_) => {
                builder.text(field)?;
            }
            field if field.is_address() => builder.address(field)?,
            _ => builder.integer(field)?,
        }
    }
    builder.tables.rows = builder.rows.into_words();
    Ok(builder.tables)
}

/// The row of a policy set for the same hooks. It replaces the one that [`build`] made when policy sets change.
pub fn policy_set_row(hooks: &[Hook<'_>], policy_set: &[bool]) -> Result<Vec<u64>, Excess> {
    let (numbered, actions) = number(hooks)?;
    let words = actions.len().div_ceil(WORD_BITS as usize).max(1);
    let mut row = vec![0; words];
    for selector in numbered {
        if policy_set.get(selector.policy).copied().unwrap_or(false) {
            row[(selector.bit / WORD_BITS) as usize] |= 1 << (selector.bit % WORD_BITS);
        }
    }
    Ok(row)
}

/// The actions of a selector, as the BPF programs have them.
fn flags(actions: ActionPlan) -> u32 {
    let mut flags = if actions.count { ACTION_COUNT } else { 0 };
    if actions.record.is_some() {
        flags |= ACTION_RECORD;
    }
    if actions.overrides {
        flags |= ACTION_OVERRIDE;
    }
    let error = u16::from_ne_bytes(actions.error.unwrap_or(0).to_ne_bytes());
    flags
        | u32::from(actions.signal.unwrap_or(0)) << ACTION_SIGNAL_SHIFT
        | u32::from(error) << ACTION_ERROR_SHIFT
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
        let first = first_bit(actions.len(), hook.plan.selectors.len());
        actions.resize(first, BitAction::default());
        let first = u32::try_from(first).map_err(|_| Excess::Selectors)?;
        let siblings = (0..count).fold(0, |mask, i| mask | 1 << (first % WORD_BITS + i));
        for (selector, bit) in hook.plan.selectors.iter().zip(first..) {
            actions.push(BitAction { siblings, hook: hook.id, flags: flags(selector.actions) });
            let tests = selector.filters.iter().map(|filter| (filter.field, &filter.test)).collect();
            numbered.push(Numbered { bit, policy: hook.policy, tests });
        }
    }
    if actions.len() > MAX_SELECTORS {
        return Err(Excess::Selectors);
    }
    Ok((numbered, actions))
}

/// The bit of a hook's first selector behind so many bits: all of a hook's are in one word.
fn first_bit(bits: usize, selectors: usize) -> usize {
    let word = WORD_BITS as usize;
    if bits % word + selectors > word { bits.next_multiple_of(word) } else { bits }
}
