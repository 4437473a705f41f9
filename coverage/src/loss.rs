//! Pods that a change leaves no longer selected.

use crate::index::Index;
use crate::select::Selection;
use crate::shape::Shape;
use crate::watch::{PolicyId, Watch};

/// What loses a policy that is changed or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// What it selected and doesn't any more.
    pub lost: Selection,
    /// What of that no other policy selects.
    pub unwatched: Selection,
    /// What of that is in a namespace that requires coverage.
    pub required: Selection,
}

impl Index {
    /// What a policy selects as it was and no longer does as it will be; all, where it is deleted (`None`).
    pub fn loss(&self, was: &Watch, becomes: Option<&Watch>) -> Loss {
        let mut loss = Loss::default();
        let Some(scope) = &was.scope.pods else { return loss };
        let after = becomes.and_then(|watch| watch.scope.pods.as_ref());
        if after == Some(scope) {
            return loss;
        }
        for class in self.classes.selected(scope) {
            if after.is_some_and(|scope| class.shape.is_selected_by(scope)) {
                continue;
            }
            let namespace = &class.shape.namespace;
            loss.lost.add(namespace, class.tally);
            let same = |id: &&&PolicyId| **id == &was.id || becomes.is_some_and(|b| **id == &b.id);
            let others = self.policies.selecting(&class.shape);
            if others.iter().all(|id| same(&id)) {
                loss.unwatched.add(namespace, class.tally);
                if self.requires_coverage(namespace) {
                    loss.required.add(namespace, class.tally);
                }
            }
        }
        loss
    }

    /// The policies that select a pod or template as it was and no longer do as it will be.
    pub fn left_by_relabel(&self, was: &Shape, becomes: &Shape) -> Vec<&PolicyId> {
        let after = self.policies.selecting(becomes);
        self.policies.selecting(was).into_iter().filter(|id| !after.contains(id)).collect()
    }
}
