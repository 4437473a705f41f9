//! Whether what one policy looks at fits on a kernel function. (Policies that fit by themselves may still be too many
//! together: the agent says that.)

use std::collections::{BTreeMap, BTreeSet};

use gatewatch_abi::consts::{ADDR_SLOTS, FOLLOW_SLOTS, INT_SLOTS, TEXT_SLOTS, WORD_BITS};

use super::Compiler;
use crate::{
    classify::Excess,
    codes,
    diagnostic::{Diagnostic, FieldPath},
    plan::{Field, HookPlan, Test, TextOp},
};

impl Compiler<'_> {
    /// Says of each hook with too many selectors, and of each function of which too much is looked at.
    pub(super) fn room(&mut self, hooks: &[(usize, HookPlan)], path: &FieldPath) {
        let mut functions = BTreeMap::<&str, Vec<&(usize, HookPlan)>>::new();
        for hook in hooks {
            let most = WORD_BITS as usize;
            if hook.1.selectors.len() > most {
                self.report(
                    Diagnostic::new(
                        &codes::TOO_MANY_SELECTORS,
                        path.index(hook.0).field("selectors"),
                        format!(
                            "{} selectors; a hook supports at most {most}, so the policy is not loaded",
                            hook.1.selectors.len()
                        ),
                    )
                    .at_key()
                    .help("put several values into one filter, or split the policy"),
                );
                continue;
            }
            functions.entry(&hook.1.symbol).or_default().push(hook);
        }
        for (symbol, hooks) in functions {
            if let Some(excess) = excess(&hooks) {
                let at = hooks.last().map_or(0, |(i, _)| *i);
                self.report(
                    Diagnostic::new(
                        &codes::TOO_MANY_FIELDS,
                        path.index(at).field("selectors"),
                        format!("{excess} (`{symbol}`), so this policy is not loaded"),
                    )
                    .at_key()
                    .help("filter on fewer arguments, or hook another function for some of them"),
                );
            }
        }
    }
}

fn excess(hooks: &[&(usize, HookPlan)]) -> Option<Excess> {
    let mut fields = BTreeSet::new();
    let mut followed: Vec<&Vec<Vec<u8>>> = Vec::new();
    for filter in hooks.iter().flat_map(|(_, hook)| &hook.selectors).flat_map(|selector| &selector.filters) {
        match &filter.test {
            Test::Text { follow_children: true, values, .. } => {
                if followed.len() <= FOLLOW_SLOTS && !followed.contains(&values) {
                    followed.push(values);
                }
            }
            // Whole paths of programs are looked up by their ids, without a slot.
            Test::Text { op: TextOp::Equal, .. } if filter.field == Field::Binary => {}
            _ => drop(fields.insert(filter.field)),
        }
    }
    let (mut integers, mut texts, mut addresses) = (0, 0, 0);
    for field in fields {
        match field {
            Field::Binary
            | Field::File(_)
            | Field::Path(_)
            | Field::Binprm(_)
            | Field::KernelString(_)
            | Field::UserString(_) => texts += 1,
            Field::SourceAddress(_) | Field::DestinationAddress(_) => addresses += 1,
            _ => integers += 1,
        }
    }
    if integers > INT_SLOTS {
        Some(Excess::Integers)
    } else if texts > TEXT_SLOTS {
        Some(Excess::Texts)
    } else if addresses > ADDR_SLOTS {
        Some(Excess::Addresses)
    } else if followed.len() > FOLLOW_SLOTS {
        Some(Excess::FollowSets)
    } else {
        None
    }
}
