//! The pods and workloads that a policy selects.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use gatewatch_policy::model::{LabelOperator, LabelSelector};
use gatewatch_policy::scope::PodScope;

use crate::classes::{Class, Classes, Namespace};
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

/// What a scope asks for, as sets of classes: a question that is answered without a look at what is in them costs a
/// small part of one for which each class's labels are fetched from wherever they are in memory.
#[derive(Default)]
struct Asked<'a> {
    /// Of each a class has to be in one.
    wanted: Vec<Vec<&'a Ids>>,
    /// It may be in none of these.
    unwanted: Vec<&'a Ids>,
    /// It may be in one of these, if its shape says so.
    doubtful: Vec<&'a Ids>,
    /// Whether the sets let through what isn't selected, so that shapes have to be looked at.
    loose: bool,
}

impl<'a> Asked<'a> {
    /// Takes out what has the fewest classes of all that is wanted. `None` where nothing has to be there.
    fn take_fewest(&mut self) -> Option<Vec<&'a Ids>> {
        let size = |sets: &[&Ids]| sets.iter().map(|ids| ids.len()).sum::<usize>();
        let (fewest, _) = self.wanted.iter().enumerate().min_by_key(|(_, sets)| size(sets))?;
        Some(self.wanted.swap_remove(fewest))
    }

    fn lets_through(&self, id: u32) -> bool {
        let among = |sets: &[&Ids]| sets.iter().any(|ids| ids.contains(&id));
        self.wanted.iter().all(|sets| among(sets)) && !among(&self.unwanted)
    }
}

impl Classes {
    /// What a scope selects.
    pub(crate) fn select(&self, scope: &PodScope) -> Selection {
        let mut selection = Selection::default();
        let asked = self.asked(scope);
        if !asked.wanted.is_empty() || scope.containers.is_some() {
            for class in self.selected_of(asked, scope) {
                selection.add(&class.namespace, class.tally);
            }
            return selection;
        }
        // Nothing has to be there: everything, without what must not be.
        for (name, namespace) in self.within(scope) {
            selection.add(name, namespace.tally);
        }
        // Where there is a selector of labels, a namespace would be among what has to be there. So these are of all.
        let excluded: Ids = asked.unwanted.into_iter().chain(asked.doubtful).flatten().copied().collect();
        for class in excluded.into_iter().filter_map(|id| self.class(id)) {
            if !asked.loose || !class.shape.is_selected_by(scope) {
                selection.subtract(&class.namespace, class.tally);
            }
        }
        selection
    }

    /// The classes that a scope selects.
    pub(crate) fn selected(&self, scope: &PodScope) -> impl Iterator<Item = &Class> {
        self.selected_of(self.asked(scope), scope)
    }

    fn selected_of(&self, mut asked: Asked<'_>, scope: &PodScope) -> impl Iterator<Item = &Class> {
        let candidates = asked
            .take_fewest()
            .unwrap_or_else(|| self.within(scope).map(|(_, namespace)| &namespace.classes).collect());
        // Put together, since one class may be in several of them.
        let found: Ids =
            candidates.into_iter().flatten().copied().filter(|id| asked.lets_through(*id)).collect();
        let classes = found.into_iter().filter_map(|id| self.class(id));
        classes.filter(move |class| !asked.loose || class.shape.is_selected_by(scope))
    }

    /// The namespaces that a scope is for.
    fn within(&self, scope: &PodScope) -> impl Iterator<Item = (&str, &Namespace)> {
        let namespaces = self.namespaces.iter().map(|(name, namespace)| (&**name, namespace));
        namespaces.filter(|(name, _)| scope.namespace.as_ref().is_none_or(|wanted| wanted == name))
    }

    /// A scope as sets. What they say has to be what [`PodScope`] says of each pod: tests/reference.rs.
    fn asked(&self, scope: &PodScope) -> Asked<'_> {
        let mut asked = Asked { loose: scope.containers.is_some(), ..Asked::default() };
        if let Some(selector) = &scope.pods {
            self.asked_of_labels(selector, &mut asked);
        }
        // A pod is selected for one container that has all, and the sets tell which pods have each in some container.
        for term in scope.containers.iter().flat_map(terms) {
            let ids = term.values.iter().filter_map(|value| self.containers.get(term.key, value));
            asked.wanted.push(ids.chain([&self.unknown_containers]).collect());
        }
        // Of a namespace alone it is known how much there is.
        if let Some(namespace) = &scope.namespace
            && !(asked.wanted.is_empty() && scope.pods.is_none())
        {
            asked.wanted.push(self.in_namespace(namespace).into_iter().collect());
        }
        asked
    }

    /// Adds what a selector of labels asks for. A label of the synthetic key wins over the namespace that the key
    /// stands for, which no set tells.
    fn asked_of_labels<'a>(&'a self, selector: &LabelSelector, asked: &mut Asked<'a>) {
        for term in terms(selector) {
            let mut ids: Vec<&Ids> =
                term.values.iter().filter_map(|value| self.labels.get(term.key, value)).collect();
            if is_synthetic(term.key) {
                ids.extend(term.values.iter().filter_map(|value| self.in_namespace(value)));
                asked.loose = true;
            }
            asked.wanted.push(ids);
        }
        // Every pod has the synthetic key.
        for key in required_keys(selector).filter(|key| !is_synthetic(key)) {
            asked.wanted.push(self.labels.key(key).map(|key| &key.ids).into_iter().collect());
        }
        for expression in &selector.match_expressions {
            let key = &expression.key;
            match expression.operator {
                LabelOperator::DoesNotExist if is_synthetic(key) => {
                    asked.unwanted.extend(self.namespaces.values().map(|namespace| &namespace.classes));
                }
                LabelOperator::DoesNotExist => {
                    asked.unwanted.extend(self.labels.key(key).map(|key| &key.ids));
                }
                LabelOperator::NotIn => {
                    let values = expression.values.iter();
                    asked.unwanted.extend(values.clone().filter_map(|value| self.labels.get(key, value)));
                    if is_synthetic(key) {
                        asked.doubtful.extend(values.filter_map(|value| self.in_namespace(value)));
                        asked.loose = true;
                    }
                }
                LabelOperator::In | LabelOperator::Exists => {}
            }
        }
    }
}
