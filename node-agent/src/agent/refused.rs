//! An agent on a node on which no policy can run: it loads nothing into the kernel, reads its sources, and reports the reason
//! for each policy and for itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gatewatch_kernel::Profile;
use gatewatch_policy::{compile::Environment, model::NamespaceKind};
use tokio::sync::watch;

use super::policies::{self, PolicySet, States};
use crate::{
    metrics::{self, PolicyState, PolicyStatus, Snapshot},
    policies::{Library, Wanted},
    policy_dir::DirError,
    sources::{Change, Source},
    unsupported::Unsupported,
};

/// How often the sources are read.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// The part that scrapes and probes read.
pub struct Refused {
    reason: Unsupported,
    policies: watch::Sender<PolicySet>,
    source_problems: AtomicU64,
}

/// The part that reads the sources.
pub struct Reader {
    refused: Arc<Refused>,
    profile: Profile,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
    sources: Vec<Box<dyn Source>>,
    library: Library,
    node_labels: Option<BTreeMap<String, String>>,
}

/// Runs none of the policies of these sources, for one reason.
pub fn refuse(
    reason: Unsupported,
    profile: Profile,
    sources: Vec<Box<dyn Source>>,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
) -> (Arc<Refused>, Reader) {
    tracing::error!("{reason}; no policy runs");
    let refused = Arc::new(Refused {
        reason,
        policies: watch::Sender::new(PolicySet::default()),
        source_problems: AtomicU64::new(0),
    });
    let reader = Reader {
        refused: Arc::clone(&refused),
        profile,
        host_namespaces,
        sources,
        library: Library::default(),
        node_labels: Some(BTreeMap::new()),
    };
    (refused, reader)
}

impl Refused {
    /// The policies and their states; the receiver sees every change.
    pub fn policies(&self) -> watch::Receiver<PolicySet> {
        self.policies.subscribe()
    }
}

impl Reader {
    /// Keeps the states of the policies up to date until `stop` is set.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut changed = true;
        while !stop.load(Ordering::Relaxed) {
            match self.poll() {
                Ok(any) => changed |= any,
                Err(error) => tracing::error!("{error}; the policies stay as they are"),
            }
            if changed && self.sources.iter().all(|source| source.complete()) {
                changed = false;
                self.publish();
            }
            let unreadable: u64 = self.sources.iter().map(|source| source.problems()).sum();
            let broken = u64::try_from(self.library.broken()).unwrap_or(u64::MAX);
            self.refused.source_problems.store(unreadable.saturating_add(broken), Ordering::Relaxed);
            std::thread::sleep(POLL_EVERY);
        }
    }

    fn poll(&mut self) -> Result<bool, DirError> {
        let environment = Environment { kernel: &self.profile, host_namespaces: &self.host_namespaces };
        let mut changed = false;
        for source in &mut self.sources {
            for change in source.poll()? {
                match change {
                    Change::Policies { origin, text, generation } => {
                        policies::read(&mut self.library, origin, &text, generation, environment);
                    }
                    Change::PoliciesGone(origin) => self.library.remove(&origin),
                    Change::NodeLabels(labels) => self.node_labels = labels,
                    Change::Pods(_) | Change::Pod(_) | Change::PodGone(_) | Change::Enforcement(_) => {
                        continue;
                    }
                }
                changed = true;
            }
        }
        Ok(changed)
    }

    fn publish(&mut self) {
        let wanted = self.library.wanted(self.node_labels.as_ref());
        let set = PolicySet {
            policies: Some(statuses(&self.refused.reason, wanted)),
            hash: self.library.hash(),
            unsupported: Some(self.refused.reason.to_string()),
        };
        self.refused.policies.send_replace(set);
    }
}

/// The state of each policy, sorted by name.
fn statuses(reason: &Unsupported, wanted: Wanted) -> Vec<PolicyStatus> {
    let mut states = States::new();
    for key in wanted.plans.into_keys() {
        states.insert(key, (PolicyState::Failed, reason.word(), reason.to_string()));
    }
    for (key, refusal) in wanted.refused {
        states.insert(key, (PolicyState::Rejected, refusal.code, refusal.sentence));
    }
    policies::add_skipped(&mut states, wanted.skipped);
    policies::listed(states, &wanted.generations, &BTreeMap::new(), &BTreeSet::new())
}

impl metrics::Source for Refused {
    fn snapshot(&self) -> Snapshot {
        let known = self.policies.borrow();
        Snapshot {
            policies: known.policies.clone().unwrap_or_default(),
            policy_set_hash: known.hash.clone(),
            unsupported: Some(self.reason.word()),
            source_problems: self.source_problems.load(Ordering::Relaxed),
            ..Snapshot::default()
        }
    }

    fn ready(&self) -> Result<(), String> {
        Err(self.reason.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_key::PolicyKey;

    #[test]
    fn every_policy_has_the_reason() {
        let key = |name: &str| PolicyKey { namespace: None, name: name.to_owned() };
        let plan = gatewatch_policy::plan::Plan {
            name: "runs".to_owned(),
            namespace: None,
            scope: gatewatch_policy::plan::Scope::default(),
            hooks: Vec::new(),
            partial: false,
            monitor_mode: false,
        };
        let wanted = Wanted {
            plans: [(key("runs"), plan)].into(),
            skipped: [key("elsewhere")].into(),
            generations: [(key("runs"), 3)].into(),
            ..Wanted::default()
        };
        let statuses = statuses(&Unsupported::UserNamespace, wanted);
        let states: Vec<_> =
            statuses.iter().map(|status| (&*status.name, status.state, &*status.reason)).collect();
        assert_eq!(
            states,
            [
                ("elsewhere", PolicyState::Skipped, "nodeSelector"),
                ("runs", PolicyState::Failed, "user-namespace")
            ]
        );
        assert_eq!(statuses[1].generation, Some(3));
        assert!(statuses[1].sentence.contains("user namespace"), "{}", statuses[1].sentence);
    }
}
