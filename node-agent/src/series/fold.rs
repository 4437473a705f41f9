//! Adds the kernel's counts to the series that they belong to.

use std::time::Instant;

use foldhash::{HashMap, HashSet};
use gatewatch_abi::{HOST_PROGRAM, consts::UNKNOWN};

use super::{
    Count, Folded, HOST_PREFIX, Held, Hooks, OVERFLOW_BINARY, Series, Waiting,
    entry::Key,
    label::binary_label,
    names::{Name, Names},
};
use crate::attribution::{Attribution, CgroupKey, Owner, Selection, selection};

/// Lookups of one fold and their results: ten thousand counts belong to some hundred hooks and cgroups.
struct Lookups<'a> {
    hooks: &'a Hooks,
    attribution: &'a Attribution,
    now: Instant,
    cgroups: HashMap<u64, CgroupKey>,
    owners: HashMap<CgroupKey, (Owner, Option<OwnerNames>)>,
    /// The names of a hook's policy and of its label.
    labels: HashMap<u32, (Name, Name)>,
    /// The name of [`OVERFLOW_BINARY`].
    overflow: Option<Name>,
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
enum Placed {
    /// It is in a series, or in none because its policy doesn't watch its owner.
    Decided,
    /// Its series is not known yet.
    Pending,
}

impl Placed {
    fn is_pending(self) -> bool {
        self == Self::Pending
    }
}

impl<'a> Lookups<'a> {
    fn new(hooks: &'a Hooks, attribution: &'a Attribution, now: Instant) -> Self {
        Self {
            hooks,
            attribution,
            now,
            cgroups: HashMap::default(),
            owners: HashMap::default(),
            labels: HashMap::default(),
            overflow: None,
        }
    }

    /// The cgroup that has this id now.
    fn cgroup(&mut self, id: u64) -> CgroupKey {
        *self.cgroups.entry(id).or_insert_with(|| self.attribution.key(id))
    }
}

impl Series {
    /// Adds what the kernel has counted. `counts` are all its numbers, each key once.
    ///
    /// Counts of a hook that isn't in the table are ignored. Series of hooks that left the table go, and so do
    /// those of pods that were deleted, one minute after the first [`samples`](Self::samples) that had their last
    /// value.
    pub fn fold<'a>(
        &mut self,
        counts: impl IntoIterator<Item = Count<'a>>,
        hooks: &Hooks,
        attribution: &Attribution,
        now: Instant,
    ) -> Folded {
        self.last.retain(|(hook, ..), _| hooks.contains_key(hook));
        self.unattributed.retain(|hook, _| hooks.contains_key(hook));
        let mut held = std::mem::take(&mut self.held);
        let mut lookups = Lookups::new(hooks, attribution, now);
        for count in counts {
            if !hooks.contains_key(&count.hook) {
                continue;
            }
            if !count.path.is_empty() && !self.binaries.contains_key(&count.binary) {
                self.binaries.insert(count.binary, self.names.name(&binary_label(count.path)));
            }
            let last = self.last.entry((count.hook, count.cgroup, count.binary)).or_default();
            // A number that is lower than before was deleted and begins again.
            let added = count.value.checked_sub(*last).unwrap_or(count.value);
            *last = count.value;
            if added > 0 {
                let of =
                    Held { hook: count.hook, cgroup: lookups.cgroup(count.cgroup), binary: count.binary };
                let added = Waiting { events: added, grown: self.clock };
                self.newest = self.clock;
                if self.place(&mut lookups, of, added).is_pending() {
                    let waiting = held.entry(of).or_default();
                    waiting.events += added.events;
                    waiting.grown = waiting.grown.max(added.grown);
                }
            }
        }
        held.retain(|of, waiting| self.place(&mut lookups, *of, *waiting).is_pending());
        self.held = held;
        let unknown: HashSet<u64> =
            self.held.keys().map(|held| held.cgroup.id).filter(|id| !attribution.knows(*id)).collect();
        self.retire(hooks, attribution, now);
        let mut unknown: Vec<_> = unknown.into_iter().collect();
        unknown.sort_unstable();
        Folded { pending: self.held.values().map(|waiting| waiting.events).sum(), unknown }
    }

    /// Gives a count to its series, or drops it, where that can be decided.
    fn place(&mut self, lookups: &mut Lookups<'_>, held: Held, added: Waiting) -> Placed {
        let Lookups { hooks, attribution, now, owners, labels, overflow, .. } = lookups;
        let Some(hook) = hooks.get(&held.hook) else { return Placed::Decided };
        let (owner, owner_names) =
            owners.entry(held.cgroup).or_insert_with(|| (attribution.owner(held.cgroup, *now), None));
        match selection(&hook.scope, owner) {
            Selection::Undecided => return Placed::Pending,
            Selection::Unselected => {
                if matches!(owner, Owner::Unlisted { .. }) && hook.scope.pods.is_some() {
                    *self.unattributed.entry(held.hook).or_default() += added.events;
                }
                return Placed::Decided;
            }
            Selection::Selected => {}
        }
        let names = &mut self.names;
        let OwnerNames { uid, namespace, pod, workload } =
            *owner_names.get_or_insert_with(|| names_of(owner, names));
        let (policy, hook) = *labels
            .entry(held.hook)
            .or_insert_with(|| (names.name(&hook.policy), names.name(&hook.point.label())));
        let overflow = *overflow.get_or_insert_with(|| names.name(OVERFLOW_BINARY));
        let binary = match held.binary {
            UNKNOWN => names.name(""),
            binary => match self.binaries.get(&binary) {
                // The container runtime in the pod's cgroup, before it executes the container's program.
                Some(name) if uid.is_some() && binary & HOST_PROGRAM != 0 => {
                    let label = format!("{HOST_PREFIX}{}", names.text(*name).unwrap_or_default());
                    names.name(&label)
                }
                name => name.copied().unwrap_or(overflow),
            },
        };
        let mut key = Key { binary, hook, namespace, pod, policy, workload };
        // An overflow has room always: there is one for each hook and pod. Whoever used the policy's series up, the events of
        // the others keep the labels that alerts are made from.
        if binary != overflow && !self.exported.contains_key(&key) {
            let of_policy = self.of_policy.entry(policy).or_default();
            let of_owner = self.of_pod.entry(key.policy_and_pod()).or_default();
            let most = if uid.is_some() { self.limits.per_pod } else { self.limits.of_host() };
            if usize::try_from(*of_owner).is_ok_and(|of_owner| of_owner < most)
                && *of_policy < self.limits.per_policy
            {
                *of_policy += 1;
                *of_owner += 1;
            } else {
                key.binary = overflow;
            }
        }
        let entry = self.exported.entry(key).or_default();
        entry.value += added.events;
        entry.grown = entry.grown.max(added.grown);
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
