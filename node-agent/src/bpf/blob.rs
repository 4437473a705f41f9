//! What the agent has to remember beyond its end, as bytes in the bpf file system.
//!
//! It lies beside the maps, so that both are there or neither: a reboot takes both away, and nothing but the bpf file
//! system has to be mounted into a container. Files can't be made there; a map that is an array of pages can. Each save
//! makes a new one and renames it over the last: whoever reads finds one of the two whole.

use std::{fs, io, path::Path};

use aya::maps::{Array, Map, MapData, MapError};

use super::LoadError;

const PAGE: usize = 4096;
type Pages = Array<MapData, [u8; PAGE]>;

/// Saves bytes under a name.
pub(super) fn save(dir: &Path, name: &'static str, bytes: &[u8]) -> Result<(), LoadError> {
    let failed = |source| LoadError::Map { map: name, source };
    let renamed = |source| LoadError::Pins { path: dir.join(name), source };
    // The first eight bytes are the length.
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes();
    let pages = (length.len() + bytes.len()).div_ceil(PAGE);
    let mut map = Pages::create(u32::try_from(pages).unwrap_or(u32::MAX), 0).map_err(failed)?;
    let mut rest = length.iter().chain(bytes).copied();
    for index in 0..pages {
        let mut page = [0; PAGE];
        for (to, byte) in page.iter_mut().zip(&mut rest) {
            *to = byte;
        }
        map.set(u32::try_from(index).unwrap_or(u32::MAX), page, 0).map_err(failed)?;
    }
    let (new, old) = (dir.join(format!("{name}-new")), dir.join(name));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(renamed(error)),
        _ => {}
    }
    map.pin(&new).map_err(|error| failed(MapError::PinError { name: Some(name.to_owned()), error }))?;
    fs::rename(new, old).map_err(renamed)
}

/// What was saved under a name; `None` where nothing was.
pub(super) fn load(dir: &Path, name: &'static str) -> Result<Option<Vec<u8>>, LoadError> {
    let path = dir.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| LoadError::Map { map: name, source };
    let map = Map::from_map_data(MapData::from_pin(path).map_err(failed)?).map_err(failed)?;
    let map = Pages::try_from(map).map_err(failed)?;
    let mut bytes = Vec::new();
    for index in 0..map.len() {
        bytes.extend_from_slice(&map.get(&index, 0).map_err(failed)?);
    }
    let (length, rest) = bytes.split_at(size_of::<u64>());
    let length = length.try_into().map_or(0, u64::from_le_bytes);
    Ok(Some(rest[..rest.len().min(usize::try_from(length).unwrap_or(0))].to_vec()))
}
