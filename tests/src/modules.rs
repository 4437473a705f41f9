//! Kernel modules to load.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A module's file and name.
#[derive(Clone, Debug)]
pub struct Module {
    /// The file.
    pub file: PathBuf,
    /// What it is called when it is loaded.
    pub name: String,
}

/// A module of this kernel that isn't loaded and needs no other.
pub fn unloaded() -> Option<Module> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut found = Vec::new();
    walk(&Path::new("/lib/modules").join(release), &mut found);
    let loaded = fs::read_to_string("/proc/modules").unwrap_or_default();
    ["dummy", "ifb", "nbd", "zram", "crc-itu-t"]
        .into_iter()
        .filter(|name| !loaded.lines().any(|line| line.split(' ').next() == Some(&name.replace('-', "_"))))
        .find_map(|name| {
            let is_it = |path: &&PathBuf| {
                path.file_name()
                    .and_then(|file| file.to_str())
                    .is_some_and(|file| file.split('.').next() == Some(name))
            };
            Some(Module { file: found.iter().find(is_it)?.clone(), name: name.replace('-', "_") })
        })
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, found);
        } else if path.to_string_lossy().contains(".ko") {
            found.push(path);
        }
    }
}
