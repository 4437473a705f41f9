//! Brings objects into the kernel: one loader for all of them, since aya parses the kernel's types for each loader, which
//! takes longer than all else that loading an object does.

use std::path::Path;

use aya::{Ebpf, EbpfLoader};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::LoadError;

/// Loads objects whose maps of a common name are pinned in one folder.
pub(super) struct Loader {
    aya: EbpfLoader<'static>,
}

/// What an object is to be loaded with.
#[derive(Default)]
pub(super) struct With<'a> {
    /// Values of frozen globals, by name.
    pub(super) globals: &'a [(&'static str, &'a [u8])],
    /// Capacities of maps, by name.
    pub(super) entries: &'a [(&'static str, u32)],
}

impl Loader {
    /// For maps in this folder.
    pub(super) fn new(pins: &Path) -> Self {
        let mut aya = EbpfLoader::new();
        // Our objects find the kernel's fields by globals, and need none of its types.
        aya.btf(None).default_map_pin_directory(pins);
        Self { aya }
    }

    /// Loads an object, which errors call by `name`.
    pub(super) fn load(
        &mut self,
        name: &'static str,
        object: &[u8],
        with: &With<'_>,
    ) -> Result<Ebpf, LoadError> {
        let failed = |source| LoadError::Object { object: name, source };
        for (map, entries) in with.entries {
            self.aya.map_max_entries(map, *entries);
        }
        if with.globals.is_empty() {
            return self.aya.load(object).map_err(failed);
        }
        let mut object = object.to_owned();
        set(&mut object, with.globals)?;
        self.aya.load(&object).map_err(failed)
    }
}

/// Writes globals into an object. aya can do that too, but its loader then holds on to them.
fn set(object: &mut [u8], globals: &[(&'static str, &[u8])]) -> Result<(), LoadError> {
    for (name, value) in globals {
        let start = place(object, name, value.len()).ok_or(LoadError::Missing(name))?;
        object[start..start + value.len()].copy_from_slice(value);
    }
    Ok(())
}

/// Writes the flags of a map's definition: a `struct bpf_map_def`, as libbpf's first loaders have it (type, size of a key,
/// size of a value, entries, flags, id, pinning).
pub(super) fn set_flags(object: &mut [u8], map: &'static str, flags: u32) -> Result<(), LoadError> {
    const LENGTH: usize = 7 * 4;
    const FLAGS: usize = 4 * 4;
    let start = place(object, map, LENGTH).ok_or(LoadError::Missing(map))? + FLAGS;
    object[start..start + 4].copy_from_slice(&flags.to_le_bytes());
    Ok(())
}

/// The place of a global of this length.
fn place(object: &[u8], name: &str, length: usize) -> Option<usize> {
    let file = object::File::parse(object).ok()?;
    let symbol = file.symbol_by_name(name)?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let (offset, size) = section.file_range()?;
    let start = usize::try_from(offset.checked_add(symbol.address())?).ok()?;
    let ends_inside = symbol.address().checked_add(symbol.size())? <= size;
    (ends_inside && symbol.size() == u64::try_from(length).ok()?).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::{super::objects, place, set, set_flags};

    #[test]
    fn globals_are_written_where_they_stand() {
        // Without BPF programs there is nothing to look at; the tests in VMs have one.
        if objects::TRACK.is_empty() {
            return;
        }
        let mut object = objects::TRACK.to_vec();
        let start = place(&object, "HASH_KEY", 8).unwrap();
        assert_eq!(object[start..start + 8], [0; 8]);
        set(&mut object, &[("HASH_KEY", &7_u64.to_le_bytes())]).unwrap();
        assert_eq!(object[start..start + 8], 7_u64.to_le_bytes());
        assert_eq!(place(&object, "HASH_KEY", 4), None);
        assert!(set(&mut object, &[("NOTHING", &[0; 8])]).is_err());
        let map = place(&object, "PROCESSES", 28).unwrap();
        set_flags(&mut object, "PROCESSES", 1).unwrap();
        assert_eq!(object[map..map + 20].as_chunks::<4>().0[4], 1_u32.to_le_bytes());
    }
}
