//! Labels that are on a workload but not on its pods, and workloads of one application that differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::index::Index;
use crate::shape::{Labels, Shape, Workload};
use crate::watch::PolicyId;

/// Labels that say which application something is part of.
const APP_KEYS: &[&str] = &["app.kubernetes.io/name", "app", "k8s-app"];
/// Endings of the names of workloads that stand beside another one.
const ENDINGS: &[&str] =
    &["canary", "stable", "primary", "blue", "green", "preview", "baseline", "old", "new"];

/// A label that a workload has itself (or in its own selector), and its pods don't: policies look at pods alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The label.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether it stands in the workload's own selector rather than in its labels.
    pub in_selector: bool,
    /// The policies that would select the pods with it, and don't now.
    pub gained: Vec<PolicyId>,
}

/// A workload of the same application that a policy selects by a label that this one's pods lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Kind and name.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The label.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The policies that select the sibling by it.
    pub gained: Vec<PolicyId>,
}

/// Templates by the application that they are part of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families {
    /// By namespace and family: kind and name.
    members: HashMap<(String, String), BTreeSet<(String, String)>>,
    /// Of each template, what it is listed under: kind, namespace, name.
    listed: BTreeMap<(String, String, String), Vec<String>>,
}

impl Families {
    pub(crate) fn apply(&mut self, workload: &Workload) {
        if workload.is_pod() {
            return;
        }
        let Workload { kind, name, shape, .. } = workload;
        let families = families(name, &shape.labels);
        let key = (kind.clone(), shape.namespace.clone(), name.clone());
        if self.listed.get(&key) == Some(&families) {
            return;
        }
        self.delete(kind, &shape.namespace, name);
        for family in &families {
            let family = (shape.namespace.clone(), family.clone());
            self.members.entry(family).or_default().insert((kind.clone(), name.clone()));
        }
        self.listed.insert(key, families);
    }

    pub(crate) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        for family in self.listed.remove(&key).unwrap_or_default() {
            let family = (namespace.to_owned(), family);
            if let Some(members) = self.members.get_mut(&family) {
                members.remove(&(kind.to_owned(), name.to_owned()));
                if members.is_empty() {
                    self.members.remove(&family);
                }
            }
        }
    }

    pub(crate) fn clear(&mut self, kind: &str) {
        let gone: Vec<_> = self.listed.keys().filter(|(of, ..)| of == kind).cloned().collect();
        for (kind, namespace, name) in gone {
            self.delete(&kind, &namespace, &name);
        }
    }
}

/// What a template is looked up by to find its siblings: its labels of an application, and its name without what
/// sets it apart (`web-canary`, `web-v2`).
fn families(name: &str, labels: &Labels) -> Vec<String> {
    let mut found = vec![format!("name={}", stem(name))];
    found.extend(APP_KEYS.iter().filter_map(|key| labels.get(*key)).map(|value| format!("app={value}")));
    found.sort_unstable();
    found.dedup();
    found
}

fn stem(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((stem, ending)) if !stem.is_empty() => {
            let digits = ending.strip_prefix('v').unwrap_or(ending);
            let version = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            if version || ENDINGS.contains(&ending) { stem } else { name }
        }
        _ => name,
    }
}

impl Index {
    /// Labels of a workload itself that its pods lack and that policies select by.
    pub fn strays(&self, workload: &Workload) -> Vec<Stray> {
        if workload.is_pod() {
            return Vec::new();
        }
        let mut found: Vec<Stray> = Vec::new();
        for (labels, in_selector) in [(&workload.own_labels, false), (&workload.selector, true)] {
            for (key, value) in labels {
                let gained = self.gained_by(&workload.shape, key, value);
                if !gained.is_empty() && !found.iter().any(|stray| stray.key == *key) {
                    found.push(Stray { key: key.clone(), value: value.clone(), in_selector, gained });
                }
            }
        }
        found
    }

    /// The other workloads of the same application that policies select by a label of which this one's pods have
    /// not even the key. Another value is meant to differ.
    pub fn siblings(&self, workload: &Workload) -> Vec<Sibling> {
        let mut found: Vec<Sibling> = Vec::new();
        let shape = &workload.shape;
        if workload.is_pod() {
            return found;
        }
        for family in families(&workload.name, &shape.labels) {
            let members = self.families.members.get(&(shape.namespace.clone(), family));
            for (kind, name) in members.into_iter().flatten() {
                if (kind, name) == (&workload.kind, &workload.name) {
                    continue;
                }
                let Some(other) = self.shape_of(kind, &shape.namespace, name) else { continue };
                for (key, value) in &other.labels {
                    if shape.labels.contains_key(key) || found.iter().any(|f| f.key == *key) {
                        continue;
                    }
                    let gained = self.gained_by(shape, key, value);
                    if !gained.is_empty() {
                        found.push(Sibling {
                            kind: kind.clone(),
                            name: name.clone(),
                            key: key.clone(),
                            value: value.clone(),
                            gained,
                        });
                    }
                }
            }
        }
        found
    }

    /// The policies that would select a shape if it had a label which it lacks or has with another value.
    fn gained_by(&self, shape: &Shape, key: &str, value: &str) -> Vec<PolicyId> {
        if shape.labels.get(key).is_some_and(|has| has == value) {
            return Vec::new();
        }
        let change = crate::shape::Change { without: key, key, value };
        self.policies.gained(shape, change).into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        for (name, expected) in [
            ("web", "web"),
            ("web-v2", "web"),
            ("web-2", "web"),
            ("web-canary", "web"),
            ("web-api", "web-api"),
            ("-2", "-2"),
            ("web-v", "web-v"),
        ] {
            assert_eq!(stem(name), expected);
        }
    }
}
