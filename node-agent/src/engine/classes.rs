//! The classes of cgroups.

use std::collections::{BTreeSet, HashSet};

use gatewatch_abi::consts::{CLASS_HOST, CLASS_PENDING};
use gatewatch_policy::plan::HookPoint;

use super::{Engine, Installed, PolicyKey};
use crate::{
    attribution::{Owner, Selection, selection},
    kernel_half::LoadError,
};

impl Engine {
    /// Writes the class of each of these cgroups into the kernel: all that exist, with their owners. Call it when cgroups,
    /// pods or policies change. Cgroups that were created since the list was made stay unclassified, so all policies
    /// count there, until the next call.
    pub fn classify_cgroups(
        &mut self,
        cgroups: impl IntoIterator<Item = (u64, Owner)>,
    ) -> Result<(), LoadError> {
        if !self.applied {
            return Ok(());
        }
        let written = self.write_classes(cgroups);
        // Also after a failure: a cgroup that is watched must not be skipped.
        self.leave_unwatched().and(written)
    }

    fn write_classes(&mut self, cgroups: impl IntoIterator<Item = (u64, Owner)>) -> Result<(), LoadError> {
        let mut present = BTreeSet::new();
        for (id, owner) in cgroups {
            present.insert(id);
            let class = match owner {
                Owner::Pending => None,
                Owner::Host => Some(CLASS_HOST),
                owner => Some(self.class_of(&owner)?),
            };
            if self.cgroups.get(&id).copied() != class {
                self.kernel.set_cgroup_class(id, class)?;
                match class {
                    Some(class) => self.cgroups.insert(id, class),
                    None => self.cgroups.remove(&id),
                };
            }
        }
        let gone: Vec<u64> = self.cgroups.keys().copied().filter(|id| !present.contains(id)).collect();
        for id in gone {
            self.kernel.set_cgroup_class(id, None)?;
            self.cgroups.remove(&id);
        }
        Ok(())
    }

    /// Tells every function which cgroups none of its policies watches.
    fn leave_unwatched(&mut self) -> Result<(), LoadError> {
        for (point, installed) in &self.installed {
            let words = installed.tables.spec.words as usize;
            let is_empty =
                |class: usize| {
                    installed.tables.rows.get(class * words..).is_some_and(|rows| {
                        rows.len() >= words && rows[..words].iter().all(|word| *word == 0)
                    })
                };
            let empty: Vec<bool> = (0..self.classes.len()).map(is_empty).collect();
            let unwatched = self.cgroups.iter().filter(|(_, class)| {
                **class != CLASS_PENDING && empty.get(**class as usize).copied().unwrap_or(false)
            });
            self.kernel.set_unwatched(point, unwatched.map(|(cgroup, _)| *cgroup))?;
        }
        Ok(())
    }

    /// The class of an owner's cgroups, made where it is new.
    fn class_of(&mut self, owner: &Owner) -> Result<u32, LoadError> {
        let set: BTreeSet<PolicyKey> = self
            .plans
            .iter()
            .filter(|(_, plan)| selection(&plan.scope, owner) != Selection::Unselected)
            .map(|(key, _)| key.clone())
            .collect();
        let known = self.classes.iter().skip(2).position(|class| *class == set);
        if let Some(known) = known {
            return Ok(u32::try_from(known + 2).unwrap_or(CLASS_PENDING));
        }
        // A number that no cgroup has can be given away: its row is written before a cgroup gets it.
        let used: HashSet<u32> = self.cgroups.values().copied().collect();
        let free = (2..self.classes.len()).find(|i| u32::try_from(*i).is_ok_and(|i| !used.contains(&i)));
        let class = free.unwrap_or(self.classes.len());
        if class == self.classes.len() {
            self.classes.push(set);
        } else {
            self.classes[class] = set;
        }
        self.save()?;
        let points: Vec<HookPoint> = self.installed.keys().cloned().collect();
        for point in points {
            self.add_class(&point, class)?;
        }
        Ok(u32::try_from(class).unwrap_or(CLASS_PENDING))
    }

    /// Brings a new class into a function's classifier: into a row that was kept for it, or with a new program.
    fn add_class(&mut self, point: &HookPoint, class: usize) -> Result<(), LoadError> {
        let Some(installed) = self.installed.get(point) else { return Ok(()) };
        let members = installed.members.clone();
        // What was built before can be built with one class more.
        let Ok(tables) = self.tables(point, &members) else { return Ok(()) };
        let words = tables.spec.words as usize;
        if tables.rows.len() == installed.tables.rows.len() && tables.spec == installed.tables.spec {
            let row = &tables.rows[class * words..][..words];
            self.kernel.set_class_row(point, u32::try_from(class).unwrap_or(CLASS_PENDING), row)?;
        } else {
            let prepared = self.kernel.prepare(point, &tables)?;
            self.kernel.install(point, prepared)?;
        }
        self.installed.insert(point.clone(), Installed { members, tables });
        Ok(())
    }
}
