//! The kernel's counts as series.
//!
//! The kernel counts by hook, cgroup and binary, and its numbers only grow. Each time they are read, what was added
//! since is given to the series of the labels that these mean *now*: so a series never goes down, whatever
//! happens to cgroups, pods and hooks behind it. Counts whose labels are not known yet are held back.

mod entry;
mod fold;
mod hook;
mod label;
mod names;
mod outcomes;
mod samples;
mod saved;
mod totals;

use std::{
    collections::BTreeMap,
    hash::Hash,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

// Ten thousand keys are looked up in each scrape, and the standard hash takes as long as all else.
use foldhash::{HashMap, HashSet};
use gatewatch_abi::consts::{OVERFLOW, UNKNOWN};

use self::{
    entry::{Entry, Key},
    names::{Name, Names},
};
use crate::attribution::{Attribution, CgroupKey, Forgotten};

pub use self::{
    hook::{Hook, InPolicy},
    label::binary_label,
    outcomes::{Outcome, OutcomeSample, Outcomes},
    samples::{Labels, LastEvent, Row, Sample, Samples},
    saved::{SavedSeries, SavingSeries},
    totals::{HookSample, HookTotals, SavedTotals},
};

/// How long the series of a deleted pod stay after the first scrape that had their last values: time for a second
/// Prometheus to see them too.
pub const AFTER_LAST_SCRAPE: Duration = Duration::from_mins(1);

/// How long they stay without a scrape.
pub const UNSCRAPED: Duration = Duration::from_hours(1);

/// Milliseconds by which the clock may be set back before later times are forgotten.
const CLOCK_STEP: u64 = 60_000;

/// The label `binary` of the series that takes the events of programs that a pod has no share left for, and of all series
/// that a pod or a policy has no room for.
pub const OVERFLOW_BINARY: &str = "<overflow>";

/// Begins the label `binary` of a program that the host executed and whose events are in a pod: the container runtime, before
/// it executes the container's program. A path begins with a slash, so no program of a container has such a label.
pub const HOST_PREFIX: &str = "host:";

/// How many series there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Of a policy. What comes beyond is counted in one more for each hook and pod, whose binary is [`OVERFLOW_BINARY`].
    pub per_policy: usize,
    /// Of a policy and a pod, the same.
    pub per_pod: usize,
}

impl SeriesLimits {
    /// Of a policy and the host. Pods have the other half.
    fn of_host(self) -> usize {
        self.per_policy.div_ceil(2)
    }
}

impl Default for SeriesLimits {
    fn default() -> Self {
        Self { per_policy: 2_000, per_pod: 100 }
    }
}

/// One number of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Count<'a> {
    /// The policy hook, a key of [`Hooks`].
    pub hook: u32,
    /// Id of the cgroup.
    pub cgroup: u64,
    /// The kernel's id of the binary.
    pub binary: u64,
    /// The binary's path; empty where it isn't kept: its pod had no share left for it.
    pub path: &'a [u8],
    /// How often the hook's policy matched, ever.
    pub value: u64,
}

/// The hooks by the number that the kernel counts them under. A number isn't used again for another hook, and a
/// hook stays here until its counts were folded for the last time.
pub type Hooks = BTreeMap<u32, Hook>;

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
    limits: SeriesLimits,
    /// How many each policy has, without those of overflow.
    of_policy: HashMap<Name, usize>,
    /// How many each policy and pod (namespace and name) has, likewise.
    of_pod: HashMap<(Name, Name, Name), u32>,
    /// The kernel's number at the last fold, by hook, cgroup id and binary.
    last: HashMap<(u32, u64, u64), u64>,
    held: HashMap<Held, Waiting>,
    /// The names of these are kept.
    binaries: HashMap<u64, Name>,
    exported: HashMap<Key, Entry>,
    names: Names,
    /// The time of the present fold, in milliseconds since 1970; 0 if the caller has no clock.
    clock: u64,
    /// The last time at which a count grew.
    newest: u64,
    /// Events that were dropped because their pod never became known, by hook.
    unattributed: HashMap<u32, u64>,
}

/// Events that wait for their owner.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    events: u64,
    /// When the last of them was counted.
    grown: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    hook: u32,
    cgroup: CgroupKey,
    binary: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self::new(SeriesLimits::default())
    }
}

impl Series {
    /// Begins with none.
    pub fn new(limits: SeriesLimits) -> Self {
        Self {
            limits,
            of_policy: HashMap::default(),
            of_pod: HashMap::default(),
            last: HashMap::default(),
            held: HashMap::default(),
            binaries: HashMap::default(),
            exported: HashMap::default(),
            names: Names::default(),
            clock: 0,
            newest: 0,
            unattributed: HashMap::default(),
        }
    }

    /// The time of day of the next [`fold`](Self::fold). A series that grows in it has its last event at this time.
    pub fn set_clock(&mut self, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.clock = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        // A clock that was wrong would hide all events until it is that time again.
        let latest = self.clock.saturating_add(CLOCK_STEP);
        if self.newest > latest {
            self.newest = self.clock;
            let entries = self.exported.values_mut().map(|entry| &mut entry.grown);
            for grown in entries.chain(self.held.values_mut().map(|waiting| &mut waiting.grown)) {
                if *grown > latest {
                    *grown = 0;
                }
            }
        }
    }

    /// Events that were dropped because their pod never became known, so that a policy on labels or names could not be
    /// decided: by hook, since the start of this agent.
    pub fn unattributed(&self) -> impl Iterator<Item = (u32, u64)> {
        self.unattributed.iter().map(|(hook, events)| (*hook, *events))
    }

    /// The last time at which a count grew, as [`set_clock`](Self::set_clock) has given it.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether this binary's path was given already, or there is none.
    pub fn knows_binary(&self, binary: u64) -> bool {
        [OVERFLOW, UNKNOWN].contains(&binary) || self.binaries.contains_key(&binary)
    }

    /// The series as a scrape is to see them.
    pub fn samples(&mut self, now: Instant) -> Samples {
        for gone in self.exported.values_mut().filter_map(Entry::gone) {
            gone.scraped.get_or_insert(now);
        }
        Samples::new(&self.names, self.exported.iter())
    }

    /// Whether counts of this hook are held back.
    pub fn holds(&self, hook: u32) -> bool {
        self.held.keys().any(|held| held.hook == hook)
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
        self.keep_names();
        shrink(&mut self.last);
        shrink(&mut self.held);
        shrink(&mut self.binaries);
        shrink(&mut self.exported);
    }

    /// Removes series whose policy or pod was deleted.
    fn retire(&mut self, hooks: &Hooks, attribution: &Attribution, now: Instant) {
        let watched: HashSet<(Name, Name)> = hooks
            .values()
            .filter_map(|hook| Some((self.names.find(&hook.policy)?, self.names.find(&hook.point.label())?)))
            .collect();
        let names = &self.names;
        let mut exists: HashMap<Name, bool> = HashMap::default();
        let mut lives = |uid: Name| {
            *exists
                .entry(uid)
                .or_insert_with(|| names.text(uid).is_some_and(|uid| attribution.pod_exists(uid)))
        };
        let before = self.exported.len();
        self.exported.retain(|key, entry| {
            if !watched.contains(&(key.policy, key.hook)) {
                return false;
            }
            let stays = {
                let mut pods = entry.pods().peekable();
                pods.peek().is_none() || pods.any(&mut lives)
            };
            if stays {
                entry.clear_gone();
                // Pods that had the same name before.
                entry.keep_pods(&mut lives);
                return true;
            }
            let gone = entry.set_gone(now);
            match gone.scraped {
                Some(scraped) => now.saturating_duration_since(scraped) < AFTER_LAST_SCRAPE,
                None => now.saturating_duration_since(gone.since) < UNSCRAPED,
            }
        });
        if self.exported.len() != before {
            self.count_series();
            self.keep_names();
        }
    }

    fn count_series(&mut self) {
        self.of_policy.clear();
        self.of_pod.clear();
        let overflow = self.names.find(OVERFLOW_BINARY);
        for key in self.exported.keys().filter(|key| Some(key.binary) != overflow) {
            *self.of_policy.entry(key.policy).or_default() += 1;
            *self.of_pod.entry(key.policy_and_pod()).or_default() += 1;
        }
    }

    /// Lets go of names that nothing has any more.
    fn keep_names(&mut self) {
        let series =
            self.exported.iter().flat_map(|(key, entry)| key.names().into_iter().chain(entry.pods()));
        self.names.keep(series.chain(self.binaries.values().copied()));
    }
}

/// Gives memory back that many entries needed and few don't.
fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod last_event_tests;
#[cfg(test)]
mod saved_tests;
#[cfg(test)]
mod tests;
