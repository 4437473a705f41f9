//! The limits of one hook, and of one hook point that a single policy can exceed. Policies that fit alone may still be too
//! many together: the gate and the agent report that.

use std::collections::BTreeMap;

use gatewatch_abi::consts::WORD_BITS;

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::Diagnostic,
    lanes::{self, Candidate},
    match_tables::Excess,
    plan::{HookPlan, HookPoint},
};

impl Compiler<'_> {
    /// Reports each hook with too many selectors or fields, and each point with too many hooks.
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
            } else if let Err(excess) = lanes::fits_alone(hook) {
                self.too_many_fields(
                    hook,
                    excess,
                    "filter on fewer arguments, or divide the selectors between two hooks",
                );
            } else {
                points.entry(&hook.point).or_default().push(hook);
            }
        }
        for hooks in points.values().filter(|hooks| hooks.len() > 1) {
            let candidates: Vec<Candidate<'_>> = hooks.iter().map(|hook| Candidate::new(hook)).collect();
            if let Err(unplaced) = lanes::place(&candidates) {
                self.too_many_fields(
                    hooks[unplaced.index],
                    unplaced.excess,
                    "filter on fewer arguments, or hook another function for some of them",
                );
            }
        }
    }

    fn too_many_fields(&mut self, hook: &HookPlan, excess: Excess, help: &str) {
        let symbol = hook.point.name();
        self.report(
            Diagnostic::new(
                &codes::TOO_MANY_FIELDS,
                hook.origin.field("selectors"),
                format!("{excess} (`{symbol}`), so this policy is not loaded"),
            )
            .at_key()
            .help(help),
        );
    }
}
