//! Pods and workloads that are selected, as numbers by namespace.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, SubAssign},
};

/// The number of pods, and of objects with a template.
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

    /// Whether both numbers are 0.
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
    /// The namespaces with at least one.
    pub by_namespace: BTreeMap<String, Tally>,
}

impl Selection {
    /// The sum over all namespaces.
    pub fn total(&self) -> Tally {
        self.by_namespace.values().fold(Tally::default(), |mut sum, tally| {
            sum += *tally;
            sum
        })
    }

    /// Whether nothing is selected.
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

    pub(crate) fn subtract(&mut self, namespace: &str, tally: Tally) {
        if let Some(sum) = self.by_namespace.get_mut(namespace) {
            *sum -= tally;
            if sum.is_empty() {
                self.by_namespace.remove(namespace);
            }
        }
    }
}
