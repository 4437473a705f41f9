//! Labels that are on a workload but not on its pods.

use crate::{
    index::Index,
    indexed_policy::PolicyId,
    limits::{Hint, Limits},
    shape::Workload,
};

/// A label that a workload has itself (or in its own selector), and its pods do not. Policies match pods alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisplacedLabel {
    /// The label.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether it is in the workload's own selector, not in its labels.
    pub in_selector: bool,
    /// The policies that would select the pods with it, and do not now.
    pub gained: Vec<PolicyId>,
}

impl Index {
    /// The labels of a workload itself that its pods lack and that policies select by.
    pub fn misplaced_labels(&self, workload: &Workload, limits: &Limits) -> Vec<MisplacedLabel> {
        if workload.is_pod() {
            return Vec::new();
        }
        let mut misplaced: Vec<MisplacedLabel> = Vec::new();
        for (labels, in_selector) in [(&workload.own_labels, false), (&workload.selector, true)] {
            for (key, value) in labels {
                if !limits.allows(Hint::MisplacedLabels, 1 + self.policies.requiring(key, value)) {
                    return misplaced;
                }
                let gained = self.policies_gained(&workload.shape, key, value);
                if !gained.is_empty() && !misplaced.iter().any(|label| label.key == *key) {
                    misplaced.push(MisplacedLabel {
                        key: key.clone(),
                        value: value.clone(),
                        in_selector,
                        gained,
                    });
                }
            }
        }
        misplaced
    }
}
