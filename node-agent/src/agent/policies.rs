//! Policies: read, applied, and their states.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use gatewatch_policy::{compile::Environment, diagnostic::Severity, plan::Plan};

use super::{Published, Reconciler, enforcement::only_count_overrides};
use crate::{
    engine::{Candidates, Failure},
    metrics::{AtPrograms, PolicyState, PolicyStatus},
    policies::{Library, Wanted, read_text},
    policy_key::PolicyKey,
    sources::Origin,
};

/// All policies of the node and their states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    /// Each of them; `None` until they are known.
    pub policies: Option<Vec<PolicyStatus>>,
    /// Hash of all policies in every state: the same on nodes that know the same.
    pub hash: String,
    /// The reason why no policy can run on this node.
    pub unsupported: Option<String>,
}

/// The state of each policy, with the reason as a word and as a sentence.
pub(super) type States = BTreeMap<PolicyKey, (PolicyState, &'static str, String)>;

/// Reads what an origin holds into a library, and logs what there is to say about it.
pub(super) fn read(
    library: &mut Library,
    origin: Origin,
    text: &str,
    generation: Option<i64>,
    environment: Environment<'_>,
) {
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
    library.set(origin, contents);
}

/// Adds the policies for other nodes.
pub(super) fn add_skipped(states: &mut States, skipped: BTreeSet<PolicyKey>) {
    for key in skipped {
        let sentence = "its nodeSelector doesn't match the labels of this node".to_owned();
        states.insert(key, (PolicyState::Skipped, "nodeSelector", sentence));
    }
}

/// The statuses to publish, sorted by name.
pub(super) fn listed(
    states: States,
    generations: &BTreeMap<PolicyKey, i64>,
    memory: &BTreeMap<PolicyKey, u64>,
    partial: &BTreeSet<&PolicyKey>,
) -> Vec<PolicyStatus> {
    states
        .into_iter()
        .map(|(key, (state, reason, sentence))| PolicyStatus {
            kernel_memory_bytes: memory.get(&key).copied(),
            generation: generations.get(&key).copied(),
            state,
            reason: reason.into(),
            sentence,
            partial: partial.contains(&key),
            enforcement: None,
            name: key.name,
            namespace: key.namespace,
        })
        .collect()
}

impl Reconciler {
    pub(super) fn read(&mut self, origin: Origin, text: &str, generation: Option<i64>) {
        let environment =
            Environment { kernel: self.engine.profile(), host_namespaces: &self.host_namespaces };
        read(&mut self.library, origin, text, generation, environment);
    }

    /// Makes the policies of the library run, and no others.
    pub(super) fn apply(&mut self) {
        let mut wanted = self.library.wanted(self.node_labels.as_ref());
        for message in &wanted.messages {
            tracing::error!("{message}");
        }
        self.count_what_cannot_be_overridden(&mut wanted.plans);
        let first = !self.engine.applied();
        let failed = self.replace(std::mem::take(&mut wanted.plans));
        let now = Instant::now();
        let mut counts = self.agent.counts();
        let owners = counts.owners(now);
        if let Some(records) = &self.agent.records {
            records.owners.store(Arc::new(counts.all_owners(now).into_iter().collect()));
        }
        drop(counts);
        self.assign_policy_sets(owners);
        self.agent.counts().save();
        if first {
            self.engine.bpf_mut().loaded_all();
        }
        let attached: Vec<String> =
            self.engine.bpf().functions().map(|(lane, by)| format!("{lane} ({by})")).collect();
        tracing::info!(
            "{} policies run at {} hook points: {}",
            self.engine.running().len(),
            attached.len(),
            attached.join(", ")
        );
        let source_problems = self.agent.published.load().source_problems;
        self.agent.publish(Published {
            user_programs: self.at_user_programs(),
            policies: self.statuses(wanted, failed),
            hash: self.library.hash(),
            source_problems,
            enforcement: self.in_force,
            ready: true,
        });
    }

    /// Where programs on LSM hooks are never called, overrides of `security_*` functions are only counted, and that is said.
    fn count_what_cannot_be_overridden(&self, plans: &mut BTreeMap<PolicyKey, Plan>) {
        let Some(reason) = self.engine.bpf().no_lsm() else { return };
        for (key, plan) in plans {
            if only_count_overrides(plan) {
                tracing::error!(
                    "policy {key}: `Override` is not performed on this node ({reason}); the calls are counted and allowed"
                );
            }
        }
    }

    /// Loads what these plans need, then puts it in the place of what runs. Gives those that can't be loaded.
    fn replace(&mut self, plans: BTreeMap<PolicyKey, Plan>) -> BTreeMap<PolicyKey, Failure> {
        let mut candidates = Candidates { plans, failed: BTreeMap::new() };
        let failed = loop {
            // Without the lock: the verifier takes its time.
            let change = self.engine.load(candidates);
            let agent = Arc::clone(&self.agent);
            let mut counts = agent.counts();
            // Counts of policies that change or go belong to the pods that these have selected until now. That is saved,
            // since the next agent will only know what they select then.
            let now = Instant::now();
            counts.settle(now);
            let committed = self.engine.commit(change, now);
            counts.view = self.engine.view();
            self.publish_hooks(now);
            match committed {
                Ok(failed) => break failed,
                Err(rest) => candidates = rest,
            }
        };
        // Detaching waits until no program runs any more, so it is done without the lock as well. What these programs
        // count until then is under numbers that no hook has, which no fold reads.
        self.engine.detach_unused();
        self.engine.finish();
        // After that has saved which numbers have a meaning: the next agent must not expect counts that are removed.
        self.engine.remove_unused(&mut self.agent.counts().reader);
        failed
    }

    /// Says what records are about, to the thread that reads them.
    pub(super) fn publish_hooks(&self, now: Instant) {
        if let Some(records) = &self.agent.records {
            let hooks = self.engine.recorded_hooks();
            records.catalog.store(Arc::new(records.catalog.load().with(hooks, now)));
        }
    }

    /// The state of each policy, sorted by name.
    fn statuses(&self, wanted: Wanted, failed: BTreeMap<PolicyKey, Failure>) -> Vec<PolicyStatus> {
        let mut statuses = States::new();
        for (key, failure) in failed {
            let still = self.still(&key);
            tracing::error!("cannot load policy {key}: {failure}{still}; the other policies run");
            let sentence = format!("{failure}{still}");
            statuses.insert(key, (PolicyState::Failed, "load", sentence));
        }
        for (key, refusal) in wanted.refused {
            let still = self.still(&key);
            tracing::error!("policy {key} is rejected ({}){still}", refusal.code);
            let sentence = format!("{}{still}", refusal.sentence);
            statuses.insert(key, (PolicyState::Rejected, refusal.code, sentence));
        }
        add_skipped(&mut statuses, wanted.skipped);
        for key in self.engine.running().keys() {
            statuses.entry(key.clone()).or_insert((PolicyState::Running, "", String::new()));
        }
        let running = self.engine.running().iter();
        let partial = running.filter(|(_, plan)| plan.partial).map(|(key, _)| key).collect();
        let mut listed = listed(statuses, &wanted.generations, &self.engine.kernel_memory(), &partial);
        self.describe_running(&mut listed);
        listed
    }

    /// Publishes where programs are attached, and what policies wait for.
    pub(super) fn publish_user_programs(&self) {
        let mut published = Published::clone(&self.agent.published.load());
        self.describe_running(&mut published.policies);
        published.user_programs = self.at_user_programs();
        self.agent.publish(published);
    }

    /// The policies with a hook at a program that is attached nowhere, and why.
    pub(super) fn waiting_for_programs(&self) -> BTreeMap<PolicyKey, String> {
        let mut waiting = BTreeMap::new();
        for (lane, summary) in self.user_programs.summaries() {
            if summary.attached > 0 {
                continue;
            }
            let path = lane.point.name();
            let sentence = match summary.reason {
                Some(reason) => format!("cannot attach to {path} in {} containers: {reason}", summary.failed),
                None => format!("no selected container has {path}; its events are counted once one has"),
            };
            for key in self.engine.policies_in(&lane) {
                waiting.entry(key.clone()).or_insert_with(|| sentence.clone());
            }
        }
        waiting
    }

    /// Where programs are attached, by hook and policy.
    fn at_user_programs(&self) -> Vec<AtPrograms> {
        // Several lanes can have one label: entry and return, and hooks with different fields.
        let mut all: BTreeMap<(String, &PolicyKey), BTreeMap<Option<u64>, bool>> = BTreeMap::new();
        for lane in self.user_programs.summaries().into_keys() {
            for key in self.engine.policies_in(&lane) {
                all.entry((lane.point.label(), key)).or_default();
            }
        }
        for (lane, place, is_attached) in self.user_programs.places() {
            for key in self.engine.policies_in(lane) {
                let places = all.entry((lane.point.label(), key)).or_default();
                *places.entry(place).or_insert(true) &= is_attached;
            }
        }
        all.into_iter()
            .map(|((hook, key), places)| {
                let attached = places.values().filter(|is_attached| **is_attached).count();
                AtPrograms {
                    hook,
                    policy: key.name.clone(),
                    attached: u64::try_from(attached).unwrap_or(u64::MAX),
                    failed: u64::try_from(places.len() - attached).unwrap_or(u64::MAX),
                }
            })
            .collect()
    }

    /// What to add where a policy's last version that worked runs on.
    fn still(&self, key: &PolicyKey) -> &'static str {
        if self.engine.running().contains_key(key) { "; it runs as it was before" } else { "" }
    }
}
