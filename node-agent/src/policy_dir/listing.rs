//! Which files there are below a directory.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::DirError;

/// A file, whatever its path: device and inode.
pub(super) type FileId = (u64, u64);

/// What tells that a file is as it was, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    id: FileId,
    size: u64,
    modified: (i64, i64),
    /// Of the inode: a program that sets the time of modification can't set this one.
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            id: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Of a file at this path, if there is one.
    pub(super) fn of_path(path: &Path) -> Option<(FileId, Self)> {
        let meta = fs::metadata(path).ok().filter(Metadata::is_file)?;
        Some(((meta.dev(), meta.ino()), Self::of(&meta)))
    }

    /// Whether the last change is at least so long ago.
    pub(super) fn changed_before(&self, now: SystemTime, ago: Duration) -> bool {
        let (seconds, nanoseconds) = self.changed.max(self.modified);
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else {
            return false;
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        now.duration_since(changed).is_ok_and(|since| since >= ago)
    }
}

/// What [`list`] found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files. Of several paths of one file it is the first.
    pub(super) files: BTreeMap<FileId, (PathBuf, Stamp)>,
    /// Paths that could not be read, with a sentence on each.
    pub(super) problems: BTreeMap<PathBuf, String>,
}

/// Lists the policy files of a directory and of those below it.
pub(super) fn list(root: &Path) -> Result<Found, DirError> {
    let meta = fs::metadata(root).map_err(|source| root_error(root, source))?;
    if !meta.is_dir() {
        return Err(DirError::NotADirectory(root.to_owned()));
    }
    let mut found = Found::default();
    let mut directories = HashSet::from([(meta.dev(), meta.ino())]);
    let names = names(root).map_err(|source| root_error(root, source))?;
    visit(names, &mut directories, &mut found);
    Ok(found)
}

fn root_error(root: &Path, source: io::Error) -> DirError {
    match source.kind() {
        io::ErrorKind::NotFound => DirError::Missing(root.to_owned()),
        io::ErrorKind::NotADirectory => DirError::NotADirectory(root.to_owned()),
        _ => DirError::Unreadable { path: root.to_owned(), source },
    }
}

/// The names in a directory that aren't hidden, sorted. Hidden are among others the directories in which kubelet
/// keeps the versions of a mounted `ConfigMap`; its files are reached by links.
fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Files come before the directories beside them, so that of several ways to a file the shortest is taken.
fn visit(paths: Vec<PathBuf>, directories: &mut HashSet<FileId>, found: &mut Found) {
    let mut below = Vec::new();
    for path in paths {
        // Follows links. A dangling one counts as absent: it may be about to be replaced.
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                if is_policy(&path) {
                    found.problems.insert(path.clone(), problem(&path, &error));
                }
                continue;
            }
        };
        let id = (meta.dev(), meta.ino());
        if meta.is_dir() {
            // A link can lead to a directory above.
            if directories.insert(id) {
                below.push(path);
            }
        } else if meta.is_file() && is_policy(&path) {
            found.files.entry(id).or_insert_with(|| (path, Stamp::of(&meta)));
        }
    }
    for directory in below {
        match names(&directory) {
            Ok(names) => visit(names, directories, found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                found.problems.insert(directory.clone(), problem(&directory, &error));
            }
        }
    }
}

fn problem(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot read {}: {error}; policies that were read from there before keep running unchanged",
        path.display()
    )
}

fn is_policy(path: &Path) -> bool {
    path.extension().and_then(|ext| ext.to_str()).is_some_and(|ext| matches!(ext, "yaml" | "yml" | "json"))
}
