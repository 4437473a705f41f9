//! The hooks of a policy.

use gatewatch_policy::{
    diagnostic::FieldPath,
    model::{Hook, Policy, Section},
};

/// All hooks in the order of the sections.
pub(super) fn hooks(policy: &Policy) -> impl Iterator<Item = &Hook> {
    hooks_with_origins(policy).map(|(_, hook)| hook)
}

/// All hooks in the order of the sections, each with its field path in the policy.
pub(super) fn hooks_with_origins(policy: &Policy) -> impl Iterator<Item = (FieldPath, &Hook)> {
    Section::ALL.iter().flat_map(|section| {
        let list = FieldPath::root().field("spec").field(section.name());
        section.hooks(&policy.spec).iter().enumerate().map(move |(i, hook)| (list.index(i), hook))
    })
}
