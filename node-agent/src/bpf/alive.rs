//! When an agent was last seen: one number in the bpf file system, on a clock that starts with the machine.
//!
//! Where hooks can't outlive the agent, the next one knows by it how long nothing counted.

use std::path::Path;

use aya::maps::{Array, Map, MapData};
use rustix::time::{ClockId, clock_gettime};

const NAME: &str = "alive";

/// The number, to be written.
pub(super) struct Alive(Array<MapData, u64>);

impl Alive {
    /// The number in a folder; made where there is none. Without it gaps are unknown, but the agent continues.
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let path = dir.join(NAME);
        if let Some(known) = existing(&path) {
            return Some(Self(known));
        }
        let map: Array<MapData, u64> = Array::create(1, 0).ok()?;
        map.pin(&path).ok()?;
        // What `create` gives has no place in the file system yet.
        existing(&path).map(Self)
    }

    /// The number in a folder.
    pub(super) fn read(dir: &Path) -> Option<u64> {
        existing(&dir.join(NAME))?.get(&0, 0).ok().filter(|at| *at != 0)
    }

    /// Writes that we are alive.
    pub(super) fn beat(&mut self) {
        let _ = self.0.set(0, now(), 0);
    }
}

fn existing(path: &Path) -> Option<Array<MapData, u64>> {
    if !path.exists() {
        return None;
    }
    Array::try_from(Map::from_map_data(MapData::from_pin(path).ok()?).ok()?).ok()
}

/// Milliseconds since the machine started, those in which it slept included.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}
