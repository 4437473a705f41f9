//! What the watching tasks have found and the agent hasn't taken yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    policy_dir::DirError,
    sources::{Change, Source},
};

/// A kind of objects that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objects {
    /// `TracingPolicy`.
    Policies,
    /// `TracingPolicyNamespaced`.
    NamespacedPolicies,
    /// The node's pods.
    Pods,
    /// The node.
    Node,
    /// The `ConfigMap` of enforcement.
    Enforcement,
}

impl Objects {
    const ALL: [Self; 5] =
        [Self::Policies, Self::NamespacedPolicies, Self::Pods, Self::Node, Self::Enforcement];

    /// As people call them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "TracingPolicies",
            Self::NamespacedPolicies => "TracingPoliciesNamespaced",
            Self::Pods => "the pods of this node",
            Self::Node => "this node",
            Self::Enforcement => "the ConfigMap of enforcement",
        }
    }
}

/// Changes on their way from the tasks to the agent.
#[derive(Clone, Debug, Default)]
pub struct Queue(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    changes: Vec<Change>,
    /// Kinds that were listed once.
    listed: BTreeSet<Objects>,
    problems: BTreeMap<Objects, String>,
}

impl Queue {
    /// Something has changed.
    pub fn push(&self, change: Change) {
        self.inner().changes.push(change);
    }

    /// Everything that there is of a kind was given.
    pub fn listed(&self, objects: Objects) {
        self.inner().listed.insert(objects);
    }

    /// Whether everything that there is of a kind was given once.
    pub fn is_listed(&self, objects: Objects) -> bool {
        self.inner().listed.contains(&objects)
    }

    /// A kind can't be watched now, and why.
    pub fn problem(&self, objects: Objects, why: &str) {
        let before = self.inner().problems.insert(objects, why.to_owned());
        if before.as_deref() != Some(why) {
            let what = objects.as_str();
            tracing::error!("cannot watch {what}: {why}; the last known state stays in force");
        }
    }

    /// A kind is watched.
    pub fn well(&self, objects: Objects) {
        if self.inner().problems.remove(&objects).is_some() {
            tracing::info!("watching {} again", objects.as_str());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Queue {
    fn poll(&mut self) -> Result<Vec<Change>, DirError> {
        Ok(std::mem::take(&mut self.inner().changes))
    }

    fn complete(&self) -> bool {
        let inner = self.inner();
        // What was listed has to be taken as well.
        inner.changes.is_empty() && Objects::ALL.iter().all(|objects| inner.listed.contains(objects))
    }

    fn pods_current(&self) -> bool {
        let inner = self.inner();
        inner.listed.contains(&Objects::Pods) && !inner.problems.contains_key(&Objects::Pods)
    }

    fn problems(&self) -> u64 {
        u64::try_from(self.inner().problems.len()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_when_all_is_listed_and_taken() {
        let mut queue = Queue::default();
        for objects in [Objects::Policies, Objects::NamespacedPolicies, Objects::Node, Objects::Enforcement] {
            queue.listed(objects);
        }
        assert!(!queue.complete());
        queue.push(Change::Pods(Vec::new()));
        queue.listed(Objects::Pods);
        assert!(!queue.complete(), "nobody has taken the pods yet");
        assert_eq!(queue.poll().unwrap().len(), 1);
        assert!(queue.complete());
    }

    #[test]
    fn problems_come_and_go() {
        let queue = Queue::default();
        queue.problem(Objects::Pods, "away");
        queue.problem(Objects::Pods, "still away");
        assert!(!queue.pods_current());
        assert_eq!(queue.problems(), 1);
        queue.well(Objects::Pods);
        assert_eq!(queue.problems(), 0);
        assert!(!queue.pods_current(), "they were never listed");
        queue.listed(Objects::Pods);
        queue.problem(Objects::Policies, "away");
        assert!(queue.pods_current());
    }
}
