//! What a policy selects.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{AddAssign, SubAssign};

use gatewatch_policy::model::{LabelOperator, LabelSelector};
use gatewatch_policy::scope::PodScope;

use crate::classes::{Class, Classes};
use crate::table::Ids;
use crate::watch::{is_synthetic, required_keys, terms};

/// Numbers of pods and of templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pods.
    pub pods: usize,
    /// Objects with a template of pods.
    pub workloads: usize,
}

impl Tally {
    pub(crate) fn one(pod: bool) -> Self {
        Self { pods: usize::from(pod), workloads: usize::from(!pod) }
    }

    /// Whether it is none at all.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.pods += other.pods;
        self.workloads += other.workloads;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.pods = self.pods.saturating_sub(other.pods);
        self.workloads = self.workloads.saturating_sub(other.workloads);
    }
}

/// Pods and templates, by namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Namespaces in which there are any.
    pub by_namespace: BTreeMap<String, Tally>,
}

impl Selection {
    /// Of all namespaces together.
    pub fn total(&self) -> Tally {
        self.by_namespace.values().fold(Tally::default(), |mut sum, tally| {
            sum += *tally;
            sum
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_namespace.is_empty()
    }

    pub(crate) fn add(&mut self, namespace: &str, tally: Tally) {
        if tally.is_empty() {
            return;
        }
        match self.by_namespace.get_mut(namespace) {
            Some(sum) => *sum += tally,
            None => _ = self.by_namespace.insert(namespace.to_owned(), tally),
        }
    }

    fn subtract(&mut self, namespace: &str, tally: Tally) {
        if let Some(sum) = self.by_namespace.get_mut(namespace) {
            *sum -= tally;
            if sum.is_empty() {
                self.by_namespace.remove(namespace);
            }
        }
    }
}

impl Classes {
    /// What a scope selects.
    pub(crate) fn select(&self, scope: &PodScope) -> Selection {
        let mut selection = Selection::default();
        let candidates = self.candidates(scope);
        if candidates.is_some() || scope.containers.is_some() {
            for (_, class) in self.selected_of(candidates, scope) {
                selection.add(&class.shape.namespace, class.tally);
            }
            return selection;
        }
        // Nothing has to be there: everything, without what must not be.
        for (name, namespace) in &self.namespaces {
            if scope.namespace.as_ref().is_none_or(|wanted| **wanted == **name) {
                selection.add(name, namespace.tally);
            }
        }
        let excluded = scope.pods.as_ref().map(|selector| self.excluded(selector)).unwrap_or_default();
        for class in excluded.into_iter().filter_map(|id| self.class(id)) {
            let namespace = &class.shape.namespace;
            let counted = scope.namespace.as_ref().is_none_or(|wanted| wanted == namespace);
            if counted && !class.shape.is_selected_by(scope) {
                selection.subtract(namespace, class.tally);
            }
        }
        selection
    }

    /// The classes that a scope selects.
    pub(crate) fn selected(&self, scope: &PodScope) -> BTreeSet<u32> {
        self.selected_of(self.candidates(scope), scope).map(|(id, _)| id).collect()
    }

    /// The classes that a scope selects of its [candidates](Self::candidates); without such, of its namespace or of all.
    fn selected_of(&self, candidates: Option<Ids>, scope: &PodScope) -> impl Iterator<Item = (u32, &Class)> {
        let candidates = candidates.unwrap_or_else(|| {
            let within = |name: &str| scope.namespace.as_ref().is_none_or(|wanted| wanted == name);
            let namespaces = self.namespaces.iter().filter(|(name, _)| within(name));
            namespaces.flat_map(|(_, namespace)| namespace.classes.iter().copied()).collect()
        });
        let classes = candidates.into_iter().filter_map(|id| Some((id, self.class(id)?)));
        classes.filter(|(_, class)| class.shape.is_selected_by(scope))
    }

    /// The fewest classes among which all are that a scope selects; `None` where it asks for nothing in particular.
    fn candidates(&self, scope: &PodScope) -> Option<Ids> {
        let in_namespace = |name: &str| self.namespaces.get(name).map(|namespace| &namespace.classes);
        let mut choices: Vec<Vec<&Ids>> = Vec::new();
        if let Some(selector) = &scope.pods {
            for term in terms(selector) {
                let mut ids: Vec<&Ids> =
                    term.values.iter().filter_map(|value| self.labels.get(term.key, value)).collect();
                if is_synthetic(term.key) {
                    ids.extend(term.values.iter().filter_map(|value| in_namespace(value)));
                }
                choices.push(ids);
            }
            for key in required_keys(selector).filter(|key| !is_synthetic(key)) {
                choices.push(self.labels.key(key).map(|key| &key.ids).into_iter().collect());
            }
        }
        for term in scope.containers.iter().flat_map(terms) {
            let ids = term.values.iter().filter_map(|value| self.containers.get(term.key, value));
            choices.push(ids.chain([&self.unknown_containers]).collect());
        }
        if let Some(namespace) = &scope.namespace
            && !(choices.is_empty() && scope.pods.is_none())
        {
            choices.push(in_namespace(namespace).into_iter().collect());
        }
        let size = |choice: &Vec<&Ids>| choice.iter().map(|ids| ids.len()).sum::<usize>();
        let fewest = choices.into_iter().min_by_key(size)?;
        Some(fewest.into_iter().flatten().copied().collect())
    }

    /// The classes that the entries of a selector may exclude which ask for something not to be there.
    fn excluded(&self, selector: &LabelSelector) -> Ids {
        let mut found = Ids::new();
        for expression in &selector.match_expressions {
            let key = &expression.key;
            match expression.operator {
                LabelOperator::DoesNotExist if is_synthetic(key) => {
                    // Every pod has it.
                    found.extend(self.namespaces.values().flat_map(|n| &n.classes));
                }
                LabelOperator::DoesNotExist => {
                    found.extend(self.labels.key(key).into_iter().flat_map(|key| &key.ids));
                }
                LabelOperator::NotIn => {
                    for value in &expression.values {
                        found.extend(self.labels.get(key, value).into_iter().flatten());
                        if is_synthetic(key)
                            && let Some(namespace) = self.namespaces.get(value.as_str())
                        {
                            found.extend(&namespace.classes);
                        }
                    }
                }
                LabelOperator::In | LabelOperator::Exists => {}
            }
        }
        found
    }
}
