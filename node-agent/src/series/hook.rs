//! What the numbers that the kernel counts under stand for.

use std::sync::Arc;

use gatewatch_policy::plan::{HookPoint, Scope};
use serde::{Deserialize, Serialize};

/// Something of a policy: a point or a label that it has hooks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InPolicy<T> {
    /// The policy's namespace, for a namespaced one.
    pub namespace: Option<String>,
    /// The policy's name.
    pub policy: String,
    /// What it is.
    pub at: T,
}

/// What a policy hook of the kernel stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The policy's namespace, for a namespaced one.
    pub namespace: Option<Arc<str>>,
    /// Where it attaches.
    pub point: Arc<HookPoint>,
    /// Whom the policy watches.
    pub scope: Arc<Scope>,
}

impl Hook {
    /// The values of the labels `policy` and `hook`.
    pub fn labels(&self) -> (Arc<str>, Arc<str>) {
        (self.policy.clone(), self.point.label().into())
    }

    /// Its point, for this policy.
    pub fn of_point(&self) -> InPolicy<HookPoint> {
        self.of((*self.point).clone())
    }

    /// Its label, for this policy.
    pub fn of_label(&self) -> InPolicy<String> {
        self.of(self.point.label())
    }

    fn of<T>(&self, at: T) -> InPolicy<T> {
        InPolicy {
            namespace: self.namespace.as_deref().map(str::to_owned),
            policy: self.policy.to_string(),
            at,
        }
    }
}
