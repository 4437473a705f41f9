//! Shares of the kernel's tables: see [`gatewatch_abi::shares`]. The kernel counts what pods take; here that is compared with
//! what they have, and the difference is what came back. Nothing has to be remembered for that: each comparison puts right
//! what the one before got wrong, as an entry that was on its way.

use std::collections::{HashMap, HashSet};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use gatewatch_abi::{
    Binary, CountKey, Hierarchy, Limits, SHARE_COUNTS, SHARE_OF_HOST, SHARE_OF_POOL, SHARE_PROGRAMS,
    SHARE_RESERVE, SHARED_TABLES, Share, Sizes, consts::OVERFLOW,
};
use gatewatch_kernel::Profile;

use super::{
    LoadError,
    batch::Table,
    counts::Counts,
    maps::{NOEXIST, ignore_missing, take},
};
use crate::cgroup::PodCgroups;

/// Names of the tables, in metrics.
pub const TABLES: [&str; SHARED_TABLES] = ["counts", "overflow", "binaries"];

/// Where the kernel's fields are that lead from a task to the cgroups that it is in; `None` where one is missing.
pub fn hierarchy(profile: &Profile) -> Option<Hierarchy> {
    let field = |structure, path| profile.offset_of(structure, path).map(u64::from);
    // By pointers since Linux 6.1, before by ids.
    let pointers = field("cgroup", "ancestors");
    Some(Hierarchy {
        task_cgroups: field("task_struct", "cgroups")?,
        set_cgroup: field("css_set", "dfl_cgrp")?,
        level: field("cgroup", "level")?,
        ancestors: pointers.or_else(|| field("cgroup", "ancestor_ids"))?,
        ancestors_are_ids: u64::from(pointers.is_none()),
        node: field("cgroup", "kn")?,
        node_id: field("kernfs_node", "id")?,
        node_name: field("kernfs_node", "name")?,
    })
}

/// The maps of shares.
pub(super) struct Shares {
    pods: Table<u64, Share>,
    returned: Table<u64, [u64; SHARED_TABLES]>,
    parents: Table<u64, u32>,
    limits: Limits,
    /// The map of these. It is open until all programs are loaded, which know it by its descriptor.
    _limits: Array<MapData, Limits>,
    /// What was entered of the hierarchy last.
    known: PodCgroups,
    /// Pods that had nothing at the last comparison, and of which nothing was known.
    idle: HashSet<u64>,
}

impl Shares {
    /// Takes the maps out of the object that was loaded first, and writes how much each pod may take of tables of these
    /// sizes.
    pub(super) fn take(ebpf: &mut Ebpf, sizes: Sizes, hierarchy: Hierarchy) -> Result<Self, LoadError> {
        let limits = Limits { hierarchy, ..Limits::of(sizes) };
        let mut map: Array<MapData, Limits> = take(ebpf, "LIMITS")?;
        map.set(0, limits, 0).map_err(|source| LoadError::Map { map: "LIMITS", source })?;
        let mut shares = Self {
            pods: Table::take(ebpf, "PODS")?,
            returned: Table::take(ebpf, "RETURNED")?,
            parents: Table::take(ebpf, "POD_PARENTS")?,
            limits,
            _limits: map,
            known: PodCgroups::default(),
            idle: HashSet::new(),
        };
        for always in [SHARE_OF_HOST, SHARE_OF_POOL] {
            shares.enter(always);
        }
        Ok(shares)
    }

    /// The map of what pods have taken.
    pub(super) fn pods(&self) -> &Table<u64, Share> {
        &self.pods
    }

    fn enter(&mut self, pod: u64) {
        // The insertion fails if the pod has an entry, or if the map is full. `gatewatch_left_out_total` reports a full map,
        // because the kernel's own insertions fail too.
        let _ = self.pods.insert(pod, Share::default(), NOEXIST);
    }

    /// Enters pods, and the cgroups in which there will be more.
    pub(super) fn set_cgroups(&mut self, cgroups: PodCgroups) -> Result<(), LoadError> {
        if cgroups == self.known {
            return Ok(());
        }
        for pod in &cgroups.pods {
            if !self.known.pods.contains(pod) {
                self.enter(*pod);
            }
        }
        let gone: Vec<u64> = self.parents.all_keys()?;
        for parent in gone.iter().filter(|id| !cgroups.parents.iter().any(|(known, _)| known == *id)) {
            ignore_missing(self.parents.remove(parent), "POD_PARENTS")?;
        }
        for (parent, shortest) in &cgroups.parents {
            self.parents
                .insert(parent, shortest, 0)
                .map_err(|source| LoadError::Map { map: "POD_PARENTS", source })?;
        }
        self.known = cgroups;
        Ok(())
    }

    /// Compares what pods have taken with what they have, and forgets pods that are no longer `known` and have nothing.
    pub(super) fn settle(
        &mut self,
        counts: &Counts,
        binaries: &Table<u64, Binary>,
        known: impl Fn(u64) -> bool,
    ) -> Result<(), LoadError> {
        // First: what is taken later is in the tables as well, or comes in before the next comparison.
        let mut taken = HashMap::new();
        self.pods.visit(|pod, share| {
            taken.insert(pod, share.taken);
        })?;
        let mut used: HashMap<u64, [u64; SHARED_TABLES]> = HashMap::new();
        let mut found = |owner: u64, table: usize| {
            if owner != OVERFLOW {
                let owner = if taken.contains_key(&owner) { owner } else { SHARE_OF_HOST };
                used.entry(owner).or_default()[table] += 1;
            }
        };
        counts.visit_owners(|key, owner| found(owner, table_of(key)))?;
        binaries.visit(|_, binary| found(binary.owner, SHARE_PROGRAMS))?;
        let used_by = |pod: &u64| used.get(pod).copied().unwrap_or_default();
        let mut of_pool = [0; SHARED_TABLES];
        for pod in taken.keys() {
            let bounds = if *pod == SHARE_OF_HOST { self.limits.host } else { self.limits.pod };
            for (table, used) in used_by(pod).into_iter().enumerate() {
                of_pool[table] += used.saturating_sub(bounds[table].own);
            }
        }
        let always = [SHARE_OF_HOST, SHARE_OF_POOL];
        let mut idle = HashSet::new();
        for (pod, taken) in &taken {
            let used = if *pod == SHARE_OF_POOL { of_pool } else { used_by(pod) };
            if used == [0; SHARED_TABLES] && !always.contains(pod) && !known(*pod) {
                // One that is new isn't known for a moment.
                if self.idle.contains(pod) {
                    ignore_missing(self.pods.remove(pod), "PODS")?;
                    ignore_missing(self.returned.remove(pod), "RETURNED")?;
                    self.known.pods.retain(|known| known != pod);
                    continue;
                }
                idle.insert(*pod);
            }
            let mut returned = [0; SHARED_TABLES];
            for (table, returned) in returned.iter_mut().enumerate() {
                *returned = taken[table].wrapping_sub(used[table]);
            }
            self.returned
                .insert(pod, returned, 0)
                .map_err(|source| LoadError::Map { map: "RETURNED", source })?;
        }
        self.idle = idle;
        Ok(())
    }
}

/// The table that a count is of.
fn table_of(key: &CountKey) -> usize {
    if key.binary == OVERFLOW { SHARE_RESERVE } else { SHARE_COUNTS }
}
