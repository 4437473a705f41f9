//! Changes that are admitted and that the index does not have yet. Two requests at once would otherwise each rely on an
//! object that the other one removes.
//!
//! An admitted change may still fail, so it is never taken for a fact: a policy covers a pod only if it selects the pod
//! before and after the change, and an admitted pod counts in addition to the known one.

use std::collections::HashMap;

use gatewatch_policy::scope::{PodScope, Scope};

use crate::{
    indexed_policy::PolicyId,
    selection::Tally,
    shape::{Shape, Workload},
    templates::POD,
};

/// Changes of one object that are remembered. Of more, the oldest is dropped.
const PER_OBJECT: usize = 16;

/// Kind, namespace and name.
type WorkloadKey = (String, String, String);

/// All admitted changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admitted {
    /// The scopes that a policy will have; `None` for a policy that will be deleted.
    policies: HashMap<PolicyId, Vec<Option<Scope>>>,
    workloads: HashMap<WorkloadKey, Vec<Shape>>,
}

fn push<T: PartialEq>(changes: &mut Vec<T>, change: T) {
    if changes.len() >= PER_OBJECT {
        changes.remove(0);
    }
    changes.push(change);
}

/// Removes the changes up to the one that the index has now.
fn settle<T: PartialEq>(changes: &mut Vec<T>, now: &T) {
    if let Some(at) = changes.iter().rposition(|change| change == now) {
        changes.drain(..=at);
    }
}

impl Admitted {
    /// Remembers the scope that a policy will have; `None` for a policy that will be deleted.
    pub(crate) fn admit_policy(&mut self, id: &PolicyId, after: Option<Scope>) {
        push(self.policies.entry(id.clone()).or_default(), after);
    }

    /// Remembers a pod or template.
    pub(crate) fn admit_workload(&mut self, workload: &Workload) {
        let key = key(&workload.kind, &workload.shape.namespace, &workload.name);
        push(self.workloads.entry(key).or_default(), workload.shape.clone());
    }

    /// Forgets the changes of a policy.
    pub(crate) fn forget_policy(&mut self, id: &PolicyId) {
        self.policies.remove(id);
    }

    /// The number of objects with changes.
    pub(crate) fn count(&self) -> usize {
        self.policies.len() + self.workloads.len()
    }

    /// The index has a policy now, or none (`None`).
    pub(crate) fn policy_is(&mut self, id: &PolicyId, scope: Option<&Scope>) {
        let Some(changes) = self.policies.get_mut(id) else { return };
        match scope {
            None => changes.clear(),
            Some(scope) => settle(changes, &Some(scope.clone())),
        }
        if changes.is_empty() {
            self.policies.remove(id);
        }
    }

    /// The index has a pod or template now.
    pub(crate) fn workload_is(&mut self, workload: &Workload) {
        if self.workloads.is_empty() {
            return;
        }
        let key = key(&workload.kind, &workload.shape.namespace, &workload.name);
        let Some(changes) = self.workloads.get_mut(&key) else { return };
        settle(changes, &workload.shape);
        if changes.is_empty() {
            self.workloads.remove(&key);
        }
    }

    /// The index has no such pod or template any more.
    pub(crate) fn workload_is_gone(&mut self, kind: &str, namespace: &str, name: &str) {
        if !self.workloads.is_empty() {
            self.workloads.remove(&key(kind, namespace, name));
        }
    }

    /// Whether a policy still selects a shape after every admitted change of it.
    pub(crate) fn keeps(&self, id: &PolicyId, shape: &Shape) -> bool {
        let Some(changes) = self.policies.get(id) else { return true };
        changes.iter().all(|change| {
            let pods: Option<&PodScope> = change.as_ref().and_then(|scope| scope.pods.as_ref());
            pods.is_some_and(|scope| shape.is_selected_by(scope))
        })
    }

    /// The pods and templates that are admitted.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = (&Shape, Tally)> {
        self.workloads.iter().flat_map(|((kind, ..), shapes)| {
            let one = Tally::one(kind == POD);
            shapes.iter().map(move |shape| (shape, one))
        })
    }
}

fn key(kind: &str, namespace: &str, name: &str) -> WorkloadKey {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}
