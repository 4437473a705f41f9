//! Policies that count the same events, or share a name.

use std::cell::LazyCell;

use gatewatch_policy::{
    diagnostic::FieldPath,
    scope::{PodScope, Scope},
};

use crate::{
    index::Index,
    indexed_policy::{IndexedPolicy, PolicyId},
    label_index::IdSet,
    limits::{Hint, Limits},
    shape::Shape,
};

/// Another policy's hook that counts the same events of the same pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateHook {
    /// Field path of the hook in the queried policy.
    pub hook: FieldPath,
    /// The function or event that it attaches to.
    pub target: String,
    /// The other policies.
    pub others: Vec<PolicyId>,
}

impl Index {
    /// The hooks of a policy that another policy has too, with the same filters, for pods that both select.
    pub fn duplicate_hooks(&self, policy: &IndexedPolicy, limits: &Limits) -> Vec<DuplicateHook> {
        let mut found = Vec::new();
        // Computed at most once, because a thousand policies can have the same hook without filters. Often the
        // selectors alone decide, and it is not computed at all.
        let pods = LazyCell::new(|| self.shapes(policy));
        let shared = |other: &PodScope| {
            limits.allows(Hint::DuplicateHooks, pods.len())
                && pods.iter().any(|shape| shape.is_selected_by(other))
        };
        for hook in &policy.hooks {
            let others = self.policies.by_hook.get(&hook.fingerprint).map_or(0, IdSet::len);
            if !limits.allows(Hint::DuplicateHooks, others) {
                break;
            }
            let same = self.policies.by_hook.get(&hook.fingerprint).into_iter().flatten();
            let others: Vec<PolicyId> = same
                .filter_map(|slot| self.policies.get(*slot))
                .filter(|other| other.id != policy.id && overlap(&policy.scope, &other.scope, shared))
                .map(|other| other.id.clone())
                .collect();
            if !others.is_empty() {
                found.push(DuplicateHook { hook: hook.path.clone(), target: hook.target.clone(), others });
            }
        }
        found
    }

    /// The shapes of the pods that a policy selects.
    fn shapes(&self, policy: &IndexedPolicy) -> Vec<&Shape> {
        let scope = policy.scope.pods.iter();
        scope.flat_map(|scope| self.workloads.selected(scope)).map(|group| &*group.shape).collect()
    }

    /// Other policies of the same name, of another namespace or of the cluster.
    pub fn namesakes(&self, id: &PolicyId) -> Vec<&PolicyId> {
        let same = self.policies.by_name.get(&id.name).into_iter().flatten();
        same.filter_map(|slot| self.policies.get(*slot))
            .map(|policy| &policy.id)
            .filter(|o| *o != id)
            .collect()
    }
}

/// Whether both policies select some processes. That is so if one scope includes the other, or if `shared` finds a known
/// pod of the one that the other selects.
fn overlap(one: &Scope, other: &Scope, shared: impl FnOnce(&PodScope) -> bool) -> bool {
    if one.host && other.host {
        return true;
    }
    let (Some(one), Some(other)) = (&one.pods, &other.pods) else { return false };
    let namespaces = match (&one.namespace, &other.namespace) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    if !namespaces {
        return false;
    }
    let all = |scope: &PodScope| scope.pods.is_none() && scope.containers.is_none();
    if all(one) || all(other) || (&one.pods, &one.containers) == (&other.pods, &other.containers) {
        return true;
    }
    shared(other)
}
