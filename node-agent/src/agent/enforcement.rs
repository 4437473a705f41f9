//! Keeps what policies may do in step with everything that restricts it.

use std::{collections::BTreeMap, time::Instant};

use gatewatch_policy::plan::{HookPoint, Plan};

use super::{Published, Reconciler};
use crate::{
    enforcement::Mode,
    metrics::{PolicyState, PolicyStatus},
    node_services,
    policy_key::PolicyKey,
};

/// The reason of a policy whose programs were removed.
const DETACHED: &str = "detached";

impl Reconciler {
    /// Puts the restrictions in force. Before all of them are known nothing is changed: an earlier agent's stay in force, and
    /// without one nothing is enforced.
    pub(super) fn restrict(&mut self) {
        if !self.is_complete() {
            return;
        }
        let before = self.engine.modes();
        let in_force = match self.engine.restrict(self.restrictions.clone()) {
            Ok(in_force) => in_force,
            Err(error) => {
                tracing::error!(%error, "cannot write into the kernel what policies may do");
                return;
            }
        };
        if self.in_force != Some(in_force) {
            let wanted = self.restrictions.node();
            if in_force == wanted {
                tracing::info!("enforcement on this node: {in_force}");
            } else {
                tracing::warn!(
                    "enforcement on this node: {in_force}; it is held by `--enforcement-now`, and would be {wanted}"
                );
            }
        }
        if self.in_force != Some(in_force) || self.engine.modes() != before {
            self.in_force = Some(in_force);
            self.publish_modes();
            self.publish_hooks(Instant::now());
        }
    }

    /// What a running policy may do on this node, if it has actions that can be performed.
    pub(super) fn mode_of(&self, key: &PolicyKey) -> Option<Mode> {
        let node = self.in_force.unwrap_or(Mode::Off);
        self.engine.modes().get(key).map(|mode| node.min(*mode))
    }

    /// Asks the kernel whether the programs of all policies are still there, and publishes the policies of those that are not
    /// as failed.
    pub(super) fn verify(&mut self) {
        let found = self.engine.detached();
        for (key, reason) in found.iter().filter(|(key, _)| !self.detached.contains_key(*key)) {
            tracing::error!(
                "policy {key} counts and stops nothing more at some of its hooks: {reason}; another program has removed or replaced \
                 the agent's programs; restart the agent to attach them again"
            );
        }
        if found != self.detached {
            self.detached = found;
            self.publish_modes();
        }
    }

    /// Publishes the modes of the policies.
    fn publish_modes(&self) {
        let mut published = Published::clone(&self.agent.published.load());
        published.enforcement = self.in_force;
        self.describe_running(&mut published.policies);
        self.agent.publish(published);
    }

    /// Takes the node's labels, one of which can restrict enforcement.
    pub(super) fn set_node_labels(&mut self, labels: Option<BTreeMap<String, String>>) {
        if let Some(problem) = self.restrictions.set_label(labels.as_ref()) {
            tracing::error!("{problem}");
        }
        self.node_labels = labels;
    }

    /// Finds the services of the node, which no policy stops.
    pub(super) fn spare_services(&mut self) {
        let paths: Vec<Vec<u8>> = node_services::usual().chain(node_services::running()).collect();
        if let Err(error) = self.engine.bpf_mut().spare_services(&paths) {
            tracing::error!(%error, "cannot mark the services of the node, such as kubelet, as never to be stopped");
        }
    }

    /// Sets the reasons and modes of policies that run.
    pub(super) fn describe_running(&self, policies: &mut [PolicyStatus]) {
        let waiting = self.waiting_for_programs();
        let described =
            |status: &&mut PolicyStatus| status.state == PolicyState::Running || status.reason == DETACHED;
        for status in policies.iter_mut().filter(described) {
            let key = PolicyKey { namespace: status.namespace.clone(), name: status.name.clone() };
            let Some(plan) = self.engine.running().get(&key) else { continue };
            if let Some(reason) = self.detached.get(&key) {
                status.state = PolicyState::Failed;
                (status.reason, status.sentence) = (
                    DETACHED.into(),
                    format!("it counts and stops nothing more at some of its hooks: {reason}"),
                );
                continue;
            }
            status.state = PolicyState::Running;
            status.enforcement = self.mode_of(&key);
            let (reason, sentence) = not_done(plan, waiting.get(&key), status.enforcement);
            (status.reason, status.sentence) = (reason.into(), sentence);
        }
    }
}

/// What of a running policy isn't done, as a word and as a sentence; both are empty where all of it runs. `waiting`: why it is
/// attached to no file of a program that it names.
pub(super) fn not_done(plan: &Plan, waiting: Option<&String>, mode: Option<Mode>) -> (&'static str, String) {
    if let Some(why) = waiting {
        return ("waiting", why.clone());
    }
    let mut parts = Vec::new();
    let mut reason = "";
    if plan.partial {
        reason = "partial";
        parts.push("it runs without the hooks whose functions this kernel lacks");
    }
    if plan.monitors() {
        reason = "monitor";
        parts.push(if plan.enforces() {
            "some of its actions cannot be performed on this node and are only counted"
        } else {
            "it runs in monitor mode: its actions are not performed, only counted"
        });
    }
    match mode {
        Some(Mode::Monitor) => {
            reason = "monitor";
            parts.push("enforcement is `monitor`: its actions are not performed, only counted");
        }
        Some(Mode::Off) => {
            reason = "off";
            parts.push("enforcement is `off`: its actions are neither performed nor counted");
        }
        Some(Mode::Enforce) | None => {}
    }
    (reason, parts.join("; "))
}

/// Takes the overrides of `security_*` functions from a plan for a node that can't perform them: these are then only counted.
/// Tells whether there were any.
pub(super) fn only_count_overrides(plan: &mut Plan) -> bool {
    let mut any = false;
    for hook in plan.hooks.iter_mut().filter(|hook| matches!(hook.point, HookPoint::Function { .. })) {
        for actions in hook.selectors.iter_mut().map(|selector| &mut selector.actions) {
            if actions.error.take().is_some() {
                actions.monitored = true;
                any = true;
            }
        }
    }
    any
}
