//! Whether the report about a node is true now: the agent that wrote it is alive, and the node has not booted since.

use gatewatch_crds::{node_tracing::PolicyOnNode, policy_coverage::UnconfirmedState};

use super::{Agent, AgentPod};
use crate::kernels::Node;

/// The reason why a node's report cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Whether a report is expected soon.
    pub state: UnconfirmedState,
    /// One sentence.
    pub reason: String,
}

fn unconfirmed<T>(state: UnconfirmedState, reason: impl Into<String>) -> Result<T, Unconfirmed> {
    Err(Unconfirmed { state, reason: reason.into() })
}

/// The report of a node, if a ready agent pod on the node wrote it during the node's current boot.
pub fn confirm<'a>(
    node: Option<&Node>,
    report: Option<&'a Agent>,
    pods: &[(&str, &AgentPod)],
) -> Result<&'a Agent, Unconfirmed> {
    use UnconfirmedState::{Pending, Unknown};
    let Some(node) = node else { return unconfirmed(Unknown, "the cluster has no node of this name") };
    let live: Vec<&(&str, &AgentPod)> = pods.iter().filter(|(_, pod)| pod.ready).collect();
    let Some((name, _)) = live.first() else {
        return match pods.first() {
            Some((name, pod)) => {
                let own = |report: &&Agent| report.status.agent_pod_uid.as_ref() == Some(&pod.uid);
                let message = report.filter(own).and_then(|report| report.status.message.as_ref());
                let reason = message.map(|message| format!(": {message}")).unwrap_or_default();
                unconfirmed(Unknown, format!("the agent's pod {name} is not ready{reason}"))
            }
            None => unconfirmed(Unknown, "no pod of the agent runs on the node"),
        };
    };
    let Some(report) = report else {
        return unconfirmed(Pending, format!("the agent's pod {name} has not reported yet"));
    };
    let (Some(pod), Some(boot)) = (&report.status.agent_pod_uid, &report.status.boot_id) else {
        return unconfirmed(Unknown, "the report has no agentPodUID and bootID; upgrade the agent");
    };
    if !live.iter().any(|(_, live)| live.uid == *pod) {
        return unconfirmed(Pending, format!("the report is of an earlier pod than {name}"));
    }
    if *boot != node.boot_id {
        return unconfirmed(Pending, "the report is of an earlier boot of the node");
    }
    Ok(report)
}

/// The report about one generation of a policy, from a confirmed report of a node.
pub fn on_node<'a>(
    report: &'a Agent,
    (namespace, name): (&str, &str),
    generation: Option<i64>,
) -> Result<&'a PolicyOnNode, Unconfirmed> {
    let found = report.status.policies.iter().find(|p| p.name == name && p.namespace == namespace);
    let Some(policy) = found else {
        return unconfirmed(UnconfirmedState::Pending, "the agent has not reported the policy yet");
    };
    if policy.observed_generation != generation {
        let shown = |generation: Option<i64>| generation.map_or("unknown".to_owned(), |n| n.to_string());
        return unconfirmed(
            UnconfirmedState::Pending,
            format!(
                "the agent has reported generation {}, and the policy has generation {}",
                shown(policy.observed_generation),
                shown(generation)
            ),
        );
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use gatewatch_crds::{NodeTracingStatus, node_tracing::PolicyState};

    use super::*;
    use crate::kernels::ReportedKernel;

    fn report(pod: Option<&str>, boot: Option<&str>) -> Agent {
        let policy = PolicyOnNode {
            name: "p".into(),
            namespace: String::new(),
            observed_generation: Some(2),
            reason: None,
            state: PolicyState::Loaded,
        };
        let status = NodeTracingStatus::new("h".into(), vec![policy])
            .reported_by(pod.map(str::to_owned), boot.map(str::to_owned));
        Agent { kernel: ReportedKernel { release: "r".into(), hash: "h".into(), endpoint: None }, status }
    }

    fn pod(uid: &str, ready: bool) -> AgentPod {
        AgentPod { node: "n".into(), uid: uid.into(), ready, addresses: Vec::new() }
    }

    #[test]
    fn a_report_counts_only_from_a_live_agent_of_this_boot() {
        use UnconfirmedState::{Pending, Unknown};
        let node = Node { boot_id: "b2".into(), ..Node::default() };
        let (live, dead) = (pod("u2", true), pod("u1", false));
        let state = |report: Option<&Agent>, pods: &[(&str, &AgentPod)]| {
            confirm(Some(&node), report, pods).map(drop).map_err(|why| why.state)
        };
        let current = report(Some("u2"), Some("b2"));
        assert_eq!(state(Some(&current), &[("old", &dead), ("new", &live)]), Ok(()));
        assert_eq!(state(Some(&current), &[]), Err(Unknown));
        assert_eq!(state(Some(&current), &[("new", &pod("u2", false))]), Err(Unknown));
        assert_eq!(state(None, &[("new", &live)]), Err(Pending));
        for (pod, boot, expected) in [("u1", "b2", Pending), ("u2", "b1", Pending), ("u1", "b1", Pending)] {
            assert_eq!(state(Some(&report(Some(pod), Some(boot))), &[("new", &live)]), Err(expected));
        }
        assert_eq!(state(Some(&report(None, Some("b2"))), &[("new", &live)]), Err(Unknown));
        assert_eq!(
            confirm(None, Some(&current), &[("new", &live)]).map(drop).map_err(|w| w.state),
            Err(Unknown)
        );
    }

    #[test]
    fn a_pod_that_is_not_ready_has_its_reason() {
        let node = Node { boot_id: "b".into(), ..Node::default() };
        let mut report = report(Some("u"), Some("b"));
        report.status = report.status.with_message(Some("it uses cgroup v1".into()));
        let reason =
            |uid| confirm(Some(&node), Some(&report), &[("p", &pod(uid, false))]).unwrap_err().reason;
        assert_eq!(reason("u"), "the agent's pod p is not ready: it uses cgroup v1");
        assert_eq!(reason("another"), "the agent's pod p is not ready");
    }

    #[test]
    fn a_report_is_about_one_generation() {
        let report = report(None, None);
        assert!(on_node(&report, ("", "p"), Some(2)).is_ok());
        assert!(on_node(&report, ("", "p"), Some(3)).unwrap_err().reason.contains("generation 2"));
        assert!(on_node(&report, ("test", "p"), Some(2)).is_err());
    }
}
