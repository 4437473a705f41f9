//! Policies: read, applied, and how they are.

use std::collections::BTreeMap;
use std::time::Instant;

use gatewatch_policy::compile::Environment;
use gatewatch_policy::diagnostic::Severity;

use super::State;
use crate::engine::PolicyKey;
use crate::metrics::{PolicyState, PolicyStatus};
use crate::policies::read_text;
use crate::sources::Origin;

/// All policies of the node and how they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    /// Each of them; `None` until they are known.
    pub policies: Option<Vec<PolicyStatus>>,
    /// Names the policies and their states: the same on nodes that run the same.
    pub hash: String,
}

impl State {
    pub(super) fn read(&mut self, origin: Origin, text: &str, generation: Option<i64>) {
        let environment =
            Environment { kernel: self.engine.profile(), host_namespaces: &self.host_namespaces };
        let mut contents = read_text(&origin, text, environment);
        for found in &mut contents.policies {
            found.generation = generation;
        }
        for (severity, message) in &contents.messages {
            match severity {
                Severity::Error => tracing::error!("{message}"),
                Severity::Warning => tracing::warn!("{message}"),
                Severity::Note => tracing::debug!("{message}"),
            }
        }
        self.library.set(origin, contents);
        self.stale = true;
    }

    pub(super) fn apply(&mut self, now: Instant) {
        let wanted = self.library.wanted(self.node_labels.as_ref());
        for message in &wanted.messages {
            tracing::error!("{message}");
        }
        // What policies that go or change have counted belongs to whom they watched until now; written down, since the
        // next agent will know only whom they watch then.
        self.settle(now);
        let failed = self.engine.apply(wanted.plans, &self.attribution, now);
        let mut statuses: BTreeMap<PolicyKey, (PolicyState, &'static str, String)> = BTreeMap::new();
        for (key, failure) in &failed {
            tracing::error!("policy {key} can't be loaded: {failure}; the others run");
            statuses.insert(key.clone(), (PolicyState::Failed, "load", failure.to_string()));
        }
        for (key, refusal) in &wanted.refused {
            let still =
                if self.engine.running().contains_key(key) { "; it runs as it was before" } else { "" };
            tracing::error!("policy {key} is refused ({}){still}", refusal.code);
            let sentence = format!("{}{still}", refusal.sentence);
            statuses.insert(key.clone(), (PolicyState::Refused, refusal.code, sentence));
        }
        for key in wanted.skipped {
            let sentence = "its nodeSelector doesn't match the labels of this node".to_owned();
            statuses.insert(key, (PolicyState::Skipped, "nodeSelector", sentence));
        }
        for key in self.engine.running().keys() {
            statuses.entry(key.clone()).or_insert((PolicyState::Running, "", String::new()));
        }
        let memory = self.engine.kernel_memory();
        self.statuses = statuses
            .into_iter()
            .map(|(key, (state, reason, sentence))| PolicyStatus {
                kernel_memory_bytes: memory.get(&key).copied(),
                generation: wanted.generations.get(&key).copied(),
                name: key.name,
                namespace: key.namespace,
                state,
                reason: reason.into(),
                sentence,
            })
            .collect();
        let attached: Vec<String> =
            self.engine.kernel().functions().map(|((symbol, _), by)| format!("{symbol} ({by})")).collect();
        tracing::info!(
            "{} policies run on {} kernel functions: {}",
            self.engine.running().len(),
            attached.len(),
            attached.join(", ")
        );
        self.save();
        let set = PolicySet { policies: Some(self.statuses.clone()), hash: self.policy_set_hash() };
        self.published.send_if_modified(|published| {
            let changed = *published != set;
            *published = set;
            changed
        });
    }

    /// Names the set of policies that run, whatever their order.
    fn policy_set_hash(&self) -> String {
        let hash = self.engine.running().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, (key, plan)| {
            // Debug text of a plan says all of it; FNV-1a is stable between builds, which the standard hasher isn't.
            format!("{key}\0{plan:?}\0")
                .bytes()
                .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        });
        format!("{hash:016x}")
    }
}
