//! Agents of nodes, as the API server has them: a Node, a pod of the `DaemonSet`, and a report.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Stage, kernels};

/// An agent that runs on a node of its own.
pub(super) struct Agent {
    node: String,
    uid: String,
}

impl Agent {
    /// Makes a node with a ready agent that has reported nothing.
    pub(super) fn start(stage: &Stage, node: &str) -> Result<Self> {
        stage.must(&["create", "-f", "-"], &kernels::node(node, "6.12.9-x"))?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod_name(node), "namespace": "gatewatch", "labels": {"app.kubernetes.io/component": "agent"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "gatewatch-agent",
                    "uid": "00000000-0000-0000-0000-000000000001", "controller": true}],
            },
            "spec": {"nodeName": node, "containers": [{"name": "agent", "image": "agent"}]},
        });
        stage.must(&["create", "-f", "-"], &pod.to_string())?;
        let path = "jsonpath={.metadata.uid}";
        let uid = stage.must(&["-n", "gatewatch", "get", "pod", &pod_name(node), "-o", path], "")?;
        let agent = Self { node: node.to_owned(), uid };
        agent.set_ready(stage, true)?;
        Ok(agent)
    }

    /// Sets whether the agent's pod is ready.
    pub(super) fn set_ready(&self, stage: &Stage, ready: bool) -> Result<()> {
        let status = if ready { "True" } else { "False" };
        let patch = json!({"status": {"phase": "Running", "podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}],
            "conditions": [{"type": "Ready", "status": status}]}});
        let name = pod_name(&self.node);
        let of = ["-n", "gatewatch", "patch", "pod", &name, "--subresource=status", "--type=merge", "-p"];
        stage.must(&[&of[..], &[&patch.to_string()]].concat(), "").map(drop)
    }

    /// Reports the state of these policies of the cluster, in their current generations, for this boot.
    pub(super) fn report(&self, stage: &Stage, boot: &str, policies: &[(&str, &str, &str)]) -> Result<()> {
        let mut reported = Vec::new();
        for (name, state, reason) in policies {
            let path = "jsonpath={.metadata.generation}";
            let generation = stage.must(&["get", "tracingpolicy", name, "-o", path], "")?;
            let generation: i64 = generation.parse().context("a generation is a number")?;
            let mut policy =
                json!({"name": name, "namespace": "", "state": state, "observedGeneration": generation});
            if !reason.is_empty() {
                policy["reason"] = json!(reason);
            }
            reported.push(policy);
        }
        let node = &self.node;
        let object = format!(
            "apiVersion: gatewatch.dev/v1alpha1\nkind: NodeTracing\nmetadata: {{name: {node}}}\nspec: {{agentVersion: x, \
             kernel: {{arch: x86_64, release: 6.12.9-x}}, profile: {{hash: h}}}}\n"
        );
        stage.must(&["apply", "-f", "-"], &object)?;
        let status = json!({"status": {"agentPodUID": self.uid, "bootID": boot, "policies": reported}});
        self.patch(stage, &status)
    }

    fn patch(&self, stage: &Stage, status: &Value) -> Result<()> {
        let of = ["patch", "nodetracing", &self.node, "--subresource=status", "--type=merge", "-p"];
        stage.must(&[&of[..], &[&status.to_string()]].concat(), "").map(drop)
    }

    /// Removes the node with everything on it.
    pub(super) fn end(self, stage: &Stage) -> Result<()> {
        let name = pod_name(&self.node);
        stage.must(&["-n", "gatewatch", "delete", "pod", &name, "--grace-period=0", "--force"], "")?;
        stage.must(&["delete", "nodetracing", &self.node, "--ignore-not-found"], "")?;
        stage.must(&["delete", "node", &self.node], "").map(drop)
    }
}

/// The boot of the nodes that [`kernels::node`] makes.
pub(super) const BOOT: &str = "b";

fn pod_name(node: &str) -> String {
    format!("agent-{node}")
}
