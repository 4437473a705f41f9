//! Workloads by the application that they are part of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::shape::{Labels, Workload};

/// Labels that name the application of an object.
const APP_KEYS: &[&str] = &["app.kubernetes.io/name", "app", "k8s-app"];
/// Suffixes of the names of workloads that run next to another one of the same application.
const SUFFIXES: &[&str] =
    &["canary", "stable", "primary", "blue", "green", "preview", "baseline", "old", "new"];

/// Templates by application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applications {
    /// By namespace and application key: kind and name.
    members: HashMap<(String, String), BTreeSet<(String, String)>>,
    /// By kind, namespace and name of a template: its application keys.
    keys_of: BTreeMap<(String, String, String), Vec<String>>,
}

impl Applications {
    /// The templates of each application of a workload, itself included, by kind and name.
    pub(crate) fn of(&self, workload: &Workload) -> impl Iterator<Item = &BTreeSet<(String, String)>> {
        let Workload { name, shape, .. } = workload;
        let keys = application_keys(name, &shape.labels).into_iter();
        keys.filter_map(|key| self.members.get(&(shape.namespace.clone(), key)))
    }

    pub(crate) fn apply(&mut self, workload: &Workload) {
        if workload.is_pod() {
            return;
        }
        let Workload { kind, name, shape, .. } = workload;
        let keys = application_keys(name, &shape.labels);
        let template = (kind.clone(), shape.namespace.clone(), name.clone());
        if self.keys_of.get(&template) == Some(&keys) {
            return;
        }
        self.delete(kind, &shape.namespace, name);
        for key in &keys {
            let application = (shape.namespace.clone(), key.clone());
            self.members.entry(application).or_default().insert((kind.clone(), name.clone()));
        }
        self.keys_of.insert(template, keys);
    }

    pub(crate) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        let template = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        for key in self.keys_of.remove(&template).unwrap_or_default() {
            let application = (namespace.to_owned(), key);
            if let Some(members) = self.members.get_mut(&application) {
                members.remove(&(kind.to_owned(), name.to_owned()));
                if members.is_empty() {
                    self.members.remove(&application);
                }
            }
        }
    }

    pub(crate) fn clear(&mut self, kind: &str) {
        let removed: Vec<_> = self.keys_of.keys().filter(|(of, ..)| of == kind).cloned().collect();
        for (kind, namespace, name) in removed {
            self.delete(&kind, &namespace, &name);
        }
    }
}

/// The keys by which the other templates of an application are found: labels that name the application, and the
/// template's name without a suffix (`web-canary`, `web-v2`).
fn application_keys(name: &str, labels: &Labels) -> Vec<String> {
    let mut keys = vec![format!("name={}", stem(name))];
    keys.extend(APP_KEYS.iter().filter_map(|key| labels.get(*key)).map(|value| format!("app={value}")));
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn stem(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((stem, suffix)) if !stem.is_empty() => {
            let digits = suffix.strip_prefix('v').unwrap_or(suffix);
            let version = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            if version || SUFFIXES.contains(&suffix) { stem } else { name }
        }
        _ => name,
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
