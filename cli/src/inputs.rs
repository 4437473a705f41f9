//! The input files.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Maximum bytes of one input, several times the size of ten thousand objects.
const MAX_BYTES: usize = 64 << 20;

/// The content of a file.
#[derive(Debug)]
pub(crate) struct Input {
    /// The name of the file in messages.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Whether the user named the file. Then it must contain Kubernetes objects.
    pub(crate) named: bool,
}

impl Input {
    /// The content up to the first invalid UTF-8.
    pub(crate) fn text(&self) -> &str {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(_) => self.bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid()),
        }
    }
}

/// An input that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {name}: {source}")]
pub(crate) struct Unreadable {
    name: String,
    source: io::Error,
}

/// A file to read.
#[derive(Debug)]
pub(crate) struct InputFile {
    path: PathBuf,
    named: bool,
}

impl InputFile {
    /// Its path; `-` is standard input.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Lists the files of all arguments, each once, and the directories that could not be listed.
pub(crate) fn find(arguments: &[PathBuf]) -> (Vec<InputFile>, Vec<Unreadable>) {
    let mut walk = Walk::default();
    for path in arguments {
        walk.argument(path);
    }
    (walk.found, walk.unreadable)
}

#[derive(Default)]
struct Walk {
    found: Vec<InputFile>,
    unreadable: Vec<Unreadable>,
    /// Canonical paths, so that links and repeated arguments do not count twice.
    seen: HashSet<PathBuf>,
}

impl Walk {
    fn argument(&mut self, path: &Path) {
        if path == Path::new("-") {
            if self.seen.insert(path.to_owned()) {
                self.found.push(InputFile { path: path.to_owned(), named: true });
            }
        } else if path.is_dir() {
            self.directory(path);
        } else {
            self.file(path, true);
        }
    }

    fn file(&mut self, path: &Path, named: bool) {
        // Reading a missing file reports the error.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.seen.insert(real) {
            self.found.push(InputFile { path: path.to_owned(), named });
        }
    }

    fn directory(&mut self, path: &Path) {
        let entries = path.canonicalize().and_then(|real| {
            if !self.seen.insert(real) {
                return Ok(Vec::new());
            }
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(source) => {
                return self.unreadable.push(Unreadable { name: path.display().to_string(), source });
            }
        };
        entries.sort();
        for entry in entries {
            // `.git`, and the versions of a mounted ConfigMap.
            let hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden {
                continue;
            }
            if entry.is_dir() {
                self.directory(&entry);
            } else if entry.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
                self.file(&entry, false);
            }
        }
    }
}

/// Reads a file.
pub(crate) fn read(place: &InputFile) -> Result<Input, Unreadable> {
    let stdin = place.path == Path::new("-");
    let name = if stdin { "<stdin>".to_owned() } else { place.path.display().to_string() };
    let bytes = if stdin { bounded(io::stdin().lock()) } else { File::open(&place.path).and_then(bounded) };
    match bytes {
        Ok(bytes) => Ok(Input { name, bytes, named: place.named }),
        Err(source) => Err(Unreadable { name, source }),
    }
}

/// Reads everything up to the limit. A device has no end.
fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        let message = format!("larger than {} MiB, which is too large for a manifest", MAX_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
