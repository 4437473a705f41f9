//! Policies, indexed by the labels that they select.

use std::collections::{BTreeSet, HashMap};

use gatewatch_policy::scope::PodScope;

use crate::shape::{Change, Shape};
use crate::table::{Ids, Table};
use crate::watch::{PolicyId, Watch, is_synthetic, required_keys, terms};

/// What of a policy is looked up first: only shapes that have it can be selected.
#[derive(Clone, Debug)]
enum Anchor {
    /// A label with one of these values.
    Label { key: String, values: Vec<String> },
    /// A label with any value.
    Key(String),
    /// A namespace.
    Namespace(String),
    /// Nothing in particular.
    Anything,
    /// It watches no pods.
    Nothing,
}

#[derive(Clone, Debug)]
struct Slot {
    watch: Watch,
    anchor: Anchor,
}

/// All policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_id: HashMap<PolicyId, u32>,
    /// By name alone: those of all namespaces and of the cluster.
    pub(crate) by_name: HashMap<String, Ids>,
    /// The labels that have to be there: the words that policies know.
    pub(crate) terms: Table,
    /// By fingerprint of a hook.
    pub(crate) by_hook: HashMap<u64, Ids>,
    by_label: Table,
    by_key: HashMap<String, Ids>,
    by_namespace: HashMap<String, Ids>,
    anything: Ids,
}

impl Policies {
    pub(crate) fn get(&self, slot: u32) -> Option<&Watch> {
        self.slots.get(slot as usize)?.as_ref().map(|slot| &slot.watch)
    }

    pub(crate) fn find(&self, id: &PolicyId) -> Option<&Watch> {
        self.get(*self.by_id.get(id)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Watch> {
        self.slots.iter().flatten().map(|slot| &slot.watch)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn apply(&mut self, watch: Watch) {
        self.delete(&watch.id);
        let anchor = self.anchor(&watch);
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // Four thousand million policies don't fit into memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.list(&anchor, id);
        for (key, value) in words(&watch) {
            self.terms.insert(key, value, id);
        }
        for hook in &watch.hooks {
            self.by_hook.entry(hook.fingerprint).or_default().insert(id);
        }
        self.by_name.entry(watch.id.name.clone()).or_default().insert(id);
        self.by_id.insert(watch.id.clone(), id);
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = Some(Slot { watch, anchor });
        }
    }

    pub(crate) fn delete(&mut self, id: &PolicyId) -> Option<Watch> {
        let slot = self.by_id.remove(id)?;
        let Slot { watch, anchor } = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.unlist(&anchor, slot);
        for (key, value) in words(&watch) {
            self.terms.remove(key, value, slot);
        }
        for hook in &watch.hooks {
            drop_id(&mut self.by_hook, &hook.fingerprint, slot);
        }
        drop_id(&mut self.by_name, &watch.id.name, slot);
        Some(watch)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The policies that select a shape, in order.
    pub(crate) fn selecting(&self, shape: &Shape) -> BTreeSet<&PolicyId> {
        let labels = shape.labels.iter();
        let by_label = labels.clone().filter_map(|(key, value)| self.by_label.get(key, value)).flatten();
        let by_key = labels.filter_map(|(key, _)| self.by_key.get(key)).flatten();
        let by_namespace = self.by_namespace.get(&shape.namespace).into_iter().flatten();
        by_label
            .chain(by_key)
            .chain(by_namespace)
            .chain(&self.anything)
            .filter_map(|slot| self.get(*slot))
            .filter(|watch| watch.scope.pods.as_ref().is_some_and(|scope| shape.is_selected_by(scope)))
            .map(|watch| &watch.id)
            .collect()
    }

    /// The policies that ask for a label and would select the shape with it, but don't without.
    pub(crate) fn gained(&self, shape: &Shape, change: Change<'_>) -> Vec<&PolicyId> {
        let asking = self.terms.get(change.key, change.value).into_iter().flatten();
        let scopes = asking.filter_map(|slot| self.get(*slot)).filter_map(|watch| {
            let scope = watch.scope.pods.as_ref()?;
            (!shape.is_selected_by(scope) && shape.is_selected_with(scope, change)).then_some(&watch.id)
        });
        scopes.collect()
    }

    /// The entry that the fewest other policies share.
    fn anchor(&self, watch: &Watch) -> Anchor {
        let Some(scope) = &watch.scope.pods else { return Anchor::Nothing };
        let selector = scope.pods.iter();
        let label =
            selector.clone().flat_map(terms).filter(|term| !is_synthetic(term.key)).min_by_key(|term| {
                term.values.iter().map(|v| self.by_label.get(term.key, v).map_or(0, Ids::len)).sum::<usize>()
            });
        if let Some(term) = label {
            let values = term.values.iter().map(|v| (*v).to_owned()).collect();
            return Anchor::Label { key: term.key.to_owned(), values };
        }
        if let Some(namespace) = &scope.namespace {
            return Anchor::Namespace(namespace.clone());
        }
        match selector.flat_map(required_keys).find(|key| !is_synthetic(key)) {
            Some(key) => Anchor::Key(key.to_owned()),
            None => Anchor::Anything,
        }
    }

    fn list(&mut self, anchor: &Anchor, id: u32) {
        match anchor {
            Anchor::Label { key, values } => {
                for value in values {
                    self.by_label.insert(key, Some(value), id);
                }
            }
            Anchor::Key(key) => _ = self.by_key.entry(key.clone()).or_default().insert(id),
            Anchor::Namespace(name) => _ = self.by_namespace.entry(name.clone()).or_default().insert(id),
            Anchor::Anything => _ = self.anything.insert(id),
            Anchor::Nothing => {}
        }
    }

    fn unlist(&mut self, anchor: &Anchor, id: u32) {
        match anchor {
            Anchor::Label { key, values } => {
                for value in values {
                    self.by_label.remove(key, Some(value), id);
                }
            }
            Anchor::Key(key) => drop_id(&mut self.by_key, key, id),
            Anchor::Namespace(name) => drop_id(&mut self.by_namespace, name, id),
            Anchor::Anything => _ = self.anything.remove(&id),
            Anchor::Nothing => {}
        }
    }
}

/// The labels that a policy asks for: a value, or the key alone.
fn words(watch: &Watch) -> impl Iterator<Item = (&str, Option<&str>)> {
    let selector = || watch.scope.pods.iter().filter_map(|scope: &PodScope| scope.pods.as_ref());
    let values = selector().flat_map(terms).flat_map(|term| {
        let key = term.key;
        term.values.into_iter().map(move |value| (key, Some(value)))
    });
    values.chain(selector().flat_map(required_keys).map(|key| (key, None)))
}

fn drop_id<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Ids>, key: &K, id: u32) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
