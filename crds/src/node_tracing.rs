//! The features of one node, and the policies that run there.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of characters in a reason. A reason is one sentence; the API server rejects a longer one.
pub const MAX_REASON: u32 = 512;

/// Maximum number of policies in one [`NodeTracing`]. With reasons of usual length this is less than half of etcd's
/// limit of 1.5 MiB per object.
pub const MAX_POLICIES: u32 = 4000;

/// Maximum number of features in one [`NodeTracing`].
pub const MAX_FEATURES: u32 = 64;

/// The node's kernel and its features. Changes when the node boots another kernel or the agent is upgraded.
#[derive(Clone, CustomResource, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "gatewatch.dev",
    version = "v1alpha1",
    kind = "NodeTracing",
    plural = "nodetracings",
    shortname = "gwnode",
    category = "gatewatch",
    status = "NodeTracingStatus",
    doc = "One node's features and policies. Has the name of its node, and is written by the node's agent.",
    derive = "PartialEq",
    printcolumn(name = "Kernel", type_ = "string", json_path = ".spec.kernel.release"),
    printcolumn(name = "Arch", type_ = "string", json_path = ".spec.kernel.arch"),
    printcolumn(name = "Loaded", type_ = "integer", json_path = ".status.loaded"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Policies", type_ = "string", json_path = ".status.policySetHash", priority = 1),
    printcolumn(name = "Agent", type_ = "string", json_path = ".spec.agentVersion", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct NodeTracingSpec {
    /// Version of the agent.
    #[schemars(length(max = 64))]
    pub agent_version: String,

    /// Features that the kernel has or lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_FEATURES),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub features: Vec<Feature>,

    /// The running kernel.
    pub kernel: Kernel,

    /// The kernel's profile, which policies are compiled against.
    pub profile: Profile,
}

/// A kernel.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    /// Architecture in the kernel's notation: `x86_64`, `aarch64`.
    #[schemars(length(max = 16))]
    pub arch: String,

    /// Release, as uname -r prints it.
    #[schemars(length(max = 64))]
    pub release: String,
}

/// The hash of a kernel's profile, and the URL that serves it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// URL at which the agent serves the profile. Absent if it serves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub endpoint: Option<String>,

    /// Hash of the profile. Nodes with the same hash accept the same policies.
    #[schemars(length(min = 1, max = 128))]
    pub hash: String,
}

/// A feature that a kernel has or lacks.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// Name of the feature: kprobes, fentry, fprobe, lsm, overrides.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,

    /// Whether the kernel has it.
    pub support: Support,

    /// Reason why the kernel lacks the feature, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_REASON))]
    pub reason: Option<String>,
}

/// Whether a kernel has a feature.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Support {
    /// The kernel has the feature.
    Yes,
    /// The kernel lacks the feature.
    No,
    /// The agent could not find out.
    Unknown,
}

/// The policies that run on the node. Written only when it changes, not as a heartbeat.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeTracingStatus {
    /// Number of policies that count in full.
    #[serde(default)]
    pub loaded: u32,

    /// Number of policies that should count, but count in part or not at all.
    #[serde(default)]
    pub failed: u32,

    /// Hash of the agent's policies in every state. Nodes with different hashes run different policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub policy_set_hash: Option<String>,

    /// UID of the agent's pod that wrote this status. Absent if the agent does not run in a pod.
    #[serde(default, rename = "agentPodUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub agent_pod_uid: Option<String>,

    /// The boot of the node that this status is about, as in the node's status.nodeInfo.bootID. Programs in the kernel
    /// do not survive a boot.
    #[serde(default, rename = "bootID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub boot_id: Option<String>,

    /// Reason why no policy can run on this node, in one sentence. Absent if policies can run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_REASON))]
    pub message: Option<String>,

    /// The state of each policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_POLICIES),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"])
    )]
    pub policies: Vec<PolicyOnNode>,
}

impl NodeTracingStatus {
    /// Returns a status of these policies. Counts them, and sorts them by namespace and name, so that equal states are
    /// equal objects. Truncates long reasons. Of more than [`MAX_POLICIES`] it keeps failed ones first; the counts
    /// include all.
    pub fn new(policy_set_hash: String, mut policies: Vec<PolicyOnNode>) -> Self {
        let count = |states: &[PolicyState]| {
            let number = policies.iter().filter(|p| states.contains(&p.state)).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let loaded = count(&[PolicyState::Loaded]);
        let failed = count(&[PolicyState::Partial, PolicyState::Failed]);
        for policy in &mut policies {
            policy.reason = policy.reason.take().map(|reason| shorten(reason, MAX_REASON));
        }
        policies.sort_by(|a, b| {
            let key = |p: &PolicyOnNode| p.state.rank();
            key(a).cmp(&key(b)).then_with(|| a.place().cmp(&b.place()))
        });
        policies.truncate(MAX_POLICIES as usize);
        policies.sort_by(|a, b| a.place().cmp(&b.place()));
        Self {
            loaded,
            failed,
            policy_set_hash: Some(policy_set_hash),
            agent_pod_uid: None,
            boot_id: None,
            message: None,
            policies,
        }
    }

    /// The same, with the agent's pod and the node's boot. Both prove that the status is current.
    #[must_use]
    pub fn reported_by(self, agent_pod_uid: Option<String>, boot_id: Option<String>) -> Self {
        Self { agent_pod_uid, boot_id, ..self }
    }

    /// The same, with the reason why no policy can run on the node. A long one is truncated.
    #[must_use]
    pub fn with_message(self, message: Option<String>) -> Self {
        Self { message: message.map(|message| shorten(message, MAX_REASON)), ..self }
    }
}

/// One policy on one node.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyOnNode {
    /// Name of the policy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Namespace of the policy. Empty for a cluster-wide policy.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub namespace: String,

    /// The metadata.generation of the policy that the state describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Reason for the state, in one sentence. If the state is Loaded, what part of the policy is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_REASON))]
    pub reason: Option<String>,

    /// State of the policy.
    pub state: PolicyState,
}

impl PolicyOnNode {
    fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// The state of a policy on a node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PolicyState {
    /// The policy counts.
    Loaded,
    /// Some of its hooks count. Others are missing, and the policy declares that this is not an error.
    Partial,
    /// The policy should count, but does not.
    Failed,
    /// The policy does not select this node.
    Skipped,
}

impl PolicyState {
    /// Order in which policies are kept if not all fit.
    fn rank(self) -> u8 {
        match self {
            Self::Failed => 0,
            Self::Partial => 1,
            Self::Loaded => 2,
            Self::Skipped => 3,
        }
    }
}

/// Returns at most `limit` characters of a text. A truncated text ends in `…`. Characters are counted as the API
/// server does for `maxLength`.
pub(crate) fn shorten(mut text: String, limit: u32) -> String {
    let limit = limit as usize;
    if text.chars().nth(limit).is_none() {
        return text;
    }
    if let Some((end, _)) = text.char_indices().nth(limit.saturating_sub(1)) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, state: PolicyState) -> PolicyOnNode {
        PolicyOnNode {
            name: name.into(),
            namespace: String::new(),
            observed_generation: None,
            reason: None,
            state,
        }
    }

    #[test]
    fn a_status_counts_and_sorts() {
        let status = NodeTracingStatus::new(
            "h".into(),
            vec![
                policy("b", PolicyState::Failed),
                policy("c", PolicyState::Skipped),
                policy("a", PolicyState::Loaded),
            ],
        );
        assert_eq!((status.loaded, status.failed), (1, 1));
        assert_eq!(status.policies.iter().map(|p| p.name.as_str()).collect::<String>(), "abc");
    }

    #[test]
    fn failures_are_kept_where_not_all_fits() {
        let mut policies: Vec<_> =
            (0..MAX_POLICIES).map(|i| policy(&format!("p{i}"), PolicyState::Loaded)).collect();
        policies.push(policy("zz", PolicyState::Failed));
        let status = NodeTracingStatus::new("h".into(), policies);
        assert_eq!(status.policies.len(), MAX_POLICIES as usize);
        assert_eq!((status.loaded, status.failed), (MAX_POLICIES, 1));
        assert!(status.policies.iter().any(|p| p.name == "zz"));
    }

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(shorten("äöü".into(), 3), "äöü");
        assert_eq!(shorten("äöüß".into(), 3), "äö…");
        let long = PolicyOnNode { reason: Some("x".repeat(9999)), ..policy("a", PolicyState::Failed) };
        let status = NodeTracingStatus::new("h".into(), vec![long]);
        assert_eq!(status.policies[0].reason.as_ref().unwrap().chars().count(), MAX_REASON as usize);
    }
}
