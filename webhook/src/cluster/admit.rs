//! Changes that were admitted a moment ago. The caches have them only when the watches have received them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use gatewatch_coverage::{Index, IndexedPolicy, Limits, PolicyId, Workload};
use gatewatch_policy::diagnostic::Diagnostic;

use super::Cluster;

/// Time after which an admitted change that no watch has received has failed. Other webhooks may take 30 s to answer
/// (the API's limit of `timeoutSeconds`), and storing and watching take a moment.
const FAILED_AFTER: Duration = Duration::from_secs(40);

/// A change of an object that required coverage depends on.
#[derive(Clone, Debug)]
pub enum AdmittedChange {
    /// A policy is changed, or deleted if `new` is `None`.
    Policy {
        /// The policy as it is.
        old: Box<IndexedPolicy>,
        /// The policy as it will be.
        new: Option<Box<IndexedPolicy>>,
    },
    /// A pod or an object with a template is created or changed.
    Workload(Box<Workload>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Policy(PolicyId),
    /// Kind, namespace and name.
    Workload(String, String, String),
}

/// When each change was admitted last.
#[derive(Debug, Default)]
pub(super) struct Admissions(HashMap<Key, Instant>);

impl AdmittedChange {
    fn key(&self) -> Key {
        match self {
            Self::Policy { old, .. } => Key::Policy(old.id.clone()),
            Self::Workload(workload) => {
                Key::Workload(workload.kind.clone(), workload.shape.namespace.clone(), workload.name.clone())
            }
        }
    }

    /// The diagnostics that decide whether coverage stays as required.
    fn check(&self, index: &Index, limits: &Limits) -> Vec<Diagnostic> {
        match self {
            Self::Policy { old, new } => index.on_policy_change(old, new.as_deref()),
            Self::Workload(workload) => index.required_coverage(workload, limits).into_iter().collect(),
        }
    }

    fn remember(&self, index: &mut Index) {
        match self {
            Self::Policy { old, new } => index.admit_policy(&old.id, new.as_deref()),
            Self::Workload(workload) => index.admit_workload(workload),
        }
    }
}

impl Cluster {
    /// Checks required coverage once more, together with everything that was admitted since, and remembers the change if
    /// `accepts` the diagnostics. If not, returns them.
    pub fn admit(
        &self,
        change: &AdmittedChange,
        limits: &Limits,
        accepts: impl FnOnce(&[Diagnostic]) -> bool,
    ) -> Result<(), Vec<Diagnostic>> {
        // Nothing changes between the check and the note.
        let mut index = self.index.write();
        let found = change.check(&index, limits);
        if !accepts(&found) {
            return Err(found);
        }
        change.remember(&mut index);
        self.admissions.lock().0.insert(change.key(), Instant::now());
        Ok(())
    }

    /// Forgets admitted changes that have failed.
    pub fn forget_failed_admissions(&self) {
        self.forget_admissions_before(FAILED_AFTER);
    }

    fn forget_admissions_before(&self, limit: Duration) {
        let mut admissions = self.admissions.lock();
        let failed: Vec<Key> =
            admissions.0.extract_if(|_, since| since.elapsed() >= limit).map(|(key, _)| key).collect();
        drop(admissions);
        if failed.is_empty() {
            return;
        }
        let mut index = self.index.write();
        for key in failed {
            match key {
                Key::Policy(id) => index.forget_admitted_policy(&id),
                Key::Workload(kind, namespace, name) => {
                    index.forget_admitted_workload(&kind, &namespace, &name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::{assess::Checked, source::parse};

    use super::*;

    #[test]
    fn a_change_that_has_failed_is_forgotten() {
        let cluster = Cluster::default();
        let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: {kprobes: [{call: sys_dup}]}\n";
        let policy = IndexedPolicy::new(&Checked::of(&parse(text)[0]).unwrap().policy, "default");
        let change = AdmittedChange::Policy { old: Box::new(policy), new: None };
        assert!(cluster.admit(&change, &Limits::none(), |_| false).is_err());
        assert_eq!(cluster.with_index(Index::admitted_count), 0);
        assert!(cluster.admit(&change, &Limits::none(), |_| true).is_ok());
        cluster.forget_failed_admissions();
        assert_eq!(cluster.with_index(Index::admitted_count), 1);
        cluster.forget_admissions_before(Duration::ZERO);
        assert_eq!(cluster.with_index(Index::admitted_count), 0);
    }
}
