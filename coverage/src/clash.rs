//! Policies that count the same events, or share a name.

use std::cell::LazyCell;

use gatewatch_policy::diagnostic::FieldPath;
use gatewatch_policy::scope::{PodScope, Scope};

use crate::index::Index;
use crate::shape::Shape;
use crate::watch::{PolicyId, Watch};

/// Another policy's hook that counts the same events of the same pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Where the hook stands in the policy that was asked about.
    pub hook: FieldPath,
    /// What it attaches to.
    pub target: String,
    /// The other policies.
    pub others: Vec<PolicyId>,
}

impl Index {
    /// Hooks of a policy that another one has, too, with the same filters, for pods that both select.
    pub fn clashes(&self, watch: &Watch) -> Vec<Clash> {
        let mut found = Vec::new();
        // Found out once, since a hook without filters may be that of a thousand policies, and not at all where the
        // policies' selectors already tell.
        let pods = LazyCell::new(|| self.shapes(watch));
        let shared = |other: &PodScope| pods.iter().any(|shape| shape.is_selected_by(other));
        for hook in &watch.hooks {
            let same = self.policies.by_hook.get(&hook.fingerprint).into_iter().flatten();
            let others: Vec<PolicyId> = same
                .filter_map(|slot| self.policies.get(*slot))
                .filter(|other| other.id != watch.id && overlap(&watch.scope, &other.scope, shared))
                .map(|other| other.id.clone())
                .collect();
            if !others.is_empty() {
                found.push(Clash { hook: hook.path.clone(), target: hook.target.clone(), others });
            }
        }
        found
    }

    /// What the pods look like that a policy selects.
    fn shapes(&self, watch: &Watch) -> Vec<&Shape> {
        let scope = watch.scope.pods.iter();
        scope.flat_map(|scope| self.classes.selected(scope)).map(|class| &*class.shape).collect()
    }

    /// Other policies of the same name, of another namespace or of the cluster.
    pub fn namesakes(&self, id: &PolicyId) -> Vec<&PolicyId> {
        let same = self.policies.by_name.get(&id.name).into_iter().flatten();
        same.filter_map(|slot| self.policies.get(*slot)).map(|watch| &watch.id).filter(|o| *o != id).collect()
    }
}

/// Whether two policies watch some processes both: known pods (`shared` tells whether the other one selects some of
/// the one's), or anything because one is part of the other.
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
