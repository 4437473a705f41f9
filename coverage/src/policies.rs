//! Policies, indexed by the labels that they select.

use std::collections::{BTreeSet, HashMap};

use gatewatch_policy::scope::PodScope;

use crate::{
    indexed_policy::{IndexedPolicy, PolicyId},
    label_index::{IdSet, LabelIndex},
    shape::{Relabel, Shape},
    terms::{is_synthetic, required_keys, terms},
};

/// The key by which a policy is found. A policy selects only shapes that have it.
#[derive(Clone, Debug)]
enum LookupKey {
    /// A label with one of these values.
    Label { key: String, values: Vec<String> },
    /// A label with any value.
    Key(String),
    /// A namespace.
    Namespace(String),
    /// None: the policy is checked for every shape.
    Any,
    /// The policy selects no pods.
    Never,
}

#[derive(Clone, Debug)]
struct Slot {
    policy: IndexedPolicy,
    lookup_key: LookupKey,
    /// Whether a node runs it.
    loaded: bool,
}

/// All policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_id: HashMap<PolicyId, u32>,
    /// By name alone: policies of all namespaces and cluster-wide ones.
    pub(crate) by_name: HashMap<String, IdSet>,
    /// The labels that policies require.
    pub(crate) terms: LabelIndex,
    /// By the fingerprint of a hook.
    pub(crate) by_hook: HashMap<u64, IdSet>,
    by_label: LabelIndex,
    by_key: HashMap<String, IdSet>,
    by_namespace: HashMap<String, IdSet>,
    without_key: IdSet,
}

impl Policies {
    pub(crate) fn get(&self, slot: u32) -> Option<&IndexedPolicy> {
        self.slots.get(slot as usize)?.as_ref().map(|slot| &slot.policy)
    }

    pub(crate) fn find(&self, id: &PolicyId) -> Option<&IndexedPolicy> {
        self.get(*self.by_id.get(id)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &IndexedPolicy> {
        self.slots.iter().flatten().map(|slot| &slot.policy)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn apply(&mut self, policy: IndexedPolicy, loaded: bool) {
        self.delete(&policy.id);
        let lookup_key = self.lookup_key(&policy);
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // 2^32 policies do not fit into memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.add_to_indexes(&lookup_key, id);
        for (key, value) in required_labels(&policy) {
            self.terms.insert(key, value, id);
        }
        for hook in &policy.hooks {
            self.by_hook.entry(hook.fingerprint).or_default().insert(id);
        }
        self.by_name.entry(policy.id.name.clone()).or_default().insert(id);
        self.by_id.insert(policy.id.clone(), id);
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = Some(Slot { policy, lookup_key, loaded });
        }
    }

    pub(crate) fn delete(&mut self, id: &PolicyId) -> Option<IndexedPolicy> {
        let slot = self.by_id.remove(id)?;
        let Slot { policy, lookup_key, .. } = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.remove_from_indexes(&lookup_key, slot);
        for (key, value) in required_labels(&policy) {
            self.terms.remove(key, value, slot);
        }
        for hook in &policy.hooks {
            remove_id(&mut self.by_hook, &hook.fingerprint, slot);
        }
        remove_id(&mut self.by_name, &policy.id.name, slot);
        Some(policy)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sets whether a node runs a policy.
    pub(crate) fn set_loaded(&mut self, id: &PolicyId, loaded: bool) {
        let Some(slot) = self.by_id.get(id) else { return };
        if let Some(Some(slot)) = self.slots.get_mut(*slot as usize) {
            slot.loaded = loaded;
        }
    }

    /// Sets whether a node runs each policy.
    pub(crate) fn set_all_loaded(&mut self, loaded: bool) {
        self.slots.iter_mut().flatten().for_each(|slot| slot.loaded = loaded);
    }

    /// The policies that select a shape, in order.
    pub(crate) fn selecting_policies(&self, shape: &Shape) -> BTreeSet<&PolicyId> {
        self.selecting(shape).map(|slot| &slot.policy.id).collect()
    }

    /// The policies that select a shape and that a node runs. One can be in it twice.
    pub(crate) fn loaded_policies(&self, shape: &Shape) -> impl Iterator<Item = &PolicyId> {
        self.selecting(shape).filter(|slot| slot.loaded).map(|slot| &slot.policy.id)
    }

    fn selecting(&self, shape: &Shape) -> impl Iterator<Item = &Slot> {
        let labels = shape.labels.iter();
        let by_label = labels.clone().filter_map(|(key, value)| self.by_label.get(key, value)).flatten();
        let by_key = labels.filter_map(|(key, _)| self.by_key.get(key)).flatten();
        let by_namespace = self.by_namespace.get(&shape.namespace).into_iter().flatten();
        by_label
            .chain(by_key)
            .chain(by_namespace)
            .chain(&self.without_key)
            .filter_map(|slot| self.slots.get(*slot as usize)?.as_ref())
            .filter(|slot| {
                let scope = slot.policy.scope.pods.as_ref();
                scope.is_some_and(|scope| shape.is_selected_by(scope))
            })
    }

    /// The number of policies that require a label.
    pub(crate) fn requiring(&self, key: &str, value: &str) -> usize {
        self.terms.get(key, value).map_or(0, IdSet::len)
    }

    /// The policies that require a label and would select the shape with it, but do not without it.
    pub(crate) fn gained(&self, shape: &Shape, relabel: Relabel<'_>) -> Vec<&PolicyId> {
        let requiring = self.terms.get(relabel.key, relabel.value).into_iter().flatten();
        let scopes = requiring.filter_map(|slot| self.get(*slot)).filter_map(|policy| {
            let scope = policy.scope.pods.as_ref()?;
            (!shape.is_selected_by(scope) && shape.is_selected_after(scope, relabel)).then_some(&policy.id)
        });
        scopes.collect()
    }

    /// The key that the fewest other policies share.
    fn lookup_key(&self, policy: &IndexedPolicy) -> LookupKey {
        let Some(scope) = &policy.scope.pods else { return LookupKey::Never };
        let selector = scope.pods.iter();
        let label =
            selector.clone().flat_map(terms).filter(|term| !is_synthetic(term.key)).min_by_key(|term| {
                term.values
                    .iter()
                    .map(|v| self.by_label.get(term.key, v).map_or(0, IdSet::len))
                    .sum::<usize>()
            });
        if let Some(term) = label {
            let values = term.values.iter().map(|v| (*v).to_owned()).collect();
            return LookupKey::Label { key: term.key.to_owned(), values };
        }
        if let Some(namespace) = &scope.namespace {
            return LookupKey::Namespace(namespace.clone());
        }
        match selector.flat_map(required_keys).find(|key| !is_synthetic(key)) {
            Some(key) => LookupKey::Key(key.to_owned()),
            None => LookupKey::Any,
        }
    }

    fn add_to_indexes(&mut self, lookup_key: &LookupKey, id: u32) {
        match lookup_key {
            LookupKey::Label { key, values } => {
                for value in values {
                    self.by_label.insert(key, Some(value), id);
                }
            }
            LookupKey::Key(key) => _ = self.by_key.entry(key.clone()).or_default().insert(id),
            LookupKey::Namespace(name) => _ = self.by_namespace.entry(name.clone()).or_default().insert(id),
            LookupKey::Any => _ = self.without_key.insert(id),
            LookupKey::Never => {}
        }
    }

    fn remove_from_indexes(&mut self, lookup_key: &LookupKey, id: u32) {
        match lookup_key {
            LookupKey::Label { key, values } => {
                for value in values {
                    self.by_label.remove(key, Some(value), id);
                }
            }
            LookupKey::Key(key) => remove_id(&mut self.by_key, key, id),
            LookupKey::Namespace(name) => remove_id(&mut self.by_namespace, name, id),
            LookupKey::Any => _ = self.without_key.remove(&id),
            LookupKey::Never => {}
        }
    }
}

/// The labels that a policy requires: a value, or the key alone.
fn required_labels(policy: &IndexedPolicy) -> impl Iterator<Item = (&str, Option<&str>)> {
    let selector = || policy.scope.pods.iter().filter_map(|scope: &PodScope| scope.pods.as_ref());
    let values = selector().flat_map(terms).flat_map(|term| {
        let key = term.key;
        term.values.into_iter().map(move |value| (key, Some(value)))
    });
    values.chain(selector().flat_map(required_keys).map(|key| (key, None)))
}

fn remove_id<K: std::hash::Hash + Eq>(map: &mut HashMap<K, IdSet>, key: &K, id: u32) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
