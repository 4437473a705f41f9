//! The sizes of the tables that all programs share: by the node, or those of an earlier agent whose tables continue.

use std::{fs, path::Path};

use aya::maps::MapData;
use gatewatch_abi::Sizes;
use gatewatch_kernel::version;

/// Processes that there is room for where memory is taken for all of them at once.
const PREALLOCATED: u32 = 65_536;

/// How many processes are followed, and whether the table takes memory for those alone that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processes {
    /// Entries of the table.
    pub most: u32,
    /// Memory is taken as needed.
    pub as_needed: bool,
}

impl Processes {
    /// As many as the kernel can have, unless `most` says otherwise. Before Linux 6.1, programs may not take memory as they
    /// need it: there the table has all of it from the beginning, and a bound.
    pub fn of(release: &str, most: Option<u32>) -> Self {
        let limit =
            |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok();
        let possible = [limit("pid_max"), limit("threads-max")].into_iter().flatten().min();
        Self::by(release, most, possible)
    }

    fn by(release: &str, most: Option<u32>, possible: Option<u32>) -> Self {
        let as_needed = version(release).is_some_and(|version| version >= (6, 1));
        let possible = possible.unwrap_or(PREALLOCATED);
        let possible = if as_needed { possible } else { possible.min(PREALLOCATED) };
        Self { most: most.unwrap_or(possible).max(1), as_needed }
    }
}

/// The sizes of the tables: these, or those of the tables in this folder, which can't be changed any more.
pub(super) fn existing(dir: &Path, wanted: Sizes) -> Sizes {
    let entries = |name: &str| Some(MapData::from_pin(dir.join(name)).ok()?.info().ok()?.max_entries());
    let sizes = Sizes {
        places: entries("COUNTS").unwrap_or(wanted.places),
        programs: entries("BINARIES").unwrap_or(wanted.programs),
        ..wanted
    };
    if sizes != wanted {
        tracing::warn!(
            counts = sizes.places,
            programs = sizes.programs,
            "the tables of the agent before this one have another size, which they keep until the node restarts or \
             `gatewatch-agent --cleanup` removes them"
        );
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::Processes;

    #[test]
    fn processes_by_the_node() {
        for (release, most, possible, expected) in [
            ("6.12.1", None, Some(4_194_304), (4_194_304, true)),
            ("6.12.1", Some(300), Some(32_768), (300, true)),
            ("5.10.0", None, Some(4_194_304), (65_536, false)),
            ("5.10.0", None, Some(32_768), (32_768, false)),
            ("5.10.0", Some(100_000), Some(4_194_304), (100_000, false)),
            ("6.1.0", None, None, (65_536, true)),
            ("", Some(0), None, (1, false)),
        ] {
            let Processes { most, as_needed } = Processes::by(release, most, possible);
            assert_eq!((most, as_needed), expected, "{release}");
        }
    }
}
