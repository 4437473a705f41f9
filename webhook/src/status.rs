//! Whether every policy covers its pods on all nodes. It is computed here, and one replica writes it.

pub mod lease;
pub mod write;

use std::collections::BTreeMap;

use gatewatch_coverage::{Index, IndexedPolicy, PolicyId};
use gatewatch_crds::{
    PolicyCoverageSpec, PolicyCoverageStatus,
    node_tracing::PolicyState,
    policy_coverage::{
        CoverageDiagnostic, CoverageSeverity, FailedNode, MAX_LISTED, NamespaceCoverage, NodeCounts,
        UnconfirmedNode, UnconfirmedState,
    },
};
use gatewatch_policy::diagnostic::{Diagnostic, Severity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    agents::{
        Agent, AgentPod,
        confirm::{Unconfirmed, confirm, on_node},
    },
    kernels::Node,
    stored_policy::StoredPolicy,
};

/// The policy in the form of `PolicyCoverage`.
pub fn spec(id: &PolicyId) -> PolicyCoverageSpec {
    match &id.namespace {
        Some(namespace) => PolicyCoverageSpec::of_namespace(namespace, &id.name),
        None => PolicyCoverageSpec::of_cluster(&id.name),
    }
}

/// The nodes of the cluster and the reports of their agents.
#[derive(Clone, Copy, Debug)]
pub struct Nodes<'a> {
    /// The nodes in the API server, by name.
    pub nodes: &'a BTreeMap<String, Node>,
    /// The reports of agents, by the node's name.
    pub agents: &'a BTreeMap<String, Agent>,
    /// The pods of the agent, by node.
    pub pods: &'a BTreeMap<&'a str, Vec<(&'a str, &'a AgentPod)>>,
    /// Whether Gatewatch's agents run the policies. Other programs report nothing here.
    pub by_gatewatch: bool,
}

/// The status of a policy. `on_kernels` are the diagnostics that do not depend on pods. The condition has the time
/// `now`; see [`keep_transition`].
pub fn status(
    stored: &StoredPolicy,
    on_kernels: &[Diagnostic],
    index: &Index,
    nodes: Nodes<'_>,
    now: Time,
) -> PolicyCoverageStatus {
    let watch = IndexedPolicy::new(stored.policy(), "default");
    let selection = index.selection(&watch);
    let total = selection.total();
    let mut diagnostics: Vec<Diagnostic> = on_kernels.to_vec();
    diagnostics.extend(index.on_policy(&watch));
    diagnostics.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
    let mut namespaces: Vec<NamespaceCoverage> = selection
        .by_namespace
        .iter()
        .filter(|(_, tally)| tally.pods > 0)
        .map(|(name, tally)| NamespaceCoverage { name: name.clone(), pods: number(tally.pods) })
        .collect();
    namespaces.sort_by(|a, b| b.pods.cmp(&a.pods).then_with(|| a.name.cmp(&b.name)));
    let OnNodes { counts, failed: failed_nodes, unconfirmed: unconfirmed_nodes } = on_nodes(stored, nodes);
    let warned = diagnostics.iter().filter(|diagnostic| diagnostic.severity > Severity::Note).count();
    let for_pods = watch.scope.pods.is_some();
    let mut status = PolicyCoverageStatus {
        conditions: vec![condition(
            stored,
            &diagnostics,
            total.pods,
            for_pods,
            nodes.by_gatewatch.then_some(counts),
            now,
        )],
        diagnostics: diagnostics.iter().take(MAX_LISTED as usize).map(diagnostic).collect(),
        failed_nodes,
        namespaces,
        nodes: counts,
        observed_generation: stored.generation,
        unconfirmed_nodes,
        pods: number(total.pods),
        warnings: number(warned),
        workloads: number(total.workloads),
    };
    status.bound();
    status
}

/// An unchanged condition keeps the time of its last transition.
pub fn keep_transition(status: &mut PolicyCoverageStatus, before: &PolicyCoverageStatus) {
    for condition in &mut status.conditions {
        let old = before.conditions.iter().find(|old| old.type_ == condition.type_);
        if let Some(old) = old.filter(|old| old.status == condition.status) {
            condition.last_transition_time = old.last_transition_time.clone();
        }
    }
}

fn condition(
    stored: &StoredPolicy,
    diagnostics: &[Diagnostic],
    pods: usize,
    for_pods: bool,
    nodes: Option<NodeCounts>,
    now: Time,
) -> Condition {
    let known = nodes.unwrap_or_default();
    let (holds, reason, message) = if let Some(error) = diagnostics.iter().find(|d| d.is_error()) {
        ("False", "Invalid", format!("the policy does not run: {error}"))
    } else if known.failed > 0 {
        ("False", "NodesFailed", format!("{} nodes do not run it in full", known.failed))
    } else if for_pods && pods == 0 {
        ("False", "NoPods", "it selects no existing pod".to_owned())
    } else if nodes.is_none() {
        (
            "Unknown",
            "NotReported",
            "Tetragon runs it, and does not report here whether it is loaded".to_owned(),
        )
    } else if known.unknown > 0 {
        ("Unknown", "NodesUnknown", format!("{} nodes that should run it have no live agent", known.unknown))
    } else if known.pending > 0 {
        (
            "Unknown",
            "NodesPending",
            format!("{} nodes have not yet reported whether they run it", known.pending),
        )
    } else if known.loaded == 0 && known.skipped > 0 {
        ("False", "NoNodes", "its nodeSelector selects no node, so it runs nowhere".to_owned())
    } else {
        ("True", "Covered", "it is loaded on every node that should run it".to_owned())
    };
    Condition {
        type_: "Covered".to_owned(),
        status: holds.to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(1000).collect(),
        observed_generation: stored.generation,
        last_transition_time: now,
    }
}

/// The nodes by the state of one policy.
#[derive(Default)]
struct OnNodes {
    counts: NodeCounts,
    failed: Vec<FailedNode>,
    unconfirmed: Vec<UnconfirmedNode>,
}

fn on_nodes(stored: &StoredPolicy, Nodes { nodes, agents, pods, by_gatewatch }: Nodes<'_>) -> OnNodes {
    let mut found = OnNodes::default();
    if !by_gatewatch {
        return found;
    }
    let namespace = stored.id.namespace.as_deref().unwrap_or_default();
    for (name, node) in nodes {
        let wanted = stored.policy().spec.node_selector.as_ref().is_none_or(|s| s.matches(&node.labels));
        if !wanted {
            found.counts.skipped += 1;
            continue;
        }
        let here = pods.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        let report = confirm(Some(node), agents.get(name), here)
            .and_then(|report| on_node(report, (namespace, &stored.id.name), stored.generation));
        match report.map(|policy| (policy.state, &policy.reason)) {
            Ok((PolicyState::Loaded, _)) => found.counts.loaded += 1,
            Ok((PolicyState::Skipped, _)) => found.counts.skipped += 1,
            Ok((PolicyState::Partial | PolicyState::Failed, reason)) => {
                found.counts.failed += 1;
                let reason = reason.clone();
                found.failed.push(FailedNode {
                    name: name.clone(),
                    reason: reason.unwrap_or_else(|| "the agent reported no reason".to_owned()),
                });
            }
            Err(Unconfirmed { state, reason }) => {
                match state {
                    UnconfirmedState::Pending => found.counts.pending += 1,
                    UnconfirmedState::Unknown => found.counts.unknown += 1,
                }
                found.unconfirmed.push(UnconfirmedNode { name: name.clone(), reason, state });
            }
        }
    }
    // Those without an agent first.
    found.unconfirmed.sort_by_key(|node| node.state == UnconfirmedState::Pending);
    found
}

fn diagnostic(diagnostic: &Diagnostic) -> CoverageDiagnostic {
    let message = match &diagnostic.help {
        Some(help) => format!("{}; {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let path = diagnostic.path.to_string();
    CoverageDiagnostic {
        code: diagnostic.code.id.to_owned(),
        message,
        path: (!path.is_empty()).then_some(path),
        severity: match diagnostic.severity {
            Severity::Error => CoverageSeverity::Error,
            Severity::Warning => CoverageSeverity::Warning,
            Severity::Note => CoverageSeverity::Note,
        },
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
