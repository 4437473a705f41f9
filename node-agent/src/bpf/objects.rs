//! The built BPF objects, embedded.

use std::collections::BTreeMap;

use aya_obj::{Object, maps::PinningType};
use gatewatch_abi::{MatcherConfig, Shape};

use super::{LoadError, attach_type::AttachType};
use crate::fingerprint::fingerprint;

macro_rules! object {
    ($name:literal) => {
        aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

/// Sits on functions.
pub(super) static ATTACH: &[u8] = object!("attach");
/// Matches events, up to 64 selectors.
static MATCHER: &[u8] = object!("matcher");
/// The same for less, and smaller.
static MATCHER_INTEGERS: &[u8] = object!("matcher_integers");
/// As is this.
static MATCHER_PATHS: &[u8] = object!("matcher_paths");
/// The same as `MATCHER_INTEGERS`, up to 128 selectors.
static MATCHER_DOUBLE: &[u8] = object!("matcher_double");
/// Matches events, up to 1,024 selectors.
static MATCHER_WIDE: &[u8] = object!("matcher_wide");
/// The same as `MATCHER`, and does more than counting.
static MATCHER_ACTING: &[u8] = object!("matcher_acting");
/// The same as `MATCHER_WIDE`, and does more than counting.
static MATCHER_WIDE_ACTING: &[u8] = object!("matcher_wide_acting");
/// Matches events at tracepoints and LSM hooks, up to 64 selectors.
static EVENTS: &[u8] = object!("events");
/// The same, up to 1,024 selectors.
static EVENTS_WIDE: &[u8] = object!("events_wide");
/// Records events and processes.
pub(super) static RECORDER: &[u8] = object!("recorder");
/// Follows processes and cgroups.
pub(super) static TRACK: &[u8] = object!("track");

/// Says at which file a uprobe is.
pub(super) static UPROBE: &[u8] = object!("uprobe");

/// The smallest object whose matchers can read the fields of a configuration. `by`: how the point is attached to.
pub(super) fn matcher(config: &MatcherConfig, by: AttachType) -> Result<&'static [u8], LoadError> {
    if !by.is_function() {
        return built(if config.words == 1 { EVENTS } else { EVENTS_WIDE });
    }
    if acts(config) {
        return built(if config.words == 1 { MATCHER_ACTING } else { MATCHER_WIDE_ACTING });
    }
    let shapes = [(Shape::INTEGERS, MATCHER_INTEGERS), (Shape::PATHS, MATCHER_PATHS)];
    built(match config.words {
        1 => shapes.into_iter().find(|(shape, _)| shape.can_do(config)).map_or(MATCHER, |(_, object)| object),
        _ if in_pairs(config, by) => MATCHER_DOUBLE,
        _ => MATCHER_WIDE,
    })
}

/// Whether the matcher for a config takes its rows from `PAIRS`.
pub(super) fn in_pairs(config: &MatcherConfig, by: AttachType) -> bool {
    by.is_function() && config.words == 2 && !acts(config) && Shape::INTEGERS.can_do(config)
}

/// Whether a matcher does more than counting.
const fn acts(config: &MatcherConfig) -> bool {
    config.enforces != 0 || config.records != 0
}

/// The object with programs that do nothing, `empty_kprobe` and `empty_fentry`: the floor that benches measure against.
pub fn empty_programs() -> &'static [u8] {
    ATTACH
}

/// The object's bytes, if the agent was built with them.
pub(super) fn built(object: &'static [u8]) -> Result<&'static [u8], LoadError> {
    if object.is_empty() { Err(LoadError::NotBuilt) } else { Ok(object) }
}

/// The name of a layout: what has to be the same in two builds of the BPF programs, so that one can continue with the other's
/// maps. These are its number, raised by hand when contents get another meaning, and the shape of every map that outlives
/// the agent.
pub(super) fn layout_name(version: u32, shapes: u64) -> String {
    format!("v{version}-{shapes:016x}")
}

/// A hash over the shape of every map that outlives the agent.
pub(super) fn shapes() -> Result<u64, LoadError> {
    // Sorted: the objects share maps.
    let mut shapes = BTreeMap::new();
    for (object, bytes) in [("tracking", TRACK), ("matching", MATCHER), ("attaching", ATTACH)] {
        let parsed = Object::parse(built(bytes)?)
            .map_err(|error| LoadError::Object { object, source: aya::EbpfError::ParseError(error) })?;
        for (name, map) in parsed.maps {
            if map.pinning() != PinningType::None || name == "MATCHER" {
                let shape =
                    (map.map_type(), map.key_size(), map.value_size(), map.max_entries(), map.map_flags());
                shapes.insert(name, shape);
            }
        }
    }
    Ok(fingerprint(&shapes))
}
