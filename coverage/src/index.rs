//! The index: told of changes, asked questions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::classes::{Class, Classes};
use crate::policies::Policies;
use crate::select::Selection;
use crate::shape::{Shape, Workload};
use crate::siblings::Families;
use crate::watch::{PolicyId, Watch};

/// The annotation by which a namespace asks that every pod in it is watched: `"true"`.
pub const REQUIRE_COVERAGE: &str = "gatewatch.dev/require-coverage";

/// Policies, pods, templates and namespaces.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(crate) policies: Policies,
    pub(crate) classes: Classes,
    pub(crate) families: Families,
    /// Namespaces in which every pod has to be watched, and all others that are known.
    namespaces: HashMap<String, bool>,
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a policy or replaces the one of its name.
    pub fn apply_policy(&mut self, watch: Watch) {
        self.policies.apply(watch);
    }

    /// Forgets a policy; gives what it was.
    pub fn delete_policy(&mut self, id: &PolicyId) -> Option<Watch> {
        self.policies.delete(id)
    }

    /// Replaces all policies.
    pub fn reset_policies(&mut self, all: impl IntoIterator<Item = Watch>) {
        self.policies.clear();
        for watch in all {
            self.policies.apply(watch);
        }
    }

    /// Adds a pod or an object with a template, or replaces the one of its kind, namespace and name.
    pub fn apply_workload(&mut self, workload: &Workload) {
        self.classes.apply(workload);
        self.families.apply(workload);
    }

    /// Forgets a pod or an object with a template.
    pub fn delete_workload(&mut self, kind: &str, namespace: &str, name: &str) {
        self.classes.delete(kind, namespace, name);
        self.families.delete(kind, namespace, name);
    }

    /// Replaces all objects of a kind; those of another kind among `all` are added.
    pub fn reset_workloads<'a>(&mut self, kind: &str, all: impl IntoIterator<Item = &'a Workload>) {
        self.classes.clear(kind);
        self.families.clear(kind);
        for workload in all {
            self.apply_workload(workload);
        }
    }

    /// Adds a namespace, by its annotations.
    pub fn apply_namespace(&mut self, name: &str, annotations: &BTreeMap<String, String>) {
        self.namespaces.insert(name.to_owned(), requires_coverage(annotations));
    }

    /// Forgets a namespace.
    pub fn delete_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Replaces all namespaces: names and annotations.
    pub fn reset_namespaces<'a>(
        &mut self,
        all: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    ) {
        self.namespaces.clear();
        for (name, annotations) in all {
            self.apply_namespace(name, annotations);
        }
    }

    /// A policy that is known.
    pub fn policy(&self, id: &PolicyId) -> Option<&Watch> {
        self.policies.find(id)
    }

    /// All policies, in no order.
    pub fn policies(&self) -> impl Iterator<Item = &Watch> {
        self.policies.iter()
    }

    /// How many policies there are.
    pub fn policy_count(&self) -> usize {
        self.policies.len()
    }

    /// The pods and templates that there are, by namespace.
    pub fn workloads(&self) -> Selection {
        let mut all = Selection::default();
        for (name, namespace) in &self.classes.namespaces {
            all.add(name, namespace.tally);
        }
        all
    }

    /// What a pod or template that is known looks like to selectors.
    pub fn shape_of(&self, kind: &str, namespace: &str, name: &str) -> Option<&Shape> {
        self.classes.shape_of(kind, namespace, name)
    }

    /// Whether a namespace asks that every pod in it is watched.
    pub fn requires_coverage(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).copied().unwrap_or(false)
    }

    /// The pods and templates that a policy, known or not, selects now.
    pub fn selection(&self, watch: &Watch) -> Selection {
        watch.scope.pods.as_ref().map(|scope| self.classes.select(scope)).unwrap_or_default()
    }

    /// The policies that select a pod or template, known or not, in order.
    pub fn selecting(&self, shape: &Shape) -> BTreeSet<&PolicyId> {
        self.policies.selecting(shape)
    }

    /// The pods of namespaces that require coverage which no policy selects.
    pub fn uncovered(&self) -> Selection {
        let mut found = Selection::default();
        for name in self.classes.namespaces.keys().filter(|name| self.requires_coverage(name)) {
            for class in self.uncovered_in(name) {
                found.add(name, class.tally);
            }
        }
        found
    }

    /// What of a namespace no policy selects.
    pub(crate) fn uncovered_in(&self, namespace: &str) -> impl Iterator<Item = &Class> {
        let ids = self.classes.in_namespace(namespace).into_iter().flatten();
        let classes = ids.filter_map(|id| self.classes.class(*id));
        classes.filter(|class| self.policies.selecting(&class.shape).is_empty())
    }
}

/// Whether a namespace with these annotations asks that every pod in it is watched.
pub fn requires_coverage(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(REQUIRE_COVERAGE).is_some_and(|value| value == "true")
}
