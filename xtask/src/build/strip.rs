//! Programs without debug information, which is most of what a VM would have to unpack. Function names stay.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{paths, process};

/// The folder of the copies, in Cargo's target folder.
const FOLDER: &str = "stripped";

/// The path of a copy of `program` without debug information. The copy is made again if it is older than the program.
pub(super) fn without_debug_information(program: &Path) -> Result<PathBuf> {
    let folder = paths::target().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let copy = folder.join(program.file_name().context("a program without a name")?);
    if changed(program)? > changed(&copy).unwrap_or(SystemTime::UNIX_EPOCH) {
        // Another task may read the copy meanwhile: it sees the old one or the new one, but no half of one.
        let part = tempfile::NamedTempFile::new_in(&folder)
            .with_context(|| format!("cannot create a file in {}", folder.display()))?
            .into_temp_path();
        process::text(Command::new("strip").arg("--strip-debug").arg("-o").arg(&part).arg(program))?;
        part.persist(&copy).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(copy)
}

fn changed(path: &Path) -> Result<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("cannot read the time of {}", path.display()))
}
