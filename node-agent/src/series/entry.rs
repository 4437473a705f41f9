//! One series as it is kept: its labels by number, its value, and whose it is. There are ten thousand on a busy node, so
//! what few of them have lies elsewhere.

use std::time::Instant;

use super::names::Name;

/// The labels of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) binary: Name,
    pub(super) hook: Name,
    pub(super) namespace: Name,
    pub(super) pod: Name,
    pub(super) policy: Name,
    pub(super) workload: Name,
}

impl Key {
    /// In the order in which labels are exported.
    pub(super) fn names(self) -> [Name; 6] {
        [self.binary, self.hook, self.namespace, self.pod, self.policy, self.workload]
    }

    /// The policy, and the pod's namespace and name.
    pub(super) fn policy_and_pod(self) -> (Name, Name, Name) {
        (self.policy, self.namespace, self.pod)
    }

    /// From that order.
    pub(super) fn new([binary, hook, namespace, pod, policy, workload]: [Name; 6]) -> Self {
        Self { binary, hook, namespace, pod, policy, workload }
    }
}

/// What belongs to them.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) value: u64,
    /// When it last grew, in milliseconds since 1970; 0 if that is not known.
    pub(super) grown: u64,
    /// Uid of a pod behind it; none for the host's.
    pod: Option<Name>,
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// Uids of more pods, that had or have the same name.
    pods: Vec<Name>,
    gone: Option<Gone>,
}

/// None of a series' pods exists any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub(super) since: Instant,
    /// First scrape that had the last value.
    pub(super) scraped: Option<Instant>,
}

impl Entry {
    /// The host's, with this value that was reached at this time.
    pub(super) fn new(value: u64, grown: u64) -> Self {
        Self { value, grown, ..Self::default() }
    }

    /// The uids of the pods behind it.
    pub(super) fn pods(&self) -> impl Iterator<Item = Name> {
        self.pod.into_iter().chain(self.rare.iter().flat_map(|rare| rare.pods.iter().copied()))
    }

    /// Adds a pod, if it isn't there.
    pub(super) fn add_pod(&mut self, uid: Name) {
        if self.pod.is_none() {
            self.pod = Some(uid);
        } else if !self.pods().any(|known| known == uid) {
            self.rare.get_or_insert_default().pods.push(uid);
        }
    }

    /// Keeps these pods alone, where there are several.
    pub(super) fn keep_pods(&mut self, mut stays: impl FnMut(Name) -> bool) {
        let Some(rare) = &mut self.rare else { return };
        rare.pods.retain(|uid| stays(*uid));
        if self.pod.is_some_and(|uid| !stays(uid))
            && let Some(other) = rare.pods.pop()
        {
            self.pod = Some(other);
        }
        self.tidy();
    }

    /// Whether all its pods were deleted.
    pub(super) fn is_gone(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.gone.is_some())
    }

    /// Since when all its pods are deleted, where they are.
    pub(super) fn gone(&mut self) -> Option<&mut Gone> {
        self.rare.as_mut()?.gone.as_mut()
    }

    /// They are deleted since then, if they weren't before.
    pub(super) fn set_gone(&mut self, since: Instant) -> Gone {
        *self.rare.get_or_insert_default().gone.get_or_insert(Gone { since, scraped: None })
    }

    /// One is there, or has left a new value that must be scraped before the series may go.
    pub(super) fn clear_gone(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.gone = None;
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.pods.is_empty() && rare.gone.is_none()) {
            self.rare = None;
        }
    }
}
