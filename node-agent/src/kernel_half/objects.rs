//! The built kernel half, embedded.

use super::LoadError;

macro_rules! object {
    ($name:literal) => {
        aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

/// Sits on functions.
pub(super) static ATTACH: &[u8] = object!("attach");
/// Classifies events, up to 64 selectors.
pub(super) static CLASSIFY: &[u8] = object!("classify");
/// Classifies events, up to 1,024 selectors.
pub(super) static CLASSIFY_WIDE: &[u8] = object!("classify_wide");
/// Follows processes and cgroups.
pub(super) static TRACK: &[u8] = object!("track");

/// The object with programs that do nothing, `empty_kprobe` and `empty_fentry`: the floor that benches measure against.
pub fn empty_programs() -> &'static [u8] {
    ATTACH
}

/// The object's bytes, if the agent was built with them.
pub(super) fn built(object: &'static [u8]) -> Result<&'static [u8], LoadError> {
    if object.is_empty() { Err(LoadError::NotBuilt) } else { Ok(object) }
}
