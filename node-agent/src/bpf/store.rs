//! What the agent remembers beyond its end, in the folder of the maps.

use std::path::PathBuf;

use super::{LoadError, blob, bpffs::Pins};

/// One of the things that are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateKey {
    /// The meaning of the numbers in the maps. Must be saved before the kernel counts by them.
    Engine,
    /// What was done with the counts so far.
    Series,
}

impl StateKey {
    const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Series => "series",
        }
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Store {
    /// `None` where nothing outlives this process.
    dir: Option<PathBuf>,
    /// Whether the folder is from an earlier agent.
    taken: bool,
}

impl Store {
    pub(super) fn new(pins: &Pins) -> Self {
        Self { dir: pins.kept().then(|| pins.dir().to_owned()), taken: pins.taken }
    }

    /// Saves for the next agent.
    pub(super) fn save(&self, key: StateKey, bytes: &[u8]) -> Result<(), LoadError> {
        match &self.dir {
            Some(dir) => blob::save(dir, key.name(), bytes),
            None => Ok(()),
        }
    }

    /// What an earlier agent has saved.
    pub(super) fn load(&self, key: StateKey) -> Result<Option<Vec<u8>>, LoadError> {
        match &self.dir {
            Some(dir) if self.taken => blob::load(dir, key.name()),
            _ => Ok(None),
        }
    }
}
