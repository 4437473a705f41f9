//! What all that handle maps need.

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

use super::LoadError;

/// `BPF_NOEXIST`, include/uapi/linux/bpf.h.
pub(super) const NOEXIST: u64 = 1;

/// Takes the map of this name out of an object.
pub(super) fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::Missing(name))?;
    T::try_from(map).map_err(|source| LoadError::Map { map: name, source })
}

/// The result of removing an entry, which succeeds also if the entry did not exist.
pub(super) fn ignore_missing(result: Result<(), MapError>, map: &'static str) -> Result<(), LoadError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| LoadError::Map { map, source }),
    }
}
