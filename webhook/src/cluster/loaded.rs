//! The policies that nodes run, by generation.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gatewatch_coverage::PolicyId;

/// One generation of a policy.
pub(crate) type Version = (PolicyId, Option<i64>);

/// The generations of policies that nodes run.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    by_node: BTreeMap<String, BTreeSet<Version>>,
    /// The number of nodes for each.
    nodes: HashMap<Version, usize>,
}

impl Loaded {
    /// Whether a node runs this generation of a policy.
    pub(crate) fn contains(&self, version: &Version) -> bool {
        self.nodes.contains_key(version)
    }

    /// The nodes with an entry.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &String> {
        self.by_node.keys()
    }

    /// Replaces the generations that a node runs. Returns the policies that no node ran before, or that none runs now.
    pub(crate) fn set(&mut self, node: &str, versions: BTreeSet<Version>) -> BTreeSet<PolicyId> {
        let mut changed = BTreeSet::new();
        let before = self.by_node.remove(node).unwrap_or_default();
        for added in versions.difference(&before) {
            let count = self.nodes.entry(added.clone()).or_default();
            *count += 1;
            if *count == 1 {
                changed.insert(added.0.clone());
            }
        }
        for removed in before.difference(&versions) {
            if let Some(count) = self.nodes.get_mut(removed) {
                *count -= 1;
                if *count == 0 {
                    self.nodes.remove(removed);
                    changed.insert(removed.0.clone());
                }
            }
        }
        if !versions.is_empty() {
            self.by_node.insert(node.to_owned(), versions);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_node_change_a_policy() {
        let id = PolicyId { namespace: None, name: "p".into() };
        let version = |generation| (id.clone(), Some(generation));
        let mut loaded = Loaded::default();
        assert_eq!(loaded.set("a", BTreeSet::from([version(1)])), BTreeSet::from([id.clone()]));
        assert_eq!(loaded.set("b", BTreeSet::from([version(1)])), BTreeSet::new());
        assert!(loaded.contains(&version(1)) && !loaded.contains(&version(2)));
        assert_eq!(loaded.set("a", BTreeSet::from([version(2)])), BTreeSet::from([id.clone()]));
        assert_eq!(loaded.set("b", BTreeSet::new()), BTreeSet::from([id.clone()]));
        assert!(!loaded.contains(&version(1)) && loaded.contains(&version(2)));
        assert_eq!(loaded.nodes().collect::<Vec<_>>(), ["a"]);
    }
}
