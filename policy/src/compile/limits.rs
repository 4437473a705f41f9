//! The limits of one hook point that a single policy can exceed. Policies that fit alone may still be too many together:
//! the agent reports that.

use std::collections::{BTreeMap, BTreeSet};

use gatewatch_abi::consts::{ADDR_SLOTS, FOLLOW_SLOTS, INT_SLOTS, TEXT_SLOTS, WORD_BITS};

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::Diagnostic,
    match_tables::Excess,
    plan::{Field, HookPlan, HookPoint, Test, TextOp},
};

impl Compiler<'_> {
    /// Reports each hook with too many selectors, and each hook point with filters on too many fields.
    pub(super) fn check_limits(&mut self, hooks: &[HookPlan]) {
        let mut points = BTreeMap::<&HookPoint, Vec<&HookPlan>>::new();
        for hook in hooks {
            let most = WORD_BITS as usize;
            if hook.selectors.len() > most {
                self.report(
                    Diagnostic::new(
                        &codes::TOO_MANY_SELECTORS,
                        hook.origin.field("selectors"),
                        format!(
                            "{} selectors; a hook supports at most {most}, so the policy is not loaded",
                            hook.selectors.len()
                        ),
                    )
                    .at_key()
                    .help("put several values into one filter, or split the policy"),
                );
                continue;
            }
            points.entry(&hook.point).or_default().push(hook);
        }
        for (point, hooks) in points {
            if let (Some(excess), Some(last)) = (excess(&hooks), hooks.last()) {
                let symbol = point.symbol().unwrap_or_default();
                self.report(
                    Diagnostic::new(
                        &codes::TOO_MANY_FIELDS,
                        last.origin.field("selectors"),
                        format!("{excess} (`{symbol}`), so this policy is not loaded"),
                    )
                    .at_key()
                    .help("filter on fewer arguments, or hook another function for some of them"),
                );
            }
        }
    }
}

fn excess(hooks: &[&HookPlan]) -> Option<Excess> {
    let mut fields = BTreeSet::new();
    let mut followed: Vec<&Vec<Vec<u8>>> = Vec::new();
    for filter in hooks.iter().flat_map(|hook| &hook.selectors).flat_map(|selector| &selector.filters) {
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
