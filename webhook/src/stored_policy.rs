//! A policy as the API server stores it.

use gatewatch_coverage::PolicyId;
use gatewatch_policy::{
    assess::Checked,
    diagnostic::Diagnostic,
    model::Policy,
    source::{self, Document},
};
use serde_json::Value;

/// A policy that the API server stores.
#[derive(Clone, Debug)]
pub struct StoredPolicy {
    /// Its namespace and name.
    pub id: PolicyId,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The policy, with the findings that need no kernel.
    pub checked: Checked,
}

impl StoredPolicy {
    /// Reads an object of the API server. `None` if it cannot be read as a policy.
    pub fn read(object: &Value) -> Option<Self> {
        Self::check(&Document::from_json(object)).ok()
    }

    /// Reads and checks an object. The error is the diagnostics of an object that cannot be read as a policy.
    pub fn check(object: &Document) -> Result<Self, Vec<Diagnostic>> {
        let checked = Checked::of(object)?;
        let metadata = |name| object.root.get("metadata")?.get(name);
        Ok(Self {
            id: PolicyId::of(&checked.policy, "default"),
            uid: metadata("uid").and_then(source::Node::as_str).unwrap_or_default().to_owned(),
            generation: match metadata("generation").map(|node| &node.value) {
                Some(source::Value::Int(n)) => i64::try_from(*n).ok(),
                _ => None,
            },
            deleting: metadata("deletionTimestamp").and_then(source::Node::as_str).is_some(),
            checked,
        })
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.checked.policy
    }
}
