//! The kernel's counts as series.
//!
//! The kernel counts by hook, cgroup and binary, and its numbers only grow. Each time they are read, what was added
//! since is given to the series of the labels that these mean *now*: so a series never goes down, whatever
//! happens to cgroups, pods and hooks behind it. What can't be told yet is held back until it can.

mod label;
mod saved;
mod totals;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatewatch_policy::plan::Scope;

use crate::attribution::{Attribution, CgroupKey, Forgotten, Owner, Selection, selection};

pub use label::binary_label;
pub use saved::SavedSeries;
pub use totals::{HookSample, HookTotals, SavedTotals};

/// How long the series of a deleted pod stay after the first scrape that had their last values: time for a second
/// Prometheus to see them too.
pub const AFTER_LAST_SCRAPE: Duration = Duration::from_mins(1);

/// How long they stay if nobody scrapes.
pub const UNSCRAPED: Duration = Duration::from_hours(1);

/// The label `binary` of the series that takes the events of all series that a policy has no room for.
pub const OVERFLOW_BINARY: &str = "<overflow>";

/// How many series a policy may have, unless told otherwise.
pub const SERIES_PER_POLICY: usize = 2_000;

/// One number of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Count<'a> {
    /// The policy hook, a key of [`Hooks`].
    pub hook: u32,
    /// Id of the cgroup.
    pub cgroup: u64,
    /// The kernel's id of the binary.
    pub binary: u64,
    /// The binary's path; empty where it isn't known (yet).
    pub path: &'a [u8],
    /// How often the hook's policy matched, ever.
    pub value: u64,
}

/// What a policy hook of the kernel stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The policy's namespace, for a namespaced one.
    pub namespace: Option<Arc<str>>,
    /// The kernel function.
    pub symbol: Arc<str>,
    /// Whom the policy watches.
    pub scope: Arc<Scope>,
}

impl Hook {
    /// The value of the label `hook`.
    pub fn label(&self) -> Arc<str> {
        format!("kprobe:{}", self.symbol).into()
    }
}

/// The hooks by the number that the kernel counts them under. A number isn't used again for another hook, and a
/// hook stays here until its counts were folded for the last time.
pub type Hooks = BTreeMap<u32, Hook>;

/// The labels of `tetragon_policy_events_total`, in the order in which they are exported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// Path of the calling process's program.
    pub binary: Arc<str>,
    /// `kprobe:SYMBOL`.
    pub hook: Arc<str>,
    /// The pod's namespace; empty for the host.
    pub namespace: Arc<str>,
    /// The pod's name; empty for the host. A pod that nobody listed goes by its uid.
    pub pod: Arc<str>,
    /// The policy's name.
    pub policy: Arc<str>,
    /// Name of the pod's workload; empty for the host.
    pub workload: Arc<str>,
}

impl Labels {
    /// Makes these the labels of the series that takes what its policy has no room for.
    fn overflow(&mut self) {
        let empty: Arc<str> = "".into();
        self.binary = OVERFLOW_BINARY.into();
        (self.namespace, self.pod, self.workload) = (empty.clone(), empty.clone(), empty);
    }

    /// Whether they are. A binary's path begins with a slash.
    fn is_overflow(&self) -> bool {
        &*self.binary == OVERFLOW_BINARY
    }
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which series.
    pub labels: Labels,
    /// Events so far.
    pub value: u64,
}

/// What [`Series::fold`] couldn't place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Events that are held back until it is known whose they are.
    pub pending: u64,
    /// Cgroups that have counts and that the attribution has never heard of.
    pub unknown: Vec<u64>,
}

/// The exported series.
#[derive(Debug)]
pub struct Series {
    /// How many a policy may have. What comes beyond is counted in one more, whose binary is [`OVERFLOW_BINARY`] and
    /// whose pod is empty.
    limit: usize,
    /// How many each policy has, without that one.
    of_policy: HashMap<Arc<str>, usize>,
    /// The kernel's number at the last fold, by hook, cgroup id and binary.
    last: HashMap<(u32, u64, u64), u64>,
    held: HashMap<Held, u64>,
    binaries: HashMap<u64, Arc<str>>,
    exported: BTreeMap<Labels, Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    hook: u32,
    cgroup: CgroupKey,
    binary: u64,
}

#[derive(Debug, Default)]
struct Entry {
    value: u64,
    /// Uids of the pods behind it; none for the host's.
    pods: Vec<Arc<str>>,
    gone: Option<Gone>,
}

/// None of a series' pods exists any more.
#[derive(Clone, Copy, Debug)]
struct Gone {
    since: Instant,
    /// First scrape that had the last value.
    scraped: Option<Instant>,
}

impl Default for Series {
    fn default() -> Self {
        Self::new(SERIES_PER_POLICY)
    }
}

impl Series {
    /// Begins with none. `limit` is how many a policy may have.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            of_policy: HashMap::new(),
            last: HashMap::new(),
            held: HashMap::new(),
            binaries: HashMap::new(),
            exported: BTreeMap::new(),
        }
    }

    /// Takes up what the kernel has counted. `counts` are all its numbers, each key once.
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
        let mut unknown = HashSet::new();
        self.last.retain(|(hook, ..), _| hooks.contains_key(hook));
        self.held.retain(|held, _| hooks.contains_key(&held.hook));
        for count in counts {
            if !hooks.contains_key(&count.hook) {
                continue;
            }
            if !count.path.is_empty() && !self.binaries.contains_key(&count.binary) {
                self.binaries.insert(count.binary, binary_label(count.path).into());
            }
            let last = self.last.entry((count.hook, count.cgroup, count.binary)).or_default();
            // A number that is lower than before was deleted and begins again.
            let added = count.value.checked_sub(*last).unwrap_or(count.value);
            *last = count.value;
            if added > 0 {
                let held =
                    Held { hook: count.hook, cgroup: attribution.key(count.cgroup), binary: count.binary };
                *self.held.entry(held).or_default() += added;
            }
        }
        self.place(hooks, attribution, now);
        for held in self.held.keys() {
            if !attribution.knows(held.cgroup.id) {
                unknown.insert(held.cgroup.id);
            }
        }
        self.retire(hooks, attribution, now);
        let mut unknown: Vec<_> = unknown.into_iter().collect();
        unknown.sort_unstable();
        Folded { pending: self.held.values().sum(), unknown }
    }

    /// Whether this binary's path was given already.
    pub fn knows_binary(&self, binary: u64) -> bool {
        self.binaries.contains_key(&binary)
    }

    /// The series as a scrape is to see them, sorted.
    pub fn samples(&mut self, now: Instant) -> Vec<Sample> {
        for gone in self.exported.values_mut().filter_map(|entry| entry.gone.as_mut()) {
            gone.scraped.get_or_insert(now);
        }
        self.exported
            .iter()
            .map(|(labels, entry)| Sample { labels: labels.clone(), value: entry.value })
            .collect()
    }

    /// Forgets the kernel's numbers of cgroups that the attribution forgot: call it when they were deleted in the
    /// kernel. The series keep what they have.
    pub fn forget(&mut self, forgotten: &Forgotten) {
        let ids: HashSet<u64> = forgotten.ids.iter().copied().collect();
        let cgroups: HashSet<CgroupKey> = forgotten.cgroups.iter().copied().collect();
        self.last.retain(|(_, id, _), _| !ids.contains(id));
        self.held.retain(|held, _| !cgroups.contains(&held.cgroup));
        let used: HashSet<u64> = self.last.keys().map(|(.., binary)| *binary).collect();
        self.binaries.retain(|binary, _| used.contains(binary));
    }

    /// Gives what is held to its series, or drops it, where that can be decided.
    fn place(&mut self, hooks: &Hooks, attribution: &Attribution, now: Instant) {
        let mut owners: HashMap<CgroupKey, Owner> = HashMap::new();
        let empty: Arc<str> = "".into();
        let (exported, binaries) = (&mut self.exported, &self.binaries);
        let (of_policy, limit) = (&mut self.of_policy, self.limit);
        self.held.retain(|held, count| {
            let Some(hook) = hooks.get(&held.hook) else { return false };
            let owner = owners.entry(held.cgroup).or_insert_with(|| attribution.owner(held.cgroup, now));
            match selection(&hook.scope, owner) {
                Selection::Undecided => return true,
                Selection::Unselected => return false,
                Selection::Selected => {}
            }
            let (uid, namespace, pod, workload): (Option<&str>, Arc<str>, Arc<str>, Arc<str>) = match owner {
                Owner::Container { pod, .. } => (
                    Some(&pod.uid),
                    pod.namespace.as_str().into(),
                    pod.name.as_str().into(),
                    pod.workload.name.as_str().into(),
                ),
                Owner::Unlisted { uid } => (Some(uid), empty.clone(), uid.clone(), empty.clone()),
                Owner::Host | Owner::Pending => (None, empty.clone(), empty.clone(), empty.clone()),
            };
            let mut labels = Labels {
                binary: binaries.get(&held.binary).unwrap_or(&empty).clone(),
                hook: hook.label(),
                namespace,
                pod,
                policy: hook.policy.clone(),
                workload,
            };
            if !exported.contains_key(&labels) {
                let used = of_policy.entry(labels.policy.clone()).or_default();
                if *used < limit {
                    *used += 1;
                } else {
                    labels.overflow();
                }
            }
            let uid = uid.filter(|_| !labels.is_overflow());
            let entry = exported.entry(labels).or_default();
            entry.value += *count;
            // A new value has to be scraped before the series may go.
            entry.gone = None;
            if let Some(uid) = uid.filter(|uid| !entry.pods.iter().any(|known| **known == **uid)) {
                entry.pods.push(uid.into());
            }
            false
        });
    }

    /// Takes away series whose policy or pod is gone.
    fn retire(&mut self, hooks: &Hooks, attribution: &Attribution, now: Instant) {
        let watched: HashSet<(&str, &str)> = hooks.values().map(|h| (&*h.policy, &*h.symbol)).collect();
        let mut exists: HashMap<Arc<str>, bool> = HashMap::new();
        let before = self.exported.len();
        self.exported.retain(|labels, entry| {
            let symbol = labels.hook.strip_prefix("kprobe:").unwrap_or(&labels.hook);
            if !watched.contains(&(&*labels.policy, symbol)) {
                return false;
            }
            let was_host = entry.pods.is_empty();
            let mut lives =
                |uid: &Arc<str>| *exists.entry(uid.clone()).or_insert_with(|| attribution.pod_exists(uid));
            if was_host || entry.pods.iter().any(&mut lives) {
                entry.gone = None;
                // Pods that had the same name before.
                if entry.pods.len() > 1 {
                    entry.pods.retain(lives);
                }
                return true;
            }
            let gone = entry.gone.get_or_insert(Gone { since: now, scraped: None });
            match gone.scraped {
                Some(scraped) => now.saturating_duration_since(scraped) < AFTER_LAST_SCRAPE,
                None => now.saturating_duration_since(gone.since) < UNSCRAPED,
            }
        });
        if self.exported.len() != before {
            self.count_series();
        }
    }

    fn count_series(&mut self) {
        self.of_policy.clear();
        for labels in self.exported.keys().filter(|labels| !labels.is_overflow()) {
            *self.of_policy.entry(labels.policy.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod tests;
