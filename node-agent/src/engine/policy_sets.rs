//! The policy sets of cgroups.

use std::collections::{BTreeSet, HashMap, HashSet};

use gatewatch_abi::consts::{POLICY_SET_HOST, POLICY_SET_PENDING};
use gatewatch_policy::hook_point::PointKind;

use super::{Engine, Installed, members::points};
use crate::{
    attribution::{Owner, Selection, selection},
    bpf::{Lane, LoadError},
    policy_key::PolicyKey,
    user_programs::Wanted,
};

/// Cgroups of one pod that get a policy set: its own and those of its containers.
const CGROUPS_PER_POD: usize = 64;

impl Engine {
    /// Writes the policy set of each of these cgroups into the kernel: all that exist, with their owners. Call it when cgroups,
    /// pods or policies change. Cgroups that were created since the list was made stay without one, so all policies
    /// count there, until the next call.
    pub fn assign_policy_sets(
        &mut self,
        cgroups: impl IntoIterator<Item = (u64, Owner)>,
    ) -> Result<(), LoadError> {
        if !self.applied {
            return Ok(());
        }
        let written = self.write_policy_sets(cgroups);
        // Also after a failure: a cgroup that is watched must not be skipped.
        self.leave_unwatched().and(written)
    }

    fn write_policy_sets(
        &mut self,
        cgroups: impl IntoIterator<Item = (u64, Owner)>,
    ) -> Result<(), LoadError> {
        let cgroups: Vec<(u64, Owner)> = cgroups.into_iter().collect();
        let mut result = Ok(());
        // First, so that there is room for the new ones. What fails for one cgroup is tried for all others.
        let present: HashSet<u64> = cgroups.iter().map(|(id, _)| *id).collect();
        let gone: Vec<u64> = self.cgroups.keys().copied().filter(|id| !present.contains(id)).collect();
        for id in gone {
            match self.bpf.set_cgroup_policy_set(id, None) {
                Ok(()) => drop(self.cgroups.remove(&id)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        let mut of_pods: HashMap<String, usize> = HashMap::new();
        for (id, owner) in cgroups {
            let number = of_pods.entry(owner.uid().unwrap_or_default().to_owned()).or_default();
            *number += 1;
            // A pod has some containers. For one that has this many cgroups all policies count, as before it is known.
            let owner =
                if owner.uid().is_some() && *number > CGROUPS_PER_POD { Owner::Pending } else { owner };
            result = result.and(self.write_policy_set(id, &owner));
        }
        result
    }

    fn write_policy_set(&mut self, id: u64, owner: &Owner) -> Result<(), LoadError> {
        let policy_set = match owner {
            Owner::Pending => None,
            Owner::Host => Some(POLICY_SET_HOST),
            owner => Some(self.policy_set_of(owner)?),
        };
        if self.cgroups.get(&id).copied() != policy_set {
            self.bpf.set_cgroup_policy_set(id, policy_set)?;
            match policy_set {
                Some(policy_set) => self.cgroups.insert(id, policy_set),
                None => self.cgroups.remove(&id),
            };
        }
        Ok(())
    }

    /// The policies with a hook in a lane.
    pub fn policies_in(&self, lane: &Lane) -> impl Iterator<Item = &PolicyKey> {
        self.installed
            .get(lane)
            .into_iter()
            .flat_map(|installed| &installed.members)
            .map(|member| &member.policy)
    }

    /// The lanes at user programs, and the cgroups that policies on them watch. A cgroup whose owner isn't known yet isn't among
    /// them: it may be a new container, or one that no policy selects.
    pub fn at_user_programs(&self) -> Vec<Wanted> {
        let at_programs = |(lane, _): &(&Lane, &Installed)| lane.point.kind() == PointKind::Uprobe;
        let wanted = |(lane, installed): (&Lane, &Installed)| {
            let watches = |policy_set: u32| {
                let set = self.policy_sets.get(policy_set as usize);
                set.is_some_and(|set| installed.members.iter().any(|member| set.contains(&member.policy)))
            };
            let of_containers = |policy_set: u32| {
                policy_set != POLICY_SET_PENDING && policy_set != POLICY_SET_HOST && watches(policy_set)
            };
            let cgroups = self.cgroups.iter().filter(|(_, policy_set)| of_containers(**policy_set));
            Some(Wanted {
                lane: lane.clone(),
                program: self.bpf.program(lane)?,
                host: watches(POLICY_SET_HOST),
                cgroups: cgroups.map(|(cgroup, _)| *cgroup).collect(),
            })
        };
        self.installed.iter().filter(at_programs).filter_map(wanted).collect()
    }

    /// Tells every function which cgroups none of its policies watches.
    fn leave_unwatched(&mut self) -> Result<(), LoadError> {
        for (lane, installed) in &self.installed {
            let words = installed.tables.config.words as usize;
            let is_empty =
                |policy_set: usize| {
                    installed.tables.rows.get(policy_set * words..).is_some_and(|rows| {
                        rows.len() >= words && rows[..words].iter().all(|word| *word == 0)
                    })
                };
            let empty: Vec<bool> = (0..self.policy_sets.len()).map(is_empty).collect();
            let unwatched = self.cgroups.iter().filter(|(_, policy_set)| {
                **policy_set != POLICY_SET_PENDING
                    && empty.get(**policy_set as usize).copied().unwrap_or(false)
            });
            self.bpf.set_unwatched(lane, unwatched.map(|(cgroup, _)| *cgroup))?;
        }
        Ok(())
    }

    /// The policy set of an owner's cgroups, made where it is new.
    fn policy_set_of(&mut self, owner: &Owner) -> Result<u32, LoadError> {
        let set: BTreeSet<PolicyKey> = self
            .plans
            .iter()
            .filter(|(_, plan)| selection(&plan.scope, owner) != Selection::Unselected)
            .map(|(key, _)| key.clone())
            .collect();
        let known = self.policy_sets.iter().skip(2).position(|policy_set| *policy_set == set);
        if let Some(known) = known {
            return Ok(u32::try_from(known + 2).unwrap_or(POLICY_SET_PENDING));
        }
        // A number that no cgroup has can be given away: its row is written before a cgroup gets it.
        let used: HashSet<u32> = self.cgroups.values().copied().collect();
        let free = (2..self.policy_sets.len()).find(|i| u32::try_from(*i).is_ok_and(|i| !used.contains(&i)));
        let policy_set = free.unwrap_or(self.policy_sets.len());
        if policy_set == self.policy_sets.len() {
            self.policy_sets.push(set);
        } else {
            self.policy_sets[policy_set] = set;
        }
        self.save()?;
        let lanes: Vec<Lane> = self.installed.keys().cloned().collect();
        for lane in lanes {
            self.add_policy_set(&lane, policy_set)?;
        }
        Ok(u32::try_from(policy_set).unwrap_or(POLICY_SET_PENDING))
    }

    /// Brings a new policy set into a lane's matcher: into a row that was kept for it, or with a new program.
    fn add_policy_set(&mut self, lane: &Lane, policy_set: usize) -> Result<(), LoadError> {
        let Some(installed) = self.installed.get(lane) else { return Ok(()) };
        let members = installed.members.clone();
        // What was built before can be built with one policy set more.
        let Ok(tables) = self.tables(lane, &members) else { return Ok(()) };
        let words = tables.config.words as usize;
        if tables.rows.len() == installed.tables.rows.len() && tables.config == installed.tables.config {
            let row = &tables.rows[policy_set * words..][..words];
            self.bpf.set_policy_set_row(
                lane,
                u32::try_from(policy_set).unwrap_or(POLICY_SET_PENDING),
                row,
            )?;
        } else {
            let modes = self.modes_of(&members);
            let prepared = self.bpf.prepare(lane, &points(&members), &tables, modes)?;
            self.bpf.install(lane, prepared)?;
        }
        self.installed.insert(lane.clone(), Installed { members, tables });
        Ok(())
    }
}
