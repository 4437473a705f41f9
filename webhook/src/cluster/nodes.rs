//! The nodes, the agents on them, and which policies they run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gatewatch_coverage::{Index, PolicyId};
use gatewatch_crds::node_tracing::PolicyState;
use gatewatch_policy::target::Target;

use super::{Cluster, loaded::Version};
use crate::{
    agents::{self, Agent, AgentPod, AgentPods, by_node, confirm::confirm},
    caches::watch::{Change, Name},
    kernels::Node,
    stored_policy::StoredPolicy,
};

impl Cluster {
    /// Applies a change of nodes.
    pub fn nodes_changed(&self, change: Change<(String, Node)>) {
        let names = names(&change);
        if update(&mut self.nodes.write(), change) {
            self.confirm_nodes(names);
            self.kernels_changed.notify_one();
            self.bump_version();
        }
    }

    /// Applies a change of agents' reports.
    pub fn agents_changed(&self, change: Change<(String, Agent)>) {
        let names = names(&change);
        update(&mut self.agents.write(), change);
        self.confirm_nodes(names);
        self.kernels_changed.notify_one();
        self.bump_version();
    }

    /// Applies a change of the agent's pods.
    pub fn agent_pods_changed(&self, change: Change<(String, AgentPod)>) {
        let nodes = {
            let pods = self.agent_pods.read();
            let old = names(&change).into_iter().flatten().filter_map(|pod| pods.get(&pod));
            let new = match &change {
                Change::Apply((_, pod)) => Some(pod),
                _ => None,
            };
            let nodes: BTreeSet<String> = old.chain(new).map(|pod| pod.node.clone()).collect();
            (!matches!(change, Change::Reset(_))).then_some(nodes)
        };
        if update(&mut self.agent_pods.write(), change) {
            self.confirm_nodes(nodes);
            self.kernels_changed.notify_one();
            self.bump_version();
        }
    }

    /// The pods of the agent, by name.
    pub fn agent_pods(&self) -> AgentPods {
        self.agent_pods.read().clone()
    }

    /// The number of nodes that should have an agent and have no ready one.
    pub fn nodes_without_agent(&self) -> usize {
        if !self.modes().selection().includes(Target::Gatewatch) {
            return 0;
        }
        let (nodes, agents, pods) = (self.nodes.read(), self.agents.read(), self.agent_pods.read());
        agents::nodes_without_agent(&nodes, &agents, &by_node(&pods))
    }

    /// Finds the policies that these nodes run (`None` is all nodes), by the reports that live agents made since their
    /// nodes booted.
    fn confirm_nodes(&self, names: Option<BTreeSet<String>>) {
        let mut changed = BTreeSet::new();
        {
            let (nodes, agents, pods) = (self.nodes.read(), self.agents.read(), self.agent_pods.read());
            let mut loaded = self.loaded.lock();
            let names = names.unwrap_or_else(|| loaded.nodes().chain(agents.keys()).cloned().collect());
            let pods = by_node(&pods);
            for name in names {
                let here = pods.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                let report = confirm(nodes.get(&name), agents.get(&name), here).ok();
                changed.extend(loaded.set(&name, report.map(running).unwrap_or_default()));
            }
        }
        if changed.is_empty() {
            return;
        }
        let policies = self.policies.read();
        let mut index = self.index.write();
        self.set_loaded(&mut index, changed.iter().filter_map(|id| policies.get(id)));
    }

    /// Notes in the index whether a node runs the current generation of each of these policies. A policy that is being
    /// deleted does not count.
    pub(super) fn set_loaded<'a>(
        &self,
        index: &mut Index,
        policies: impl IntoIterator<Item = &'a Arc<StoredPolicy>>,
    ) {
        let loaded = self.loaded.lock();
        for stored in policies {
            let runs = loaded.contains(&(stored.id.clone(), stored.generation));
            index.set_loaded(&stored.id, runs && !stored.deleting);
        }
    }
}

/// The policies that a node runs, as its agent reports.
fn running(agent: &Agent) -> BTreeSet<Version> {
    let policies = agent.status.policies.iter();
    let policies = policies.filter(|p| matches!(p.state, PolicyState::Loaded | PolicyState::Partial));
    policies
        .map(|p| {
            let namespace = (!p.namespace.is_empty()).then(|| p.namespace.clone());
            (PolicyId { namespace, name: p.name.clone() }, p.observed_generation)
        })
        .collect()
}

/// The names of the changed objects; `None` if all may have changed.
fn names<T>(change: &Change<(String, T)>) -> Option<BTreeSet<String>> {
    match change {
        Change::Apply((name, _)) | Change::Delete(Name { name, .. }) => Some(BTreeSet::from([name.clone()])),
        Change::Reset(_) => None,
    }
}

/// Applies a change to a table. Returns whether the table differs from before.
fn update<T: PartialEq>(table: &mut BTreeMap<String, T>, change: Change<(String, T)>) -> bool {
    match change {
        Change::Apply((name, value)) => {
            let same = table.get(&name) == Some(&value);
            table.insert(name, value);
            !same
        }
        Change::Delete(Name { name, .. }) => table.remove(&name).is_some(),
        Change::Reset(all) => {
            let new = all.into_iter().collect();
            let same = *table == new;
            *table = new;
            !same
        }
    }
}
