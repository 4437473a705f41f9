//! Actions that this agent does not perform yet: the policy runs as a monitor, and says so.

use std::collections::BTreeSet;

use super::{RUN, compiler::Compiler};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    model::Policy,
};

impl Compiler<'_> {
    /// Reports, once for a policy, that its actions are not performed. A policy that asks for a monitor has what it wants.
    pub(super) fn monitored(&mut self, policy: &Policy, root: &FieldPath) {
        if policy.monitors() {
            return;
        }
        let mut first = None;
        let mut kinds = BTreeSet::new();
        for section in RUN {
            for (i, hook) in section.hooks(&policy.spec).iter().enumerate() {
                for (k, selector) in hook.selectors.iter().enumerate() {
                    for (field, n, action) in selector.actions() {
                        let Some(kind) = action.kind.filter(|kind| kind.is_monitored()) else { continue };
                        kinds.insert(kind.name());
                        first.get_or_insert_with(|| {
                            let hook = root.field(section.name()).index(i);
                            hook.field("selectors").index(k).field(field).index(n).field("action")
                        });
                    }
                }
            }
        }
        let Some(path) = first else { return };
        let names: Vec<String> = kinds.into_iter().map(|name| format!("`{name}`")).collect();
        let (names, verb) = (names.join(", "), if names.len() == 1 { "is" } else { "are" });
        self.report(
            Diagnostic::new(
                &codes::NOT_PERFORMED,
                path,
                format!(
                    "{names} {verb} not performed: this agent runs the policy in monitor mode, so no process is stopped and each \
                     match is counted"
                ),
            )
            .help("write the option `policy-mode: monitor` if the policy is only to count"),
        );
    }
}
