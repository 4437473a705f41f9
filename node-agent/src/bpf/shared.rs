//! The maps that all programs share.

use std::{collections::HashSet, path::Path};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use gatewatch_abi::{
    CountKey, Hierarchy, Process, Sizes, binary_ids,
    consts::{FOLLOW_AGENT, FOLLOW_SERVICE, GENERATIONS, MAX_FOLLOW_SETS},
};

use super::{
    LoadError,
    batch::Table,
    counts::Counts,
    enforcement::Switch,
    maps::{ignore_missing, take},
    processes,
    programs::Programs,
    shares::Shares,
    tracker::Tracker,
};
use crate::cgroup::{self, PodCgroups};

/// `BPF_EXIST`, include/uapi/linux/bpf.h.
const EXIST: u64 = 2;

/// So often processes are looked through for bits that are to go.
const CLEARED_WITHIN: u32 = 8;
/// So often processes are looked for that aren't known.
const SCANNED_WITHIN: u32 = 4;

/// The shared maps.
pub(super) struct Shared {
    pub(super) counts: Counts,
    generations: Array<MapData, [u64; GENERATIONS]>,
    pub(super) processes: Table<u32, Process>,
    pub(super) programs: Programs,
    pub(super) shares: Shares,
    pub(super) cgroups: Table<u64, u32>,
    follow: Table<u64, u64>,
    /// The sets that are followed; a set's place is its bit. An empty one is a bit that is free.
    sets: Vec<Vec<Vec<u8>>>,
    /// The programs of the node's services.
    services: HashSet<Vec<u8>>,
    pub(super) switch: Switch,
}

/// The pods that exist, by the cgroups below this mount.
pub(super) fn existing_pods(cgroups: Option<&Path>) -> Result<PodCgroups, LoadError> {
    let Some(root) = cgroups else { return Ok(PodCgroups::default()) };
    let cgroups = cgroup::walk(root).map_err(LoadError::Cgroups)?;
    Ok(cgroups.iter().map(|(id, path)| (*id, cgroup::level(path))).collect())
}

impl Shared {
    /// Takes the maps out of the object that was loaded first, which have these sizes.
    /// `adopted`: they are an earlier agent's.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        adopted: bool,
        sizes: Sizes,
        hierarchy: Hierarchy,
    ) -> Result<Self, LoadError> {
        let mut shared = Self {
            counts: Counts::take(ebpf, adopted, sizes.places)?,
            generations: take(ebpf, "GENERATIONS")?,
            processes: Table::take(ebpf, "PROCESSES")?,
            programs: Programs::take(ebpf)?,
            shares: Shares::take(ebpf, sizes, hierarchy)?,
            cgroups: Table::take(ebpf, "CGROUPS")?,
            follow: Table::take(ebpf, "FOLLOW")?,
            sets: Vec::new(),
            services: HashSet::new(),
            switch: Switch::take(ebpf)?,
        };
        // Its release of places may not have come to this.
        shared.forget_tasks()?;
        Ok(shared)
    }

    /// What matchers remember of tasks holds no longer: to be called when something that they remember has changed,
    /// see [`generation_slot`](gatewatch_abi::generation_slot).
    fn forget_tasks(&mut self) -> Result<(), LoadError> {
        /// Where the agent counts; what the BPF programs add stays below, or would come here later than we do.
        const ONE: u64 = 1 << 40;
        let failed = |source| LoadError::Map { map: "GENERATIONS", source };
        let known = self.generations.get(&0, 0).map_err(failed)?;
        let next = (known.iter().copied().max().unwrap_or(0) / ONE + 1) * ONE;
        self.generations.set(0, [next; GENERATIONS], 0).map_err(failed)
    }

    /// Enters the pods that exist, and then the processes that run already: in a pod's cgroup they are none of the host's. To
    /// be called when the tracker is attached, which enters what is made from then on.
    pub(super) fn find_processes(
        &mut self,
        pods: PodCgroups,
        tracker: &mut Tracker,
    ) -> Result<(), LoadError> {
        self.set_pods(pods)?;
        self.scan_processes(tracker)
    }

    /// A process that is made meanwhile by one that wasn't entered yet isn't entered by the kernel: it is found at the next
    /// look.
    fn scan_processes(&mut self, tracker: &mut Tracker) -> Result<(), LoadError> {
        let mut known = HashSet::new();
        for _ in 0..SCANNED_WITHIN {
            let now: HashSet<u32> = tracker.running()?.iter().map(|process| process.id).collect();
            if now.is_subset(&known) {
                break;
            }
            known = now;
        }
        self.forget_tasks()
    }

    /// Enters pods, and the cgroups in which there will be more.
    pub(super) fn set_pods(&mut self, cgroups: PodCgroups) -> Result<(), LoadError> {
        let before = self.shares.pods().count();
        self.shares.set_cgroups(cgroups)?;
        // What was remembered of tasks in cgroups below a new pod's container was remembered for these.
        if self.shares.pods().count() == before { Ok(()) } else { self.forget_tasks() }
    }

    /// Removes the paths of programs that nothing uses, and gives pods back what they no longer have. `known`: whether
    /// there may still be counts of a cgroup.
    pub(super) fn settle_shares(&mut self, known: impl Fn(u64) -> bool) -> Result<(), LoadError> {
        self.programs.reclaim(&self.counts, &self.processes)?;
        self.shares.settle(&self.counts, self.programs.paths(), known)
    }

    /// Removes counts. What is counted under them from now on has no name any more.
    pub(super) fn remove_counts(&mut self, gone: impl Fn(&CountKey) -> bool) -> Result<(), LoadError> {
        if self.counts.remove(gone)? { self.forget_tasks() } else { Ok(()) }
    }

    pub(super) fn set_cgroup_policy_set(
        &mut self,
        cgroup: u64,
        policy_set: Option<u32>,
    ) -> Result<(), LoadError> {
        match policy_set {
            Some(policy_set) => self
                .cgroups
                .insert(cgroup, policy_set, 0)
                .map_err(|source| LoadError::Map { map: "CGROUPS", source })?,
            None => ignore_missing(self.cgroups.remove(&cgroup), "CGROUPS")?,
        }
        self.forget_tasks()
    }

    /// The bit of a set of programs whose descendants belong to them. Processes that run already are entered: those
    /// that run such a program now, or whose ancestors do.
    pub(super) fn follow_set(
        &mut self,
        set: &[Vec<u8>],
        hash_key: u64,
        tracker: &mut Tracker,
    ) -> Result<u64, LoadError> {
        if let Some(known) = self.sets.iter().position(|known| known == set) {
            return Ok(1 << known);
        }
        let bit = match self.sets.iter().position(Vec::is_empty) {
            Some(free) => free,
            None if self.sets.len() < MAX_FOLLOW_SETS => {
                self.sets.push(Vec::new());
                self.sets.len() - 1
            }
            None => return Err(LoadError::FollowSets),
        };
        self.sets[bit] = set.to_vec();
        let mask = 1 << bit;
        let programs: Vec<u64> = set.iter().flat_map(|path| binary_ids(hash_key, path)).collect();
        for &id in &programs {
            let masks = self.follow.get(&id, 0).unwrap_or(0) | mask;
            self.follow.insert(id, masks, 0).map_err(|source| LoadError::Map { map: "FOLLOW", source })?;
        }
        for id in processes::descendants(&tracker.running()?, &programs) {
            if let Ok(mut process) = self.processes.get(&id, 0) {
                process.follow |= mask;
                let _ = self.processes.insert(id, process, 0);
            }
        }
        self.forget_tasks()?;
        Ok(mask)
    }

    /// Marks the programs at these paths as services of the node, where the host runs them, and what they have started.
    pub(super) fn spare_services(
        &mut self,
        paths: &[Vec<u8>],
        hash_key: u64,
        tracker: &mut Tracker,
    ) -> Result<(), LoadError> {
        let new: Vec<&Vec<u8>> = paths.iter().filter(|path| !self.services.contains(*path)).collect();
        if new.is_empty() {
            return Ok(());
        }
        // A container has no program under the second id.
        let programs: Vec<u64> = new.iter().map(|path| binary_ids(hash_key, path)[1]).collect();
        for &id in &programs {
            let masks = self.follow.get(&id, 0).unwrap_or(0) | FOLLOW_SERVICE;
            self.follow.insert(id, masks, 0).map_err(|source| LoadError::Map { map: "FOLLOW", source })?;
        }
        for id in processes::descendants(&tracker.running()?, &programs) {
            if let Ok(mut process) = self.processes.get(&id, 0) {
                process.follow |= FOLLOW_SERVICE;
                let _ = self.processes.insert(id, process, EXIST);
            }
        }
        self.services.extend(new.into_iter().cloned());
        self.forget_tasks()
    }

    /// Takes a bit from all processes.
    pub(super) fn unmark(&mut self, bit: u64) -> Result<(), LoadError> {
        for id in self.processes.all_keys()? {
            if let Ok(mut process) = self.processes.get(&id, 0)
                && process.follow & bit != 0
            {
                process.follow &= !bit;
                let _ = self.processes.insert(id, process, EXIST);
            }
        }
        self.forget_tasks()
    }

    /// The policy sets of cgroups, as an earlier agent has set them.
    pub(super) fn cgroup_policy_sets(&self) -> Result<Vec<(u64, u32)>, LoadError> {
        let mut policy_sets = Vec::new();
        self.cgroups.visit(|cgroup, policy_set| policy_sets.push((cgroup, policy_set)))?;
        Ok(policy_sets)
    }

    /// The sets of programs that are followed, in the order of their bits.
    pub(super) fn follow_sets(&self) -> &[Vec<Vec<u8>>] {
        &self.sets
    }

    /// Continues with the sets of an earlier agent. Bits of sets that it hadn't written down are removed.
    pub(super) fn restore_follow_sets(&mut self, sets: Vec<Vec<Vec<u8>>>) -> Result<(), LoadError> {
        self.sets = sets;
        self.clear_free_bits()
    }

    /// Gives the bits of sets free that aren't used; true where there were any. Once that is written down they are to be
    /// [cleared](Self::clear_free_bits), before they are used again.
    pub(super) fn free_follow_sets(&mut self, used: impl Fn(&Vec<Vec<u8>>) -> bool) -> bool {
        let mut any = false;
        for set in self.sets.iter_mut().filter(|set| !set.is_empty() && !used(set)) {
            set.clear();
            any = true;
        }
        any
    }

    /// Takes the bits that belong to no set from programs and processes.
    pub(super) fn clear_free_bits(&mut self) -> Result<(), LoadError> {
        let set_bits = self.sets.iter().enumerate().filter(|(_, set)| !set.is_empty());
        let known = set_bits.fold(FOLLOW_SERVICE | FOLLOW_AGENT, |known, (bit, _)| known | 1 << bit);
        for id in self.follow.all_keys()? {
            let masks = self.follow.get(&id, 0).unwrap_or(0);
            if masks & !known != 0 {
                self.follow
                    .insert(id, masks & known, 0)
                    .map_err(|source| LoadError::Map { map: "FOLLOW", source })?;
            }
        }
        // A process that is made meanwhile has its parent's bits: until none is left that has any.
        for _ in 0..CLEARED_WITHIN {
            let mut any = false;
            for id in self.processes.all_keys()? {
                if let Ok(mut process) = self.processes.get(&id, 0)
                    && process.follow & !known != 0
                {
                    process.follow &= known;
                    let _ = self.processes.insert(id, process, EXIST);
                    any = true;
                }
            }
            if !any {
                break;
            }
        }
        self.forget_tasks()
    }
}
