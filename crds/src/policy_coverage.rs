//! The pods that a policy selects, and the nodes that run it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node_tracing::{MAX_REASON, shorten};

/// Maximum number of entries in each list of a [`PolicyCoverage`]. The numbers next to the lists include all entries,
/// so that truncation hides nothing.
pub const MAX_LISTED: u32 = 20;

/// The policy that the coverage describes.
#[derive(Clone, CustomResource, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "gatewatch.dev",
    version = "v1alpha1",
    kind = "PolicyCoverage",
    plural = "policycoverages",
    singular = "policycoverage",
    shortname = "gwcov",
    category = "gatewatch",
    status = "PolicyCoverageStatus",
    doc = "The pods that a policy selects, the nodes that run it, and its diagnostics. Written by Gatewatch.",
    derive = "PartialEq",
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.loaded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.nodes.failed"),
    printcolumn(name = "Unknown", type_ = "integer", json_path = ".status.nodes.unknown"),
    printcolumn(
        name = "Covered",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Covered')].status"
    ),
    printcolumn(name = "Warnings", type_ = "integer", json_path = ".status.warnings"),
    printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.workloads", priority = 1),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.nodes.pending", priority = 1),
    printcolumn(name = "Skipped", type_ = "integer", json_path = ".status.nodes.skipped", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
#[serde(rename_all = "camelCase")]
pub struct PolicyCoverageSpec {
    /// Kind of the policy.
    pub kind: PolicyKind,

    /// Name of the policy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Namespace of the policy. Absent for a cluster-wide policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// The kinds of policies.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum PolicyKind {
    /// A cluster-wide policy.
    TracingPolicy,
    /// A policy of one namespace.
    TracingPolicyNamespaced,
}

/// The name of the policy's coverage is longer than Kubernetes allows.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "cannot record the coverage of policy {policy}: its object name would have {length} characters, but Kubernetes \
     allows {MAX_OBJECT_NAME}; use a shorter policy name"
)]
pub struct NameTooLong {
    /// The policy, as namespace/name or name.
    pub policy: String,
    /// Length of the name that does not fit.
    pub length: usize,
}

/// Characters in the name of an object (apimachinery `validation.DNS1123SubdomainMaxLength`).
const MAX_OBJECT_NAME: usize = 253;
const OF_NAMESPACE: &str = ".namespaced";
const OF_CLUSTER: &str = ".cluster";

impl PolicyCoverageSpec {
    /// A reference to a cluster-wide policy.
    pub fn of_cluster(name: impl Into<String>) -> Self {
        Self { kind: PolicyKind::TracingPolicy, name: name.into(), namespace: None }
    }

    /// A reference to a policy of one namespace.
    pub fn of_namespace(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind: PolicyKind::TracingPolicyNamespaced,
            name: name.into(),
            namespace: Some(namespace.into()),
        }
    }

    /// Returns the name of the policy's [`PolicyCoverage`]: the policy's own name for a cluster-wide policy, and
    /// `NAMESPACE.NAME.namespaced` for a policy of a namespace.
    ///
    /// No two policies share a name. A namespace has no dot in its name. A cluster-wide policy whose name ends in
    /// `.namespaced` or `.cluster` gets the suffix `.cluster`.
    pub fn object_name(&self) -> Result<String, NameTooLong> {
        let name = match &self.namespace {
            Some(namespace) => format!("{namespace}.{}{OF_NAMESPACE}", self.name),
            None if self.name.ends_with(OF_NAMESPACE) || self.name.ends_with(OF_CLUSTER) => {
                format!("{}{OF_CLUSTER}", self.name)
            }
            None => self.name.clone(),
        };
        if name.len() <= MAX_OBJECT_NAME {
            return Ok(name);
        }
        let policy = match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        };
        Err(NameTooLong { policy, length: name.len() })
    }
}

/// The policy's current coverage.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyCoverageStatus {
    /// Conditions of the policy, for example Covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,

    /// Diagnostics of the policy, the most severe first. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LISTED), extend("x-kubernetes-list-type" = "atomic"))]
    pub diagnostics: Vec<CoverageDiagnostic>,

    /// Nodes that should run the policy, but do not. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LISTED), extend("x-kubernetes-list-type" = "atomic"))]
    pub failed_nodes: Vec<FailedNode>,

    /// Number of pods by namespace, the largest first. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LISTED), extend("x-kubernetes-list-type" = "atomic"))]
    pub namespaces: Vec<NamespaceCoverage>,

    /// Number of nodes by the policy's state.
    #[serde(default)]
    pub nodes: NodeCounts,

    /// The metadata.generation of the policy that the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Nodes that should run the policy, and for which no current report exists. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_LISTED), extend("x-kubernetes-list-type" = "atomic"))]
    pub unconfirmed_nodes: Vec<UnconfirmedNode>,

    /// Number of pods that the policy selects.
    #[serde(default)]
    pub pods: u32,

    /// Number of errors and warnings about the policy.
    #[serde(default)]
    pub warnings: u32,

    /// Number of workloads whose pod template the policy selects.
    #[serde(default)]
    pub workloads: u32,
}

impl PolicyCoverageStatus {
    /// Truncates the lists to [`MAX_LISTED`] entries and the texts to the schema's limits. Sort the lists by importance
    /// before. The numbers do not change.
    pub fn bound(&mut self) {
        let listed = MAX_LISTED as usize;
        self.diagnostics.truncate(listed);
        self.failed_nodes.truncate(listed);
        self.namespaces.truncate(listed);
        self.unconfirmed_nodes.truncate(listed);
        for diagnostic in &mut self.diagnostics {
            diagnostic.message = shorten(std::mem::take(&mut diagnostic.message), MAX_REASON);
            diagnostic.path = diagnostic.path.take().map(|path| shorten(path, MAX_REASON));
        }
        for node in &mut self.failed_nodes {
            node.reason = shorten(std::mem::take(&mut node.reason), MAX_REASON);
        }
        for node in &mut self.unconfirmed_nodes {
            node.reason = shorten(std::mem::take(&mut node.reason), MAX_REASON);
        }
    }
}

/// Number of nodes by the policy's state.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes that should run the policy, but run it in part or not at all.
    #[serde(default)]
    pub failed: u32,

    /// Nodes that run this generation of the policy in full, as a live agent reports for the node's current boot.
    #[serde(default)]
    pub loaded: u32,

    /// Nodes with a live agent that has not reported the state of this generation yet.
    #[serde(default)]
    pub pending: u32,

    /// Nodes that the policy does not select.
    #[serde(default)]
    pub skipped: u32,

    /// Nodes that should run the policy, and have no live agent.
    #[serde(default)]
    pub unknown: u32,
}

/// One diagnostic of a policy.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageDiagnostic {
    /// Code of the diagnostic, for example GW106.
    #[schemars(regex(pattern = "^GW[0-9]{3}$"))]
    pub code: String,

    /// The problem and its effect.
    #[schemars(length(max = MAX_REASON))]
    pub message: String,

    /// Path of the field in the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_REASON))]
    pub path: Option<String>,

    /// Severity of the diagnostic.
    pub severity: CoverageSeverity,
}

/// The severities of diagnostics.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CoverageSeverity {
    /// The policy does not work as written.
    Error,
    /// The policy probably does not work as intended.
    Warning,
    /// Information.
    Note,
}

/// A node that should run a policy, but does not.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedNode {
    /// Name of the node.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Reason, in one sentence.
    #[schemars(length(max = MAX_REASON))]
    pub reason: String,
}

/// A node that should run a policy, and for which no current report exists.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnconfirmedNode {
    /// Name of the node.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Reason, in one sentence.
    #[schemars(length(max = MAX_REASON))]
    pub reason: String,

    /// Whether a report is expected soon.
    pub state: UnconfirmedState,
}

/// Whether a report is expected soon.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum UnconfirmedState {
    /// A live agent has not reported yet.
    Pending,
    /// No live agent runs on the node.
    Unknown,
}

/// The pods of one namespace that a policy selects.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCoverage {
    /// Name of the namespace.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Number of pods.
    pub pods: u32,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn no_two_policies_share_a_name() {
        let names =
            ["a", "b", "a.b", "b.a", "a.namespaced", "a.b.namespaced", "a.b.namespaced.cluster", "a.cluster"];
        let cluster = names.iter().map(|name| PolicyCoverageSpec::of_cluster(*name));
        let namespaced = ["a", "b", "cluster", "namespaced"]
            .iter()
            .flat_map(|ns| names.iter().map(|name| PolicyCoverageSpec::of_namespace(*ns, *name)));
        let mut seen = BTreeMap::new();
        for policy in cluster.chain(namespaced) {
            if let Some(other) = seen.insert(policy.object_name().unwrap(), policy.clone()) {
                panic!("{policy:?} and {other:?} are both {:?}", policy.object_name());
            }
        }
        assert_eq!(PolicyCoverageSpec::of_cluster("sudo").object_name().unwrap(), "sudo");
        assert_eq!(PolicyCoverageSpec::of_namespace("test", "a").object_name().unwrap(), "test.a.namespaced");
    }

    #[test]
    fn a_name_that_does_not_fit_is_an_error() {
        let policy = PolicyCoverageSpec::of_namespace("test", "x".repeat(253));
        let error = policy.object_name().unwrap_err();
        assert_eq!(error.length, 253 + "test..namespaced".len());
        assert!(error.to_string().contains("test/xxx"), "{error}");
        assert!(PolicyCoverageSpec::of_cluster("x".repeat(253)).object_name().is_ok());
    }

    #[test]
    fn lists_and_texts_are_bounded() {
        let node = FailedNode { name: "n".into(), reason: "x".repeat(1000) };
        let mut status =
            PolicyCoverageStatus { failed_nodes: vec![node; 50], ..PolicyCoverageStatus::default() };
        status.nodes.failed = 50;
        status.bound();
        assert_eq!((status.failed_nodes.len(), status.nodes.failed), (MAX_LISTED as usize, 50));
        assert_eq!(status.failed_nodes[0].reason.chars().count(), MAX_REASON as usize);
    }
}
