//! The kernel's counts: taken up, forgotten, exported.

use std::collections::BTreeMap;
use std::time::Instant;

use gatewatch_abi::consts::OVERFLOW;

use super::State;
use crate::attribution::REMEMBERED;
use crate::kernel_half::LoadError;
use crate::metrics::{MapFill, Snapshot};
use crate::series::{Count, Hook};

impl State {
    /// Takes up what the kernel has counted: before policies are applied, for those of the agent before.
    pub(super) fn fold(&mut self, now: Instant) -> Result<(), LoadError> {
        if !self.engine.named() {
            return Ok(());
        }
        let kernel = self.engine.kernel();
        let all = kernel.counts()?;
        let overflow = all.iter().filter(|(key, _)| key.cgroup == OVERFLOW);
        let counts = || all.iter().filter(|(key, _)| key.cgroup != OVERFLOW);
        let mut paths: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (key, _) in counts() {
            if !self.series.knows_binary(key.binary) {
                paths.entry(key.binary).or_insert_with(|| kernel.binary_path(key.binary));
            }
        }
        let counts = counts().map(|(key, value)| Count {
            hook: key.hook,
            cgroup: key.cgroup,
            binary: key.binary,
            path: paths.get(&key.binary).map_or(&[], Vec::as_slice),
            value: *value,
        });
        let hooks = self.engine.hooks();
        let folded = self.series.fold(counts, hooks, &self.attribution, now);
        self.pending = folded.pending;
        self.overflow.fold(overflow.map(|(key, value)| (key.hook, *value)), hooks);
        // What a function's program missed, each policy missed once, however many hooks it has there.
        let mut missed: BTreeMap<(&str, Option<&str>, &str), (u32, u64)> = BTreeMap::new();
        let mut gaps: BTreeMap<(&str, Option<&str>, &str), (u32, u64)> = BTreeMap::new();
        let by_site = kernel.missed();
        for (id, hook) in hooks {
            let Hook { policy, namespace, symbol, .. } = hook;
            let of_symbol = by_site.iter().filter(|((of, _), _)| **of == **symbol);
            let times = of_symbol.map(|(_, missed)| missed.recursion).sum();
            missed.entry((policy, namespace.as_deref(), symbol)).or_insert((*id, times));
            let gap = self.engine.gaps().get(id).copied().unwrap_or(0);
            gaps.entry((policy, namespace.as_deref(), symbol)).or_insert((*id, gap));
        }
        self.missed.fold(missed.into_values(), hooks);
        self.gaps.fold(gaps.into_values(), hooks);
        // A cgroup that was made before the kernel half could note it, or while its notes had no room.
        if !folded.unknown.is_empty() {
            self.find_cgroups(now);
            self.classify_cgroups(now);
        }
        Ok(())
    }

    /// Forgets cgroups that are gone for long, here and in the kernel.
    pub(super) fn forget(&mut self, now: Instant) {
        let forgotten = self.attribution.forget(REMEMBERED, now);
        // Written down first: what is taken out of the kernel now can't be read again.
        self.save();
        if let Err(error) = self.engine.kernel_mut().remove_cgroup_counts(&forgotten.ids) {
            tracing::warn!(%error, "cannot forget the counts of cgroups that are gone");
            return;
        }
        self.series.forget(&forgotten);
        // Pods whose object didn't come in time are decided about now.
        self.classify_cgroups(now);
    }

    pub(super) fn snapshot(&mut self, now: Instant) -> Snapshot {
        let usage = self.engine.kernel().usage();
        let source_problems: u64 = self.sources.iter().map(|source| source.problems()).sum();
        Snapshot {
            samples: self.series.samples(now),
            policies: self.statuses.clone(),
            overflow: self.overflow.samples(),
            missed: self.missed.samples(),
            gap_milliseconds: self.gaps.samples(),
            pending_events: self.pending,
            maps: usage
                .maps
                .iter()
                .map(|(map, entries, capacity)| MapFill { map, entries: *entries, capacity: *capacity })
                .collect(),
            left_out: usage.left_out,
            policy_set_hash: self.published.borrow().hash.clone(),
            source_problems: source_problems + u64::try_from(self.library.broken()).unwrap_or(u64::MAX),
        }
    }
}
