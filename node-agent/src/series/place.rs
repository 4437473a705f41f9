//! Which series a count belongs to.

use std::time::Instant;

use foldhash::HashMap;

use super::{
    Held, Hooks, OVERFLOW_BINARY, Series,
    entry::Key,
    names::{Name, Names},
};
use crate::attribution::{Attribution, CgroupKey, Owner, Selection, selection};

/// Lookups of one fold and their results: ten thousand counts belong to some hundred hooks and cgroups.
pub(super) struct Lookups<'a> {
    hooks: &'a Hooks,
    attribution: &'a Attribution,
    now: Instant,
    cgroups: HashMap<u64, CgroupKey>,
    owners: HashMap<CgroupKey, (Owner, Option<OwnerNames>)>,
    /// The names of a hook's policy and of its label.
    labels: HashMap<u32, (Name, Name)>,
}

/// The labels of an owner, and its pod's uid.
#[derive(Clone, Copy)]
struct OwnerNames {
    uid: Option<Name>,
    namespace: Name,
    pod: Name,
    workload: Name,
}

/// What became of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is in a series, or in none because its policy doesn't watch its owner.
    Decided,
    /// It can't be told yet.
    Pending,
}

impl Placed {
    pub(super) fn is_pending(self) -> bool {
        self == Self::Pending
    }
}

impl<'a> Lookups<'a> {
    pub(super) fn new(hooks: &'a Hooks, attribution: &'a Attribution, now: Instant) -> Self {
        Self {
            hooks,
            attribution,
            now,
            cgroups: HashMap::default(),
            owners: HashMap::default(),
            labels: HashMap::default(),
        }
    }

    /// The cgroup that has this id now.
    pub(super) fn cgroup(&mut self, id: u64) -> CgroupKey {
        *self.cgroups.entry(id).or_insert_with(|| self.attribution.key(id))
    }
}

impl Series {
    /// Gives a count to its series, or drops it, where that can be decided.
    pub(super) fn place(&mut self, lookups: &mut Lookups<'_>, held: Held, count: u64) -> Placed {
        let Lookups { hooks, attribution, now, owners, labels, .. } = lookups;
        let Some(hook) = hooks.get(&held.hook) else { return Placed::Decided };
        let (owner, owner_names) =
            owners.entry(held.cgroup).or_insert_with(|| (attribution.owner(held.cgroup, *now), None));
        match selection(&hook.scope, owner) {
            Selection::Undecided => return Placed::Pending,
            Selection::Unselected => return Placed::Decided,
            Selection::Selected => {}
        }
        let names = &mut self.names;
        let OwnerNames { mut uid, namespace, pod, workload } =
            *owner_names.get_or_insert_with(|| names_of(owner, names));
        let (policy, hook) = *labels
            .entry(held.hook)
            .or_insert_with(|| (names.name(&hook.policy), names.name(&hook.point.label())));
        let binary = self.binaries.get(&held.binary).copied().unwrap_or_else(|| names.name(""));
        let mut key = Key { binary, hook, namespace, pod, policy, workload };
        if !self.exported.contains_key(&key) {
            let used = self.of_policy.entry(policy).or_default();
            if *used < self.limit {
                *used += 1;
            } else {
                // The series that takes what its policy has no room for.
                let empty = names.name("");
                key = Key {
                    binary: names.name(OVERFLOW_BINARY),
                    namespace: empty,
                    pod: empty,
                    workload: empty,
                    ..key
                };
                uid = None;
            }
        }
        let entry = self.exported.entry(key).or_default();
        entry.value += count;
        // A new value has to be scraped before the series may go.
        entry.clear_gone();
        if let Some(uid) = uid {
            entry.add_pod(uid);
        }
        Placed::Decided
    }
}

fn names_of(owner: &Owner, names: &mut Names) -> OwnerNames {
    let empty = names.name("");
    let host = OwnerNames { uid: None, namespace: empty, pod: empty, workload: empty };
    match owner {
        Owner::Container { pod, .. } => OwnerNames {
            uid: Some(names.name(&pod.uid)),
            namespace: names.name(&pod.namespace),
            pod: names.name(&pod.name),
            workload: names.name(&pod.workload.name),
        },
        Owner::Unlisted { uid } => {
            let uid = names.name(uid);
            OwnerNames { uid: Some(uid), pod: uid, ..host }
        }
        Owner::Host | Owner::Pending => host,
    }
}
