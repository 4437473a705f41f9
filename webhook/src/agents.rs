//! The agents on the nodes: their reports, and their pods.

pub mod confirm;

use std::{collections::BTreeMap, net::IpAddr};

use gatewatch_crds::NodeTracingStatus;

use crate::kernels::{Node, ReportedKernel};

/// The report of an agent about its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its kernel.
    pub kernel: ReportedKernel,
    /// Its policies.
    pub status: NodeTracingStatus,
}

/// A pod of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentPod {
    /// Its node.
    pub node: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Whether it is ready and not being deleted.
    pub ready: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The pods of the agent, by name.
pub type AgentPods = BTreeMap<String, AgentPod>;

/// The pods of the agent with their names, by node.
pub fn by_node(pods: &AgentPods) -> BTreeMap<&str, Vec<(&str, &AgentPod)>> {
    let mut found = BTreeMap::<&str, Vec<_>>::new();
    for (name, pod) in pods {
        found.entry(&pod.node).or_default().push((name.as_str(), pod));
    }
    found
}

/// The number of nodes that should have an agent and have no live one. Nodes on which no agent was ever placed do not
/// count.
pub fn nodes_without_agent(
    nodes: &BTreeMap<String, Node>,
    agents: &BTreeMap<String, Agent>,
    pods: &BTreeMap<&str, Vec<(&str, &AgentPod)>>,
) -> usize {
    let lacks = |name: &&String| match pods.get(name.as_str()) {
        Some(here) => here.iter().all(|(_, pod)| !pod.ready),
        None => agents.contains_key(*name),
    };
    nodes.keys().filter(lacks).count()
}
