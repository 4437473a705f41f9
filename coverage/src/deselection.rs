//! Pods that a change leaves no longer selected.

use crate::{
    index::Index,
    indexed_policy::{IndexedPolicy, PolicyId},
    selection::Selection,
    shape::Shape,
};

/// The pods that a policy no longer selects after it is changed or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deselection {
    /// All pods and workloads that it no longer selects.
    pub deselected: Selection,
    /// Those that no other policy covers.
    pub uncovered: Selection,
    /// Those of `uncovered` in a namespace that requires coverage.
    pub required: Selection,
}

impl Index {
    /// The pods that the `old` policy selects and the `new` one does not. `None` is a deleted policy.
    pub fn deselection(&self, old: &IndexedPolicy, new: Option<&IndexedPolicy>) -> Deselection {
        let mut deselection = Deselection::default();
        let Some(scope) = &old.scope.pods else { return deselection };
        let after = new.and_then(|policy| policy.scope.pods.as_ref());
        if after == Some(scope) {
            return deselection;
        }
        let same: Vec<&PolicyId> = std::iter::once(&old.id).chain(new.iter().map(|new| &new.id)).collect();
        let known = self.workloads.selected(scope).map(|group| (&*group.shape, group.tally));
        let admitted = self.admitted.workloads().filter(|(shape, _)| shape.is_selected_by(scope));
        for (shape, tally) in known.chain(admitted) {
            if after.is_some_and(|scope| shape.is_selected_by(scope)) {
                continue;
            }
            let namespace = &shape.namespace;
            deselection.deselected.add(namespace, tally);
            if !self.is_covered(shape, &same) {
                deselection.uncovered.add(namespace, tally);
                if self.requires_coverage(namespace) {
                    deselection.required.add(namespace, tally);
                }
            }
        }
        deselection
    }

    /// The policies that select a pod or template with its `old` labels and not with its `new` ones.
    pub fn deselecting_policies(&self, old: &Shape, new: &Shape) -> Vec<&PolicyId> {
        let after = self.policies.selecting_policies(new);
        self.policies.selecting_policies(old).into_iter().filter(|id| !after.contains(id)).collect()
    }
}
