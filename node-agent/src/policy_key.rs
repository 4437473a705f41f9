//! The name of a policy on the node.

use std::{fmt, sync::Arc};

use gatewatch_policy::plan::{HookPoint, Scope};
use serde::{Deserialize, Serialize};

use crate::series::{Hook, InPolicy};

/// Names a policy: its namespace, if it is a namespaced one, and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyKey {
    /// For `TracingPolicyNamespaced`.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl PolicyKey {
    /// Something of this policy.
    pub(crate) fn at<T>(&self, at: T) -> InPolicy<T> {
        InPolicy { namespace: self.namespace.clone(), policy: self.name.clone(), at }
    }

    /// A hook of this policy, as series see it.
    pub(crate) fn hook(&self, point: Arc<HookPoint>, scope: Arc<Scope>) -> Hook {
        Hook {
            policy: self.name.as_str().into(),
            namespace: self.namespace.as_deref().map(Into::into),
            point,
            scope,
        }
    }
}
