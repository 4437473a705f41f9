//! Workloads of one application that differ in the labels that policies select.

use crate::{
    index::Index,
    indexed_policy::PolicyId,
    limits::{Hint, Limits},
    shape::Workload,
};

/// A workload of the same application that a policy selects by a label that this one's pods lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatedWorkload {
    /// Kind and name.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The label.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The policies that select the related workload by it.
    pub gained: Vec<PolicyId>,
}

impl Index {
    /// The other workloads of the same application that policies select by a label whose key this one's pods lack. A
    /// different value is intended.
    pub fn related_workloads(&self, workload: &Workload, limits: &Limits) -> Vec<RelatedWorkload> {
        let mut related: Vec<RelatedWorkload> = Vec::new();
        let shape = &workload.shape;
        if workload.is_pod() {
            return related;
        }
        for members in self.applications.of(workload) {
            for (kind, name) in members {
                if (kind, name) == (&workload.kind, &workload.name) {
                    continue;
                }
                if !limits.allows(Hint::RelatedWorkloads, 1) {
                    return related;
                }
                let Some(other) = self.shape_of(kind, &shape.namespace, name) else { continue };
                for (key, value) in &other.labels {
                    if !limits.allows(Hint::RelatedWorkloads, 1) {
                        return related;
                    }
                    if shape.labels.contains_key(key) || related.iter().any(|other| other.key == *key) {
                        continue;
                    }
                    if !limits.allows(Hint::RelatedWorkloads, 1 + self.policies.requiring(key, value)) {
                        return related;
                    }
                    let gained = self.policies_gained(shape, key, value);
                    if !gained.is_empty() {
                        related.push(RelatedWorkload {
                            kind: kind.clone(),
                            name: name.clone(),
                            key: key.clone(),
                            value: value.clone(),
                            gained,
                        });
                    }
                }
            }
        }
        related
    }
}
