//! The counts and their owners: what a scrape changes and reads.
//!
//! One mutex guards the counts. It is held to read the kernel's maps and to add what is new to the series, never while a
//! program is loaded. Three rules keep the numbers exact:
//!
//! * The kernel's numbers are read and folded under one lock. If an older reading were folded after a newer one, it would
//!   look as if counting had begun again.
//! * Whoever changes what a number means (policies, labels of pods) [settles](Counts::settle) first, and makes the change
//!   before the lock is released. So no count is folded by a meaning that it didn't have.
//! * Counts are removed from the maps under the lock, after they were saved.
//!
//! A cgroup that a scrape learns of gets its owner here at once. The engine assigns its policy set later: until then all
//! policies count in it, and the fold drops the counts of those that don't select it.

mod over_share;
mod records;
mod retention;
mod saved;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use gatewatch_abi::consts::{ENFORCED, OVERFLOW, UNKNOWN};

pub use self::retention::Retention;
use self::{over_share::OverShares, records::RecordTotals};
use crate::{
    attribution::{Attribution, Forgotten, Owner, POD_GRACE},
    bpf::{Lane, LoadError, Reader},
    cgroup::{self, Level, PodCgroups},
    engine::View,
    metrics::{MapFill, Snapshot},
    records::Shared,
    series::{Count, HookTotals, InPolicy, Outcomes, Series},
    sources::Change,
};

/// The labels of a hook, see [`Hook::labels`](crate::series::Hook::labels).
type Labels = (Arc<str>, Arc<str>);

/// See the module's documentation.
pub(super) struct Counts {
    pub(super) reader: Reader,
    /// Replaced together with what it describes, see [`Counts::settle`].
    pub(super) view: View,
    attribution: Attribution,
    series: Series,
    overflow: HookTotals<u32>,
    unattributed: HookTotals<u32>,
    outcomes: Outcomes,
    missed: HookTotals<InPolicy<Lane>>,
    /// By the number under which the kernel counts a lane's, 0 for what is there without any.
    unknown: HookTotals<(u32, InPolicy<Lane>)>,
    /// In milliseconds.
    gaps: HookTotals<InPolicy<String>>,
    pending: u64,
    over_share: OverShares,
    records: RecordTotals,
    retention: Retention,
    cgroup_root: Option<PathBuf>,
    /// Whether the kernel must learn the policy sets of cgroups again.
    unassigned: bool,
    /// The last event that is saved, by its time.
    saved: u64,
}

impl Counts {
    /// Begins with what an earlier agent has saved.
    pub(super) fn new(
        reader: Reader,
        view: View,
        cgroup_root: Option<PathBuf>,
        retention: Retention,
        now: Instant,
    ) -> Self {
        let mut counts = Self {
            reader,
            view,
            attribution: Attribution::new(POD_GRACE),
            series: Series::new(retention.series),
            overflow: HookTotals::default(),
            unattributed: HookTotals::default(),
            outcomes: Outcomes::default(),
            missed: HookTotals::default(),
            unknown: HookTotals::default(),
            gaps: HookTotals::default(),
            pending: 0,
            over_share: OverShares::default(),
            records: RecordTotals::default(),
            retention,
            cgroup_root,
            unassigned: true,
            saved: 0,
        };
        counts.restore(now);
        counts.find_cgroups(&[], now);
        // Counts that are newer than what the earlier agent saved belong to the pods that its policies selected, by the
        // labels of that time. Both may have changed since.
        counts.fold(now);
        counts
    }

    /// Accounts for the records that this reader reads.
    pub(super) fn account_for(&mut self, shared: Arc<Shared>) {
        self.records.set(shared);
    }

    /// Adds what the kernel has counted since the last call to the series, by the policies and labels of now. Before
    /// policies are applied these are the ones of the earlier agent.
    pub(super) fn fold(&mut self, now: Instant) {
        if let Err(error) = self.try_fold(now) {
            tracing::error!(%error, "cannot read the counts");
        }
    }

    /// The same for a caller that removes counts afterwards: it must not after an error.
    pub(super) fn try_fold(&mut self, now: Instant) -> Result<(), LoadError> {
        if !self.view.named {
            return Ok(());
        }
        let all = self.reader.counts()?;
        let without_cgroup =
            |of| all.iter().filter(move |(key, _)| key.cgroup == OVERFLOW && key.binary == of);
        let (overflow, unknown) = (without_cgroup(OVERFLOW), without_cgroup(UNKNOWN));
        self.records.fold(&all, &self.view.hooks);
        let of_actions = all.iter().filter(|(key, _)| key.cgroup == ENFORCED);
        let counts = || all.iter().filter(|(key, _)| key.cgroup != OVERFLOW && key.cgroup != ENFORCED);
        let mut paths: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (key, _) in counts() {
            if !self.series.knows_binary(key.binary) {
                paths.entry(key.binary).or_insert_with(|| self.reader.binary_path(key.binary));
            }
        }
        let counts = counts().map(|(key, value)| Count {
            hook: key.hook,
            cgroup: key.cgroup,
            binary: key.binary,
            path: paths.get(&key.binary).map_or(&[], Vec::as_slice),
            value: *value,
        });
        let hooks = &*self.view.hooks;
        self.series.set_clock(SystemTime::now());
        let folded = self.series.fold(counts, hooks, &self.attribution, now);
        self.pending = folded.pending;
        let by_number = hooks.iter().map(|(id, hook)| (*id, hook.labels()));
        self.overflow.fold(overflow.map(|(key, value)| (key.hook, *value)), by_number.clone());
        self.unattributed.fold(self.series.unattributed(), by_number);
        let outcomes = of_actions.map(|(key, value)| (key.hook, key.binary, *value));
        self.outcomes.fold(outcomes, hooks, &self.view.indexes);
        // Each policy missed what a lane's program missed once, however many hooks it has in that lane.
        let by_lane: BTreeMap<_, _> =
            hooks.iter().map(|(id, hook)| (self.view.in_lane(*id, hook), hook.labels())).collect();
        let missed = self.view.missed();
        let numbers = by_lane.keys().filter_map(|of| Some((of.clone(), *missed.get(&of.at)?)));
        let numbers: Vec<_> = numbers.collect();
        let asks = |(of, _): &(&InPolicy<Lane>, _)| self.view.by_program.contains(*of);
        let by_program: Vec<_> =
            by_lane.iter().filter(asks).map(|(of, names)| (of.clone(), names.clone())).collect();
        self.missed.fold(numbers, by_lane);
        self.fold_unknown(unknown.map(|(key, value)| (key.hook, *value)), &by_program);
        let hooks = &*self.view.hooks;
        let by_label = hooks.values().map(|hook| (hook.of_label(), hook.labels()));
        self.gaps.fold(self.view.gaps.iter().map(|(label, gap)| (label.clone(), *gap)), by_label);
        // A cgroup that was created before the BPF programs could record it, or while the record was full.
        if !folded.unknown.is_empty() {
            self.find_cgroups(&folded.unknown, now);
        }
        Ok(())
    }

    /// Saves the series if one has grown since. The next agent takes what isn't saved for new, so its events would seem to
    /// be as late as that agent.
    pub(super) fn save_new_events(&mut self) {
        if self.series.newest() != self.saved {
            self.save();
        }
    }

    /// Adds the events of processes that weren't known: the kernel counts those of a lane under the first of its hooks, and
    /// each policy that asks for programs there had them. `by_program` are these, with their labels.
    fn fold_unknown(
        &mut self,
        numbers: impl Iterator<Item = (u32, u64)>,
        by_program: &[(InPolicy<Lane>, Labels)],
    ) {
        let hooks = &*self.view.hooks;
        let mut labels: Vec<_> =
            by_program.iter().map(|(of, names)| ((0, of.clone()), names.clone())).collect();
        let mut values = Vec::new();
        for (number, value) in numbers {
            let Some(hook) = hooks.get(&number) else { continue };
            let lane = self.view.in_lane(number, hook).at;
            for (of, names) in by_program.iter().filter(|(of, _)| of.at == lane) {
                labels.push(((number, of.clone()), names.clone()));
                values.push(((number, of.clone()), value));
            }
        }
        self.unknown.fold(values, labels);
    }

    /// Gives what was counted so far to its owners by the policies and labels of now, and saves that: the next agent,
    /// however this one ends, must not count it by later ones. Call it right before these change, under the same lock.
    pub(super) fn settle(&mut self, now: Instant) {
        self.fold(now);
        self.save();
    }

    /// Applies changes of pods; what was counted before a pod has other labels is settled first.
    pub(super) fn apply_pods(&mut self, changes: Vec<Change>, now: Instant) {
        let mut settled = false;
        for change in changes {
            if !settled && self.relabels(&change) {
                self.settle(now);
                settled = true;
            }
            match change {
                Change::Pods(all) => self.attribution.set_pods(all, now),
                Change::Pod(pod) => self.attribution.apply_pod(pod),
                Change::PodGone(uid) => {
                    self.attribution.delete_pod(&uid, now);
                    continue;
                }
                Change::Policies { .. }
                | Change::PoliciesGone(_)
                | Change::NodeLabels(_)
                | Change::Enforcement(_) => continue,
            }
            self.unassigned = true;
        }
        if settled {
            // From here on events count by the new labels, for the next agent as well.
            self.save();
        }
    }

    /// Sets whether the pods are up to date. While they are not, the grace period of unknown pods is paused.
    pub(super) fn pods_current(&mut self, current: bool, now: Instant) {
        self.unassigned |= self.attribution.set_current(current, now);
    }

    /// Whether pods that are known get other labels.
    fn relabels(&self, change: &Change) -> bool {
        match change {
            Change::Pods(all) => all.iter().any(|pod| self.attribution.relabels(pod)),
            Change::Pod(pod) => self.attribution.relabels(pod),
            _ => false,
        }
    }

    /// Enters the cgroups that exist; of those below containers', which belong to these, only the ones that are `counted`:
    /// they were made before the kernel knew their pod.
    fn find_cgroups(&mut self, counted: &[u64], now: Instant) {
        let Some(root) = &self.cgroup_root else {
            tracing::warn!("no cgroup2 file system is mounted; events can't be assigned to pods");
            return;
        };
        match cgroup::walk(root) {
            Ok(cgroups) => {
                for (id, path) in cgroups {
                    if counted.contains(&id) || cgroup::level(&path) != Level::Nested {
                        self.attribution.add_cgroup(id, &path, now);
                        self.unassigned = true;
                    }
                }
            }
            Err(error) => tracing::warn!(path = %root.display(), %error, "cannot read the cgroups"),
        }
    }

    /// Enters cgroups that were created and removed since the last call.
    pub(super) fn follow_cgroups(&mut self, now: Instant) {
        let changes = match self.reader.cgroup_changes() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "cannot read which cgroups were created and removed");
                return;
            }
        };
        for (id, path) in &changes.made {
            self.attribution.add_cgroup(*id, path, now);
        }
        for id in &changes.removed {
            self.attribution.remove_cgroup(*id, now);
        }
        self.unassigned |= !changes.made.is_empty() || !changes.removed.is_empty();
    }

    /// All cgroups and their owners, for the engine to assign policy sets.
    pub(super) fn owners(&mut self, now: Instant) -> Vec<(u64, Owner)> {
        self.unassigned = false;
        self.attribution.cgroups(now).collect()
    }

    /// The same with those that were removed lately, for records of what happened in them.
    pub(super) fn all_owners(&self, now: Instant) -> Vec<(u64, Owner)> {
        self.attribution.all_cgroups(now).collect()
    }

    /// [`owners`](Self::owners), if there is something new in it.
    pub(super) fn new_owners(&mut self, now: Instant) -> Option<Vec<(u64, Owner)>> {
        self.unassigned.then(|| self.owners(now))
    }

    /// The folder of a container's cgroup that exists.
    pub(super) fn container_folder(&self, id: u64) -> Option<PathBuf> {
        let path = self.attribution.container_path(id)?;
        Some(self.cgroup_root.as_ref()?.join(path.trim_start_matches('/')))
    }

    /// How long cgroups and pods are remembered after their deletion.
    pub(super) fn remembered(&self) -> Duration {
        self.retention.remembered
    }

    /// The cgroups of pods.
    pub(super) fn pod_cgroups(&self) -> PodCgroups {
        self.attribution.pod_cgroups()
    }

    /// The cgroups of pods, those included that were deleted and are remembered.
    pub(super) fn remembered_pods(&self) -> HashSet<u64> {
        self.attribution.remembered_pods()
    }

    /// Forgets cgroups and pods that were deleted some time ago, and returns them. Their counts can then be removed from the
    /// kernel, and after that [here](Self::forget_counts).
    pub(super) fn forget(&mut self, now: Instant) -> Forgotten {
        let keep = self.retention.remembered_beside(self.reader.counts_in_use());
        let forgotten = self.attribution.forget(keep, now);
        // What is removed from the kernel can't be read again.
        self.save();
        // The grace of pods whose objects did not come may be over.
        self.unassigned = true;
        forgotten
    }

    /// The kernel has no counts of these any more.
    pub(super) fn forget_counts(&mut self, forgotten: &Forgotten) {
        self.series.forget(forgotten);
    }

    /// Whether counts under this number wait for the owner of their cgroup.
    pub(super) fn holds(&self, number: u32) -> bool {
        self.series.holds(number)
    }

    /// The numbers for a scrape.
    pub(super) fn snapshot(&mut self, now: Instant) -> Snapshot {
        let usage = self.reader.usage();
        let over_share = self.over_share.follow(&usage.over_share, &self.attribution, now);
        let fill = |(map, entries, capacity): &(&'static str, u64, u64)| MapFill {
            map,
            entries: *entries,
            capacity: *capacity,
        };
        Snapshot {
            samples: self.series.samples(now),
            overflow: self.overflow.samples(),
            unattributed: self.unattributed.samples(),
            outcomes: self.outcomes.samples(),
            missed: self.missed.samples(),
            unknown_processes: self.unknown.samples(),
            over_share,
            gap_milliseconds: self.gaps.samples(),
            pending_events: self.pending,
            maps: usage.maps.iter().map(fill).collect(),
            left_out: usage.left_out,
            records: self.records.samples(),
            ..Snapshot::default()
        }
    }

    /// The cgroups that exist, for what was restored.
    fn existing(&self) -> Option<HashSet<u64>> {
        let cgroups = cgroup::walk(self.cgroup_root.as_ref()?).ok()?;
        Some(cgroups.into_iter().map(|(id, _)| id).collect())
    }
}
