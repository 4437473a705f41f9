//! An inverted index of labels: from a key and a value to everything that has it.

use std::collections::BTreeSet;

use gatewatch_policy::nearest::Words;

/// Ids of groups or policies.
pub(crate) type IdSet = BTreeSet<u32>;

/// Maps labels to the ids that have them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelIndex {
    keys: Words<KeyEntry>,
    key_count: usize,
}

/// The values and ids of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyEntry {
    pub(crate) values: Words<IdSet>,
    value_count: usize,
    /// All ids with the key, whatever its value.
    pub(crate) ids: IdSet,
}

impl KeyEntry {
    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.value_count
    }
}

impl LabelIndex {
    /// Adds a label of `id`. Without a value, `id` is listed under the key alone.
    pub(crate) fn insert(&mut self, key: &str, value: Option<&str>, id: u32) {
        self.key_count += usize::from(self.keys.get(key).is_none());
        let key = self.keys.entry(key);
        key.ids.insert(id);
        if let Some(value) = value {
            key.value_count += usize::from(key.values.get(value).is_none());
            key.values.entry(value).insert(id);
        }
    }

    /// Removes a label of `id`. All entries of one `id` under one key must be removed together.
    pub(crate) fn remove(&mut self, name: &str, value: Option<&str>, id: u32) {
        let Some(key) = self.keys.get_mut(name) else { return };
        key.ids.remove(&id);
        if let Some(value) = value
            && let Some(ids) = key.values.get_mut(value)
        {
            ids.remove(&id);
            if ids.is_empty() {
                key.values.remove(value);
                key.value_count -= 1;
            }
        }
        if key.ids.is_empty() && key.values.is_empty() {
            self.keys.remove(name);
            self.key_count -= 1;
        }
    }

    /// The number of keys.
    pub(crate) fn len(&self) -> usize {
        self.key_count
    }

    pub(crate) fn key(&self, key: &str) -> Option<&KeyEntry> {
        self.keys.get(key)
    }

    /// The ids with a label.
    pub(crate) fn get(&self, key: &str, value: &str) -> Option<&IdSet> {
        self.key(key)?.values.get(value)
    }

    /// The keys of which `key` is a likely typo, the most similar first.
    pub(crate) fn key_typos<'a>(&'a self, key: &str) -> Vec<(u8, &'a str, &'a KeyEntry)> {
        let mut found = self.keys.near(key);
        // A missing or superfluous prefix.
        let variants = match key.rsplit_once('/') {
            Some((_, name)) => vec![name.to_owned()],
            None => PREFIXES.iter().map(|prefix| format!("{prefix}/{key}")).collect(),
        };
        for key in variants {
            if let Some((known, about)) = self.keys.known(&key)
                && !found.iter().any(|(_, other, _)| *other == known)
            {
                found.push((1, known, about));
            }
        }
        found
    }

    /// The values of a key, with the ids that have them.
    pub(crate) fn values(&self, key: &str) -> impl Iterator<Item = (&str, &IdSet)> {
        self.key(key).into_iter().flat_map(|key| key.values.iter())
    }
}

/// Prefixes of keys that are omitted or added by mistake.
const PREFIXES: &[&str] = &["app.kubernetes.io"];
