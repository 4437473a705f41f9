//! The node's state in the cluster: one small object, `NodeTracing`, named as the node.
//!
//! It is written when it has changed, and never as a sign of life: a thousand idle nodes cost the API server nothing.

use std::time::Duration;

use gatewatch_crds::node_tracing::{
    Feature, Kernel, NodeTracing, NodeTracingSpec, NodeTracingStatus, PolicyOnNode, PolicyState, Profile,
    Support,
};
use gatewatch_kernel::host::{self, Features};
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;
use tokio::sync::watch;

use super::FIELD_MANAGER;
use crate::{
    agent::PolicySet,
    metrics::{self, PolicyStatus},
};

/// How long changes are gathered: policies come in groups.
const GATHER: Duration = Duration::from_secs(1);
/// Time after which a write that failed is tried again; doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// What is said of a node beside its policies.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
    /// Hash of the kernel's profile.
    pub profile_hash: String,
    /// Where the agent gives the profile.
    pub endpoint: Option<String>,
    /// What the kernel can do.
    pub features: Features,
}

/// Keeps the object as the policies are, until it is dropped.
pub async fn write(client: Client, node: Node, mut policies: watch::Receiver<PolicySet>) {
    let api: Api<NodeTracing> = Api::all(client.clone());
    let mut written: Option<(NodeTracingSpec, NodeTracingStatus)> = None;
    let (pod, boot) = (pod_uid(), boot_id());
    loop {
        // What is unchanged since an earlier agent wrote it isn't written again.
        if written.is_none()
            && let Ok(Some(object)) = api.get_opt(&node.name).await
        {
            written = object.status.map(|status| (object.spec, status));
        }
        let set = policies.borrow_and_update().clone();
        if let Some(known) = set.policies {
            let status = status(set.hash, &known).with_message(set.unsupported);
            let wanted = (spec(&node), status.reported_by(pod.clone(), boot.clone()));
            let mut wait = RETRY.0;
            while written.as_ref() != Some(&wanted) {
                match put(&client, &api, &node.name, &wanted).await {
                    Ok(()) => written = Some(wanted.clone()),
                    Err(error) => {
                        tracing::warn!("cannot write NodeTracing {}, retrying: {error}", node.name);
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(RETRY.1);
                    }
                }
                if policies.has_changed().unwrap_or(false) {
                    break;
                }
            }
        }
        if policies.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

async fn put(
    client: &Client,
    api: &Api<NodeTracing>,
    name: &str,
    (spec, status): &(NodeTracingSpec, NodeTracingStatus),
) -> Result<(), kube::Error> {
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let mut object = NodeTracing::new(name, spec.clone());
    // With its node goes what is said of it.
    object.metadata.owner_references = owner(client, name).await.map(|owner| vec![owner]);
    object.status = None;
    let object = serde_json::to_value(&object).map_err(kube::Error::SerdeError)?;
    api.patch(name, &parameters, &Patch::Apply(object)).await?;
    let status = json!({
        "apiVersion": "gatewatch.dev/v1alpha1", "kind": "NodeTracing", "metadata": {"name": name}, "status": status,
    });
    api.patch_status(name, &parameters, &Patch::Apply(status)).await?;
    Ok(())
}

/// The UID of the agent's pod, which the chart sets. It proves that a report is not one of an earlier agent.
fn pod_uid() -> Option<String> {
    std::env::var("POD_UID").ok().filter(|uid| !uid.is_empty())
}

/// The node's boot (proc(5), `/proc/sys/kernel/random/boot_id`). The kubelet reports it in `status.nodeInfo.bootID`.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// The node, as the owner of what is said of it. Without rights to see it there is none.
async fn owner(client: &Client, name: &str) -> Option<OwnerReference> {
    let nodes: Api<PartialObjectMeta<core::Node>> = Api::all(client.clone());
    let uid = nodes.get_opt(name).await.ok()??.metadata.uid?;
    Some(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    })
}

fn spec(node: &Node) -> NodeTracingSpec {
    let Features { kprobes, fentry, fprobe, fprobe_many: _, lsm, overrides, preemption: _ } = node.features;
    let feature = |name: &str, support| {
        let (support, reason) = match support {
            host::Support::Yes => (Support::Yes, None),
            host::Support::No(reason) => (Support::No, Some(reason.to_owned())),
            host::Support::Unknown => (Support::Unknown, None),
        };
        Feature { name: name.to_owned(), support, reason }
    };
    NodeTracingSpec {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        features: vec![
            feature("fentry", fentry),
            feature("fprobe", fprobe),
            feature("kprobes", kprobes),
            feature("lsm", lsm),
            feature("overrides", overrides),
        ],
        kernel: Kernel { arch: node.machine.clone(), release: node.release.clone() },
        profile: Profile { endpoint: node.endpoint.clone(), hash: node.profile_hash.clone() },
    }
}

fn status(hash: String, policies: &[PolicyStatus]) -> NodeTracingStatus {
    let policies = policies
        .iter()
        .map(|policy| PolicyOnNode {
            name: policy.name.clone(),
            namespace: policy.namespace.clone().unwrap_or_default(),
            observed_generation: policy.generation,
            reason: (!policy.sentence.is_empty()).then(|| policy.sentence.clone()),
            state: match policy.state {
                metrics::PolicyState::Running => PolicyState::Loaded,
                metrics::PolicyState::Rejected | metrics::PolicyState::Failed => PolicyState::Failed,
                metrics::PolicyState::Skipped => PolicyState::Skipped,
            },
        })
        .collect();
    NodeTracingStatus::new(hash, policies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_is_known() {
        let boot = boot_id().expect("every Linux has it");
        assert_eq!((boot.len(), boot.matches('-').count()), (36, 4), "{boot}");
    }

    #[test]
    fn a_state_for_each_policy_with_its_reason() {
        let policy = |name: &str, state, sentence: &str| PolicyStatus {
            name: name.to_owned(),
            namespace: Some("test".to_owned()),
            state,
            reason: "GW201".into(),
            sentence: sentence.to_owned(),
            generation: Some(4),
            kernel_memory_bytes: None,
            partial: false,
            enforcement: None,
        };
        let all = status(
            "h".to_owned(),
            &[
                policy("refused", metrics::PolicyState::Rejected, "no such function"),
                policy("runs", metrics::PolicyState::Running, ""),
                policy("elsewhere", metrics::PolicyState::Skipped, "not for this node"),
            ],
        );
        assert_eq!((all.loaded, all.failed, all.policies.len()), (1, 1, 3));
        let refused = all.policies.iter().find(|policy| policy.name == "refused").unwrap();
        assert_eq!(refused.reason.as_deref(), Some("no such function"));
        assert_eq!((refused.state, refused.observed_generation), (PolicyState::Failed, Some(4)));
        assert_eq!(all.policies.iter().find(|policy| policy.name == "runs").unwrap().reason, None);
    }
}
