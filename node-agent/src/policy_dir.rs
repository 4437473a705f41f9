//! Policies in a directory: which files there are, and what changed in them.
//!
//! The directory is polled and not watched: a mounted `ConfigMap` changes by a symbolic link that is
//! replaced, editors by renames, and what all of these have in common is that the content is another one
//! afterwards. What can't be read keeps the content that it had: a policy doesn't stop because of a mistake made
//! while changing it.

mod listing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use listing::{Found, Stamp, list};

/// The largest file that is read. The API server doesn't store objects beyond about half of that (etcd's limit
/// for a request is 1.5 MiB).
pub const MAX_FILE_BYTES: u64 = 3 * 1024 * 1024;

/// A file that changed this recently could change again without its times telling: the kernel's clock for
/// file times moves in steps of some milliseconds, some file systems' in steps of 2 s.
const UNSETTLED: Duration = Duration::from_secs(3);

/// A directory of policies and what was last seen in it.
#[derive(Debug)]
pub struct PolicyDir {
    root: PathBuf,
    files: BTreeMap<PathBuf, Known>,
    problems: BTreeMap<PathBuf, String>,
}

#[derive(Debug)]
struct Known {
    text: String,
    /// `None` where the file has to be read again anyway.
    stamp: Option<Stamp>,
    /// It was absent or empty at the last look. That is believed at the second one, since it is how a file looks
    /// while an editor replaces it.
    doubt: bool,
}

/// Something that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// A sentence: which one, why, and what follows.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What [`PolicyDir::poll`] found, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that are new or have another text than before, and their text.
    pub changed: Vec<(PathBuf, String)>,
    /// Files that are no more.
    pub removed: Vec<PathBuf>,
    /// What can't be read since this look, or for another reason than before. [`PolicyDir::problems`] has all.
    pub problems: Vec<Problem>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// There is none.
    #[error("the policy directory {} does not exist; create it or choose another --policy-dir", .0.display())]
    Missing(PathBuf),
    /// It is a file.
    #[error("{} is not a directory; --policy-dir must be the directory that contains the policy files", .0.display())]
    NotADirectory(PathBuf),
    /// It can't be listed.
    #[error("cannot read the policy directory {}: {source}", .path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Says whether the directory can be used, without reading any file: what to ask before anything is set up.
pub fn check(path: &Path) -> Result<(), DirError> {
    list(path).map(drop)
}

impl PolicyDir {
    /// Begins with nothing seen.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { root: path.into(), files: BTreeMap::new(), problems: BTreeMap::new() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// How many things can't be read now.
    pub fn unreadable(&self) -> usize {
        self.problems.len()
    }

    /// Whether a file was missing or empty at the last poll, which the next poll has to confirm.
    pub fn is_in_doubt(&self) -> bool {
        self.files.values().any(|known| known.doubt)
    }

    /// Everything that can't be read now.
    pub fn problems(&self) -> impl Iterator<Item = Problem> + '_ {
        self.problems.iter().map(|(path, message)| Problem { path: path.clone(), message: message.clone() })
    }

    /// Polls the directory and returns what has changed since the last poll: all `*.yaml`, `*.yml` and `*.json`
    /// files in it and in directories below, except hidden ones. Symbolic links are followed, and a file that
    /// can be reached in several ways is there once.
    ///
    /// A file that went away or became empty is reported at the second look that finds it so. An error means that
    /// the directory as a whole can't be read: what was seen before stays.
    pub fn poll(&mut self) -> Result<Changes, DirError> {
        let Found { files, problems } = list(&self.root)?;
        let before = std::mem::replace(&mut self.problems, problems);
        let listed: BTreeSet<_> = files.keys().copied().collect();
        let mut seen: BTreeMap<PathBuf, Stamp> = files.into_values().collect();
        // A listing that runs while a file is replaced can miss it.
        for path in self.files.keys() {
            if !seen.contains_key(path)
                && !self.unseen(path)
                && let Some((id, stamp)) = Stamp::of_path(path)
                && !listed.contains(&id)
            {
                seen.insert(path.clone(), stamp);
            }
        }
        let mut changes = Changes::default();
        for (path, stamp) in &seen {
            self.look_at(path, *stamp, &mut changes);
        }
        self.remove_absent(|path| seen.contains_key(path), &mut changes);
        changes.problems =
            self.problems().filter(|problem| before.get(&problem.path) != Some(&problem.message)).collect();
        Ok(changes)
    }

    /// Whether the path is below a directory that can't be listed now.
    fn unseen(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|above| self.problems.contains_key(above))
    }

    fn look_at(&mut self, path: &Path, stamp: Stamp, changes: &mut Changes) {
        let known = self.files.get_mut(path);
        if known.as_ref().is_some_and(|known| known.stamp == Some(stamp)) {
            return;
        }
        let text = match read(path) {
            Ok(Some(text)) => text,
            Ok(None) => return absent(path, known, changes),
            Err(why) => {
                let kept =
                    if known.is_some() { "its policies keep running unchanged" } else { "it is skipped" };
                self.problems.insert(path.to_owned(), format!("{} {why}; {kept}", path.display()));
                return;
            }
        };
        let settled = stamp.changed_before(SystemTime::now(), UNSETTLED).then_some(stamp);
        let Some(known) = known else {
            self.files.insert(path.to_owned(), Known { text: text.clone(), stamp: settled, doubt: false });
            changes.changed.push((path.to_owned(), text));
            return;
        };
        if text.trim().is_empty() && !known.text.trim().is_empty() && !known.doubt {
            known.doubt = true;
            return;
        }
        (known.stamp, known.doubt) = (settled, false);
        if known.text != text {
            known.text.clone_from(&text);
            changes.changed.push((path.to_owned(), text));
        }
    }

    fn remove_absent(&mut self, seen: impl Fn(&Path) -> bool, changes: &mut Changes) {
        let gone: Vec<_> =
            self.files.keys().filter(|path| !seen(path) && !self.unseen(path)).cloned().collect();
        for path in gone {
            absent(&path, self.files.get_mut(&path), changes);
        }
        for path in &changes.removed {
            self.files.remove(path);
        }
    }
}

/// A file isn't there: at the first look that is a doubt, at the second one it is so.
fn absent(path: &Path, known: Option<&mut Known>, changes: &mut Changes) {
    match known {
        Some(known) if known.doubt => changes.removed.push(path.to_owned()),
        Some(known) => (known.doubt, known.stamp) = (true, None),
        None => {}
    }
}

/// Reads a file: `None` if it isn't there any more, or else a reason that can follow its name.
fn read(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes) {
        return Err(format!("cannot be read: {error}"));
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is larger than {} MiB", MAX_FILE_BYTES >> 20));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        format!("is not UTF-8 text (line {})", valid.split(|byte| *byte == b'\n').count())
    })
}

#[cfg(test)]
mod tests;
