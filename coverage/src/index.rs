//! The index: receives changes and answers queries.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    admitted::Admitted,
    applications::Applications,
    indexed_policy::{IndexedPolicy, PolicyId},
    policies::Policies,
    selection::Selection,
    shape::{Relabel, Shape, Workload},
    workloads::{Group, Workloads},
};

/// The annotation by which a namespace requires that a policy selects every pod in it: `"true"`.
pub const REQUIRE_COVERAGE: &str = "gatewatch.dev/require-coverage";

/// Policies, pods, templates and namespaces.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(crate) policies: Policies,
    pub(crate) workloads: Workloads,
    pub(crate) applications: Applications,
    pub(crate) admitted: Admitted,
    /// Whether it is known which policies a node runs. If not, every policy counts as coverage.
    knows_loaded: bool,
    /// All known namespaces, and whether each requires coverage.
    requires_coverage: HashMap<String, bool>,
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a policy, or replaces the one with its name. If it is known which policies a node runs, this one does not
    /// count as coverage until [`set_loaded`](Self::set_loaded).
    pub fn apply_policy(&mut self, policy: IndexedPolicy) {
        self.admitted.policy_is(&policy.id, Some(&policy.scope));
        self.policies.apply(policy, !self.knows_loaded);
    }

    /// Sets whether it is known which policies a node runs. If it is, policies do not count as coverage until
    /// [`set_loaded`](Self::set_loaded).
    pub fn know_loaded(&mut self, known: bool) {
        if self.knows_loaded != known {
            self.knows_loaded = known;
            self.policies.set_all_loaded(!known);
        }
    }

    /// Whether it is known which policies a node runs.
    pub fn knows_loaded(&self) -> bool {
        self.knows_loaded
    }

    /// Sets whether a node runs a policy.
    pub fn set_loaded(&mut self, id: &PolicyId, loaded: bool) {
        self.policies.set_loaded(id, loaded || !self.knows_loaded);
    }

    /// Removes a policy, and returns it.
    pub fn delete_policy(&mut self, id: &PolicyId) -> Option<IndexedPolicy> {
        self.admitted.policy_is(id, None);
        self.policies.delete(id)
    }

    /// Replaces all policies.
    pub fn reset_policies(&mut self, all: impl IntoIterator<Item = IndexedPolicy>) {
        self.policies.clear();
        for policy in all {
            self.apply_policy(policy);
        }
    }

    /// Adds a pod or an object with a template, or replaces the one with its kind, namespace and name.
    pub fn apply_workload(&mut self, workload: &Workload) {
        self.admitted.workload_is(workload);
        self.workloads.apply(workload);
        self.applications.apply(workload);
    }

    /// Removes a pod or an object with a template.
    pub fn delete_workload(&mut self, kind: &str, namespace: &str, name: &str) {
        self.admitted.workload_is_gone(kind, namespace, name);
        self.workloads.delete(kind, namespace, name);
        self.applications.delete(kind, namespace, name);
    }

    /// Replaces all objects of a kind. Objects of another kind in `all` are added.
    pub fn reset_workloads<'a>(&mut self, kind: &str, all: impl IntoIterator<Item = &'a Workload>) {
        self.workloads.clear(kind);
        self.applications.clear(kind);
        for workload in all {
            self.apply_workload(workload);
        }
    }

    /// Adds or replaces a namespace by its annotations.
    pub fn apply_namespace(&mut self, name: &str, annotations: &BTreeMap<String, String>) {
        self.requires_coverage.insert(name.to_owned(), requires_coverage(annotations));
    }

    /// Removes a namespace.
    pub fn delete_namespace(&mut self, name: &str) {
        self.requires_coverage.remove(name);
    }

    /// Replaces all namespaces: names and annotations.
    pub fn reset_namespaces<'a>(
        &mut self,
        all: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    ) {
        self.requires_coverage.clear();
        for (name, annotations) in all {
            self.apply_namespace(name, annotations);
        }
    }

    /// A known policy.
    pub fn policy(&self, id: &PolicyId) -> Option<&IndexedPolicy> {
        self.policies.find(id)
    }

    /// All policies, in no order.
    pub fn policies(&self) -> impl Iterator<Item = &IndexedPolicy> {
        self.policies.iter()
    }

    /// The number of policies.
    pub fn policy_count(&self) -> usize {
        self.policies.len()
    }

    /// All pods and templates, by namespace.
    pub fn workloads(&self) -> Selection {
        let mut all = Selection::default();
        for (name, namespace) in &self.workloads.namespaces {
            all.add(name, namespace.tally);
        }
        all
    }

    /// The shape of a known pod or template.
    pub fn shape_of(&self, kind: &str, namespace: &str, name: &str) -> Option<&Shape> {
        self.workloads.shape_of(kind, namespace, name)
    }

    /// Whether a namespace requires that a policy selects every pod in it.
    pub fn requires_coverage(&self, namespace: &str) -> bool {
        self.requires_coverage.get(namespace).copied().unwrap_or(false)
    }

    /// The pods and templates that a policy selects now. The policy need not be in the index.
    pub fn selection(&self, policy: &IndexedPolicy) -> Selection {
        policy.scope.pods.as_ref().map(|scope| self.workloads.select(scope)).unwrap_or_default()
    }

    /// The policies that select a pod or template, in order. The workload need not be in the index.
    pub fn selecting_policies(&self, shape: &Shape) -> BTreeSet<&PolicyId> {
        self.policies.selecting_policies(shape)
    }

    /// Whether a policy covers a shape: it selects the shape, a node runs it, and no admitted change ends that.
    /// `except` does not count.
    pub(crate) fn is_covered(&self, shape: &Shape, except: &[&PolicyId]) -> bool {
        self.policies.loaded_policies(shape).any(|id| !except.contains(&id) && self.admitted.keeps(id, shape))
    }

    /// The policies that would select a shape with this label, which it lacks or has with another value.
    pub(crate) fn policies_gained(&self, shape: &Shape, key: &str, value: &str) -> Vec<PolicyId> {
        if shape.labels.get(key).is_some_and(|has| has == value) {
            return Vec::new();
        }
        let relabel = Relabel { removed: key, key, value };
        self.policies.gained(shape, relabel).into_iter().cloned().collect()
    }

    /// The pods that no policy covers, in namespaces that require coverage.
    pub fn uncovered(&self) -> Selection {
        let mut found = Selection::default();
        for name in self.workloads.namespaces.keys().filter(|name| self.requires_coverage(name)) {
            for group in self.uncovered_in(name) {
                found.add(name, group.tally);
            }
        }
        found
    }

    /// The groups of a namespace that no policy covers.
    pub(crate) fn uncovered_in(&self, namespace: &str) -> impl Iterator<Item = &Group> {
        let ids = self.workloads.in_namespace(namespace).into_iter().flatten();
        let groups = ids.filter_map(|id| self.workloads.group(*id));
        groups.filter(|group| !self.is_covered(&group.shape, &[]))
    }

    /// Remembers an admitted change of a policy, or its deletion (`None`), until the index has it.
    pub fn admit_policy(&mut self, id: &PolicyId, after: Option<&IndexedPolicy>) {
        self.admitted.admit_policy(id, after.map(|policy| policy.scope.clone()));
    }

    /// Remembers an admitted pod or template, until the index has it.
    pub fn admit_workload(&mut self, workload: &Workload) {
        self.admitted.admit_workload(workload);
    }

    /// Forgets the admitted changes of a policy: they have failed.
    pub fn forget_admitted_policy(&mut self, id: &PolicyId) {
        self.admitted.forget_policy(id);
    }

    /// Forgets the admitted changes of a pod or template: they have failed.
    pub fn forget_admitted_workload(&mut self, kind: &str, namespace: &str, name: &str) {
        self.admitted.workload_is_gone(kind, namespace, name);
    }

    /// The number of objects with admitted changes that the index does not have yet.
    pub fn admitted_count(&self) -> usize {
        self.admitted.count()
    }
}

/// Whether a namespace with these annotations requires that a policy selects every pod in it.
pub fn requires_coverage(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(REQUIRE_COVERAGE).is_some_and(|value| value == "true")
}
