//! Reading the counts while policies are loaded.
//!
//! A [`Reader`] has its own descriptors of the maps, so it needs nothing of the [`BpfPrograms`](super::BpfPrograms) and
//! works while the verifier checks a program. Counts are removed only through a `&mut Reader`: whoever holds the reader
//! knows that no count disappears between the reading of its place and the reading of its number.

mod cgroups;

use std::sync::Arc;

use aya::{
    maps::{IterableMap as _, MapData, PerCpuArray},
    programs::ProgramFd,
    util::nr_cpus,
};
use gatewatch_abi::{
    Binary, CountKey, CountPlace, Process, SHARED_TABLES, Share,
    consts::{
        STAT_BINARIES_FULL, STAT_CGROUPS_FULL, STAT_LOST, STAT_NESTED, STAT_PATHS_CUT, STAT_PODS_FULL,
        STAT_PROCESS_RECORDS, STAT_PROCESSES_FULL, STAT_SIGNALS_FAILED, STAT_STRINGS_UNREADABLE,
    },
};

use self::cgroups::Cgroups;
use super::{
    Interruptible, Lane, LoadError,
    batch::{self, Table},
    fdinfo::{Missed, missed},
    shared::Shared,
    store::{StateKey, Store},
};

pub use self::cgroups::CgroupChanges;

/// Number of entries in the maps, and number of times that something was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Name, entries, capacity.
    pub maps: Vec<(&'static str, u64, u64)>,
    /// Name of a thing that was left out, and how often.
    pub left_out: Vec<(&'static str, u64)>,
    /// Pods, by the ids of their cgroups, and how often each of the [tables](super::TABLES) had no entry for them because
    /// their share was used up; only those that had this.
    pub over_share: Vec<(u64, [u64; SHARED_TABLES])>,
}

/// See the module's documentation.
pub struct Reader {
    interruptible: Interruptible,
    places: Table<CountKey, CountPlace>,
    values: PerCpuArray<MapData, u64>,
    binaries: Table<u64, Binary>,
    pods: Table<u64, Share>,
    processes: Table<u32, Process>,
    policy_sets: Table<u64, u32>,
    stats: PerCpuArray<MapData, u64>,
    cgroups: Cgroups,
    cpus: usize,
    store: Store,
}

impl Reader {
    /// Duplicates the descriptors of the maps that are read, and takes those that only a reader needs.
    pub(super) fn new(
        shared: &Shared,
        ebpf: &mut aya::Ebpf,
        interruptible: Interruptible,
        store: Store,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            interruptible,
            places: shared.counts.places().duplicate()?,
            values: duplicate(shared.counts.values(), "VALUES")?,
            binaries: shared.programs.paths().duplicate()?,
            pods: shared.shares.pods().duplicate()?,
            processes: shared.processes.duplicate()?,
            policy_sets: shared.cgroups.duplicate()?,
            stats: super::maps::take(ebpf, "STATS")?,
            cgroups: Cgroups::take(ebpf)?,
            cpus: nr_cpus().map_err(|(path, source)| LoadError::Pins { path: path.into(), source })?,
            store,
        })
    }

    /// All counts, summed over the CPUs. Those of a hook's overflow counter have
    /// [`OVERFLOW`](gatewatch_abi::consts::OVERFLOW) for cgroup and program, those of processes that weren't known that cgroup
    /// and [`UNKNOWN`](gatewatch_abi::consts::UNKNOWN) for the program.
    pub fn counts(&self) -> Result<Vec<(CountKey, u64)>, LoadError> {
        let _realtime = self.interruptible.realtime_guard();
        // As many as the last time, and some more.
        let before = usize::try_from(self.places.len()).unwrap_or(0);
        let capacity = before + before / 16;
        let (mut keys, mut places) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        self.places.visit(|key, at| {
            keys.push(key);
            places.push(at.place);
        })?;
        // After the places: a number is at least as new as its place.
        let sums = batch::sums(&self.values, "VALUES", &places, self.cpus)?;
        Ok(keys.into_iter().zip(sums).collect())
    }

    /// The path of a program, cut at 504 bytes; empty where it isn't known.
    pub fn binary_path(&self, id: u64) -> Vec<u8> {
        let _realtime = self.interruptible.realtime_guard();
        self.binaries.get(&id, 0).map(|binary| binary.path().to_vec()).unwrap_or_default()
    }

    /// Cgroups that were created and removed since the last call.
    pub fn cgroup_changes(&mut self) -> Result<CgroupChanges, LoadError> {
        let _realtime = self.interruptible.realtime_guard();
        self.cgroups.changes()
    }

    /// Number of reported cgroup changes that are still in the maps, until [`save`](Self::save).
    pub fn unsaved_cgroups(&self) -> usize {
        self.cgroups.reported()
    }

    /// Saves what was done with the counts for the next agent, and then removes from the maps the cgroup changes that
    /// were reported: these are part of what is saved.
    pub fn save(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let _realtime = self.interruptible.realtime_guard();
        self.store.save(StateKey::Series, bytes)?;
        self.cgroups.forget_reported()
    }

    /// What an earlier agent has saved.
    pub fn saved(&self) -> Result<Option<Vec<u8>>, LoadError> {
        let _realtime = self.interruptible.realtime_guard();
        self.store.load(StateKey::Series)
    }

    /// Number of counts at the last reading, and of those that the map has room for.
    pub fn counts_in_use(&self) -> (u64, u64) {
        let _realtime = self.interruptible.realtime_guard();
        (self.places.len(), self.places.capacity())
    }

    /// Number of entries in the maps, and number of times that something was left out.
    pub fn usage(&self) -> Usage {
        let _realtime = self.interruptible.realtime_guard();
        let stat = |stat| self.stats.get(&stat, 0).map_or(0, |values| values.iter().sum());
        let mut over_share = Vec::new();
        // A pod that can't be read is over nothing.
        let _ = self.pods.visit(|pod, share| {
            if share.refused != [0; SHARED_TABLES] {
                over_share.push((pod, share.refused));
            }
        });
        Usage {
            over_share,
            maps: vec![
                ("counts", self.places.len(), self.places.capacity()),
                ("processes", self.processes.count(), self.processes.capacity()),
                ("binaries", self.binaries.count(), self.binaries.capacity()),
                ("cgroups", self.policy_sets.count(), self.policy_sets.capacity()),
            ],
            left_out: vec![
                ("processes", stat(STAT_PROCESSES_FULL)),
                ("binaries", stat(STAT_BINARIES_FULL)),
                ("paths", stat(STAT_PATHS_CUT)),
                ("strings", stat(STAT_STRINGS_UNREADABLE)),
                ("nested", stat(STAT_NESTED)),
                ("cgroups", stat(STAT_CGROUPS_FULL)),
                ("pods", stat(STAT_PODS_FULL)),
                ("signals", stat(STAT_SIGNALS_FAILED)),
                ("process_records", stat(STAT_PROCESS_RECORDS)),
                ("counts", stat(STAT_LOST)),
            ],
        }
    }
}

/// A program that is attached to a hook point, for one of its lanes.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Where.
    pub lane: Lane,
    pub(super) program: Arc<ProgramFd>,
}

impl Attached {
    /// Events that the program did not see.
    pub fn missed(&self) -> Missed {
        missed(&self.program)
    }
}

/// Another descriptor of an array.
fn duplicate(
    array: &PerCpuArray<MapData, u64>,
    name: &'static str,
) -> Result<PerCpuArray<MapData, u64>, LoadError> {
    let failed = |source| LoadError::Map { map: name, source };
    batch::reopened(array.map()).and_then(PerCpuArray::try_from).map_err(failed)
}
