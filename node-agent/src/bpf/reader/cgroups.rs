//! Cgroups that were created and removed, as the BPF programs record them.

use std::collections::HashSet;

use aya::Ebpf;

use crate::bpf::{LoadError, batch::Table, maps::ignore_missing};

/// Cgroups that were created and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupChanges {
    /// Id and path of those that were created.
    pub made: Vec<(u64, String)>,
    /// Ids of those that were removed, which may be among those that were created.
    pub removed: Vec<u64>,
}

/// The records, and which of them were reported. They stay in the maps until
/// [`forget_reported`](Self::forget_reported), so the next agent finds them if this one ends before it has saved them.
pub(super) struct Cgroups {
    paths: Table<u64, [u8; 512]>,
    gone: Table<u64, u32>,
    made: HashSet<u64>,
    removed: HashSet<u64>,
}

impl Cgroups {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            paths: Table::take(ebpf, "CGROUP_PATHS")?,
            gone: Table::take(ebpf, "CGROUPS_GONE")?,
            made: HashSet::new(),
            removed: HashSet::new(),
        })
    }

    /// The changes that were not reported yet.
    pub(super) fn changes(&mut self) -> Result<CgroupChanges, LoadError> {
        let mut changes = CgroupChanges::default();
        // In this order: each cgroup of the first list is in the second, too, so none is reported as removed now and as
        // created by the next call.
        let gone = self.gone.all_keys()?;
        for id in self.paths.all_keys()? {
            if self.made.contains(&id) {
                continue;
            }
            let path =
                self.paths.get(&id, 0).map_err(|source| LoadError::Map { map: "CGROUP_PATHS", source })?;
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            changes.made.push((id, String::from_utf8_lossy(&path[..end]).into_owned()));
            self.made.insert(id);
        }
        for id in gone {
            if self.removed.insert(id) {
                changes.removed.push(id);
            }
        }
        Ok(changes)
    }

    /// Number of changes that were reported and are still in the maps.
    pub(super) fn reported(&self) -> usize {
        self.made.len() + self.removed.len()
    }

    /// Removes from the maps the changes that were reported.
    pub(super) fn forget_reported(&mut self) -> Result<(), LoadError> {
        for id in self.made.drain() {
            ignore_missing(self.paths.remove(&id), "CGROUP_PATHS")?;
        }
        for id in self.removed.drain() {
            ignore_missing(self.gone.remove(&id), "CGROUPS_GONE")?;
        }
        Ok(())
    }
}
