//! What the load generator has made, as the series that a scrape must show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::scrape::{EVENTS, samples};

/// The agent exports a series of a deleted pod for a minute after the first scrape that had its last value, and removes it
/// some time later. After this time the scrape may have it or not.
const STAYS: Duration = Duration::from_secs(55);
/// Within this time, a new pod with the name of a deleted one continues its series.
const SAFE: Duration = Duration::from_secs(15);

/// Policy, function, the pod's namespace and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) policy: String,
    pub(super) symbol: String,
    pub(super) namespace: String,
    pub(super) pod: String,
}

#[derive(Debug, Default)]
struct Entry {
    value: u64,
    /// Uids of the pods that made it; none for the host.
    pods: BTreeSet<String>,
    /// Since when none of them exists.
    gone: Option<Instant>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The program that makes the calls.
    binary: String,
    entries: BTreeMap<Key, Entry>,
}

impl Ledger {
    pub(super) fn new(binary: String) -> Self {
        Self { binary, entries: BTreeMap::new() }
    }

    /// Whether it is known what a series will be that more is counted in.
    pub(super) fn certain(&self, key: &Key) -> bool {
        self.entries.get(key).and_then(|entry| entry.gone).is_none_or(|since| since.elapsed() < SAFE)
    }

    /// So many calls were made. `uid` is the pod's, none for the host.
    pub(super) fn add(&mut self, key: Key, uid: Option<&str>, calls: u64) {
        let entry = self.entries.entry(key).or_default();
        entry.value += calls;
        if let Some(uid) = uid {
            entry.pods.insert(uid.to_owned());
        }
        entry.gone = None;
    }

    /// A pod was deleted; these exist.
    pub(super) fn pod_gone(&mut self, lives: impl Fn(&str) -> bool) {
        for entry in self.entries.values_mut().filter(|entry| !entry.pods.is_empty()) {
            if !entry.pods.iter().any(|uid| lives(uid)) {
                entry.gone.get_or_insert_with(Instant::now);
            }
        }
    }

    /// A policy watches these functions now, and no others.
    pub(super) fn watches(&mut self, policy: &str, symbols: &[&str]) {
        self.entries.retain(|key, _| key.policy != policy || symbols.contains(&key.symbol.as_str()));
    }

    /// All calls.
    pub(super) fn total(&self) -> u64 {
        self.entries.values().map(|entry| entry.value).sum()
    }

    /// How many series there are to be.
    pub(super) fn series(&self) -> usize {
        self.entries.len()
    }

    /// Compares with a scrape, and returns the differences. Series that `skip` selects grow meanwhile, so they only have to
    /// exist.
    pub(super) fn differences(&mut self, text: &str, skip: impl Fn(&Key) -> bool) -> String {
        let mut found: BTreeMap<Key, u64> = BTreeMap::new();
        let mut differences = String::new();
        for (labels, value) in samples(text, EVENTS) {
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let key = Key {
                policy: label("policy"),
                symbol: label("hook").trim_start_matches("kprobe:").to_owned(),
                namespace: label("namespace"),
                pod: label("pod"),
            };
            if label("binary") != self.binary {
                let _ = writeln!(differences, "{value} of the program {:?}: {key:?}", label("binary"));
            }
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counters of tests are small integers"
            )]
            let value = value as u64;
            *found.entry(key).or_default() += value;
        }
        self.entries.retain(|key, entry| {
            let over = entry.gone.is_some_and(|since| since.elapsed() >= STAYS);
            found.contains_key(key) || !over
        });
        let keys: BTreeSet<&Key> = self.entries.keys().chain(found.keys()).collect();
        for key in keys {
            let made = self.entries.get(key);
            let counted = found.get(key);
            if made.map(|made| made.value) != counted.copied() && !skip(key) {
                let made = made.map(|entry| (entry.value, entry.gone.map(|since| since.elapsed())));
                let _ = writeln!(differences, "made {made:?}, counted {counted:?}: {key:?}");
            }
        }
        differences
    }
}
