//! The bpf file system, where the maps that all programs share have names.

use std::{fs, io, path::Path};

use rustix::{
    fs::statfs,
    mount::{MountFlags, mount},
};

use super::LoadError;

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Makes an empty folder for the maps. Maps that an earlier agent left there are taken away.
pub fn prepare(pins: &Path) -> Result<(), LoadError> {
    let parent = pins.parent().unwrap_or(pins);
    if !is_bpffs(parent) {
        mount("bpf", parent, "bpf", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
            .map_err(|errno| LoadError::NoBpffs { path: parent.to_owned(), source: errno.into() })?;
    }
    let failed = |source| LoadError::Pins { path: pins.to_owned(), source };
    match fs::remove_dir_all(pins) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    fs::create_dir(pins).map_err(failed)
}

/// Takes the folder and the maps' names away. What can't be removed is left to the next start.
pub fn remove(pins: &Path) {
    if let Err(error) = fs::remove_dir_all(pins) {
        tracing::warn!(path = %pins.display(), %error, "cannot remove the maps' names");
    }
}

#[allow(clippy::useless_conversion, reason = "the field's type differs between architectures")]
fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| i64::from(stat.f_type) == BPF_FS_MAGIC)
}
