//! An inverted index of labels: from a key and a value to everything that has it.

use std::collections::BTreeSet;

use gatewatch_policy::nearest::Words;

/// Numbers of classes or policies.
pub(crate) type Ids = BTreeSet<u32>;

/// From labels to what has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    keys: Words<Key>,
}

/// What is known of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    pub(crate) values: Words<Ids>,
    /// Whatever has the key, with any value.
    pub(crate) ids: Ids,
}

impl Table {
    /// Says that `id` has a label; without a value, that it has to do with the key.
    pub(crate) fn insert(&mut self, key: &str, value: Option<&str>, id: u32) {
        let key = self.keys.entry(key);
        key.ids.insert(id);
        if let Some(value) = value {
            key.values.entry(value).insert(id);
        }
    }

    /// Takes that back. All that was said of one `id` and one key has to be taken back together.
    pub(crate) fn remove(&mut self, name: &str, value: Option<&str>, id: u32) {
        let Some(key) = self.keys.get_mut(name) else { return };
        key.ids.remove(&id);
        if let Some(value) = value
            && let Some(ids) = key.values.get_mut(value)
        {
            ids.remove(&id);
            if ids.is_empty() {
                key.values.remove(value);
            }
        }
        if key.ids.is_empty() && key.values.is_empty() {
            self.keys.remove(name);
        }
    }

    pub(crate) fn key(&self, key: &str) -> Option<&Key> {
        self.keys.get(key)
    }

    /// Whatever has the label.
    pub(crate) fn get(&self, key: &str, value: &str) -> Option<&Ids> {
        self.key(key)?.values.get(value)
    }

    /// Keys that may have been meant, the nearest first.
    pub(crate) fn near_keys<'a>(&'a self, key: &str) -> Vec<(u8, &'a str, &'a Key)> {
        let mut found = self.keys.near(key);
        // A prefix that is missing or too much.
        let related = match key.rsplit_once('/') {
            Some((_, name)) => vec![name.to_owned()],
            None => PREFIXES.iter().map(|prefix| format!("{prefix}/{key}")).collect(),
        };
        for key in related {
            if let Some((known, about)) = self.keys.known(&key)
                && !found.iter().any(|(_, other, _)| *other == known)
            {
                found.push((1, known, about));
            }
        }
        found
    }

    /// The values that occur under a key, with whatever has them.
    pub(crate) fn values(&self, key: &str) -> impl Iterator<Item = (&str, &Ids)> {
        self.key(key).into_iter().flat_map(|key| key.values.iter())
    }
}

/// Prefixes of keys that are left out, and added, by mistake.
const PREFIXES: &[&str] = &["app.kubernetes.io"];
