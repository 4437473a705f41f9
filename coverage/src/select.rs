//! Computes the pods and workloads that a policy selects.

use gatewatch_policy::{
    model::{LabelOperator, LabelSelector},
    scope::PodScope,
};

use crate::{
    label_index::IdSet,
    selection::Selection,
    terms::{is_synthetic, required_keys, terms},
    workloads::{Group, NamespaceEntry, Workloads},
};

/// The conditions of a scope as sets of groups. Comparing sets is much cheaper than loading the labels of each group
/// from all over the memory.
#[derive(Default)]
struct Query<'a> {
    /// A group must be in one set of each.
    required: Vec<Vec<&'a IdSet>>,
    /// A group must be in none of these.
    excluded: Vec<&'a IdSet>,
    /// A group in one of these may be excluded. Its shape decides.
    maybe_excluded: Vec<&'a IdSet>,
    /// Whether the sets include groups that are not selected, so that shapes must be checked.
    inexact: bool,
}

impl<'a> Query<'a> {
    /// Removes and returns the required sets with the fewest groups. `None` if nothing is required.
    fn take_fewest(&mut self) -> Option<Vec<&'a IdSet>> {
        let size = |sets: &[&IdSet]| sets.iter().map(|ids| ids.len()).sum::<usize>();
        let (fewest, _) = self.required.iter().enumerate().min_by_key(|(_, sets)| size(sets))?;
        Some(self.required.swap_remove(fewest))
    }

    fn includes(&self, id: u32) -> bool {
        let among = |sets: &[&IdSet]| sets.iter().any(|ids| ids.contains(&id));
        self.required.iter().all(|sets| among(sets)) && !among(&self.excluded)
    }
}

impl Workloads {
    /// The pods and templates that a scope selects.
    pub(crate) fn select(&self, scope: &PodScope) -> Selection {
        let mut selection = Selection::default();
        let query = self.query(scope);
        if !query.required.is_empty() || scope.containers.is_some() {
            for group in self.selected_of(query, scope) {
                selection.add(&group.namespace, group.tally);
            }
            return selection;
        }
        // Nothing is required: everything, minus the excluded groups.
        for (name, namespace) in self.within(scope) {
            selection.add(name, namespace.tally);
        }
        // With a label selector, a namespace would be required. So these are the sets of all namespaces.
        let excluded: IdSet =
            query.excluded.into_iter().chain(query.maybe_excluded).flatten().copied().collect();
        for group in excluded.into_iter().filter_map(|id| self.group(id)) {
            if !query.inexact || !group.shape.is_selected_by(scope) {
                selection.subtract(&group.namespace, group.tally);
            }
        }
        selection
    }

    /// The groups that a scope selects.
    pub(crate) fn selected(&self, scope: &PodScope) -> impl Iterator<Item = &Group> {
        self.selected_of(self.query(scope), scope)
    }

    fn selected_of(&self, mut query: Query<'_>, scope: &PodScope) -> impl Iterator<Item = &Group> {
        let candidates = query
            .take_fewest()
            .unwrap_or_else(|| self.within(scope).map(|(_, namespace)| &namespace.groups).collect());
        // Merged, because one group can be in several of them.
        let found: IdSet =
            candidates.into_iter().flatten().copied().filter(|id| query.includes(*id)).collect();
        let groups = found.into_iter().filter_map(|id| self.group(id));
        groups.filter(move |group| !query.inexact || group.shape.is_selected_by(scope))
    }

    /// The namespaces that a scope applies to.
    fn within(&self, scope: &PodScope) -> impl Iterator<Item = (&str, &NamespaceEntry)> {
        let namespaces = self.namespaces.iter().map(|(name, namespace)| (&**name, namespace));
        namespaces.filter(|(name, _)| scope.namespace.as_ref().is_none_or(|wanted| wanted == name))
    }

    /// A scope as sets. They must select the same pods as [`PodScope`], which `tests/reference.rs` checks.
    fn query(&self, scope: &PodScope) -> Query<'_> {
        let mut query = Query { inexact: scope.containers.is_some(), ..Query::default() };
        if let Some(selector) = &scope.pods {
            self.add_label_conditions(selector, &mut query);
        }
        // A pod is selected if one container meets all conditions. The sets contain the pods with each in some container.
        for term in scope.containers.iter().flat_map(terms) {
            let ids = term.values.iter().filter_map(|value| self.containers.get(term.key, value));
            query.required.push(ids.chain([&self.unknown_containers]).collect());
        }
        // For a namespace alone the number is known.
        if let Some(namespace) = &scope.namespace
            && !(query.required.is_empty() && scope.pods.is_none())
        {
            query.required.push(self.in_namespace(namespace).into_iter().collect());
        }
        query
    }

    /// Adds the conditions of a label selector. A real label with the synthetic key overrides the namespace that the key
    /// means, which the sets do not contain.
    fn add_label_conditions<'a>(&'a self, selector: &LabelSelector, query: &mut Query<'a>) {
        for term in terms(selector) {
            let mut ids: Vec<&IdSet> =
                term.values.iter().filter_map(|value| self.labels.get(term.key, value)).collect();
            if is_synthetic(term.key) {
                ids.extend(term.values.iter().filter_map(|value| self.in_namespace(value)));
                query.inexact = true;
            }
            query.required.push(ids);
        }
        // Every pod has the synthetic key.
        for key in required_keys(selector).filter(|key| !is_synthetic(key)) {
            query.required.push(self.labels.key(key).map(|key| &key.ids).into_iter().collect());
        }
        for expression in &selector.match_expressions {
            let key = &expression.key;
            match expression.operator {
                LabelOperator::DoesNotExist if is_synthetic(key) => {
                    query.excluded.extend(self.namespaces.values().map(|namespace| &namespace.groups));
                }
                LabelOperator::DoesNotExist => {
                    query.excluded.extend(self.labels.key(key).map(|key| &key.ids));
                }
                LabelOperator::NotIn => {
                    let values = expression.values.iter();
                    query.excluded.extend(values.clone().filter_map(|value| self.labels.get(key, value)));
                    if is_synthetic(key) {
                        query.maybe_excluded.extend(values.filter_map(|value| self.in_namespace(value)));
                        query.inexact = true;
                    }
                }
                LabelOperator::In | LabelOperator::Exists => {}
            }
        }
    }
}
