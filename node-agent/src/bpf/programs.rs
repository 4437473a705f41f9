//! The paths of programs: which are kept, and which nothing uses any more.
//!
//! The kernel keeps a path when a program is run for the first time. When neither a count nor a process has its id, the
//! agent takes it away, so that programs that ran once don't hold the table for good.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aya::Ebpf;
use gatewatch_abi::{
    Binary, Process, binary_ids,
    consts::{BINARY_PATH_BYTES, OVERFLOW},
};

use super::{
    LoadError,
    batch::Table,
    counts::Counts,
    lane::Lane,
    maps::{NOEXIST, ignore_missing},
};

/// See the module's documentation.
pub(super) struct Programs {
    paths: Table<u64, Binary>,
    /// Those that policies name, in each lane.
    named: BTreeMap<Lane, BTreeSet<u64>>,
    /// Those that policies will name, if the matcher that was prepared last is installed.
    prepared: BTreeMap<Lane, BTreeSet<u64>>,
    /// Those that nothing used at the last look.
    unused: HashSet<u64>,
    /// Those that were removed then.
    removed: HashMap<u64, Binary>,
}

impl Programs {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            paths: Table::take(ebpf, "BINARIES")?,
            named: BTreeMap::new(),
            prepared: BTreeMap::new(),
            unused: HashSet::new(),
            removed: HashMap::new(),
        })
    }

    /// The map of paths.
    pub(super) fn paths(&self) -> &Table<u64, Binary> {
        &self.paths
    }

    /// Keeps the paths that policies name in a lane whose matcher is prepared: these have a name whoever runs them.
    pub(super) fn name<'a>(&mut self, lane: &Lane, paths: impl Iterator<Item = &'a Vec<u8>>, hash_key: u64) {
        let mut ids = BTreeSet::new();
        for path in paths {
            for id in binary_ids(hash_key, path) {
                self.insert(id, path);
                ids.insert(id);
            }
        }
        self.prepared.insert(lane.clone(), ids);
    }

    /// The matcher that was prepared last is installed.
    pub(super) fn installed(&mut self, lane: &Lane) {
        if let Some(ids) = self.prepared.remove(lane) {
            self.named.insert(lane.clone(), ids);
        }
    }

    /// Policies name programs in these lanes alone.
    pub(super) fn retain_lanes(&mut self, keep: impl Fn(&Lane) -> bool) {
        self.named.retain(|lane, _| keep(lane));
        self.prepared.clear();
    }

    fn insert(&mut self, id: u64, path: &[u8]) {
        let mut binary = Binary {
            owner: OVERFLOW,
            len: u32::try_from(path.len()).unwrap_or(u32::MAX),
            pad: 0,
            path: [0; BINARY_PATH_BYTES],
        };
        let kept = path.len().min(BINARY_PATH_BYTES);
        binary.path[..kept].copy_from_slice(&path[..kept]);
        // An error means that it is there already, or that the map is full, which shows there.
        let _ = self.paths.insert(id, binary, NOEXIST);
    }

    /// Removes what nothing has used since the last call, either. What is counted under such a program's id until then
    /// must have been read.
    pub(super) fn reclaim(
        &mut self,
        counts: &Counts,
        processes: &Table<u32, Process>,
    ) -> Result<(), LoadError> {
        // A process that began to run one while it was removed.
        self.put_back(processes)?;
        self.removed.clear();
        let mut used: HashSet<u64> =
            self.named.values().chain(self.prepared.values()).flatten().copied().collect();
        counts.places().visit(|key, _| {
            used.insert(key.binary);
        })?;
        processes.visit(|_, process| {
            used.insert(process.binary);
        })?;
        let mut unused = HashSet::new();
        self.paths.visit(|id, binary| {
            if used.contains(&id) {
                return;
            }
            if self.unused.contains(&id) {
                self.removed.insert(id, binary);
            } else {
                unused.insert(id);
            }
        })?;
        self.unused = unused;
        for id in self.removed.keys() {
            ignore_missing(self.paths.remove(id), "BINARIES")?;
        }
        self.put_back(processes)
    }

    fn put_back(&mut self, processes: &Table<u32, Process>) -> Result<(), LoadError> {
        if self.removed.is_empty() {
            return Ok(());
        }
        let mut again = HashSet::new();
        processes.visit(|_, process| {
            if self.removed.contains_key(&process.binary) {
                again.insert(process.binary);
            }
        })?;
        for id in again {
            if let Some(binary) = self.removed.remove(&id) {
                let _ = self.paths.insert(id, binary, NOEXIST);
            }
        }
        Ok(())
    }
}
