//! A file with rotation.

mod backups;

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rustix::fs::OFlags;
use thiserror::Error;

use self::backups::Backups;
use crate::queue::Line;

/// Why records cannot be written to a file.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is a pipe, a device or a directory.
    #[error("{} is not a regular file; use --export-stdout for standard output", .0.display())]
    NotRegular(PathBuf),
    /// It cannot be written.
    #[error("cannot write to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It cannot be renamed.
    #[error("cannot rotate {}: {source}", path.display())]
    Rotate {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// How a file is kept. The names of the options are Tetragon's.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The file.
    pub path: PathBuf,
    /// It is rotated before it is larger, in bytes.
    pub max_bytes: u64,
    /// How many rotated files are kept; 0: all.
    pub max_backups: usize,
    /// It is also rotated after this time.
    pub rotation_interval: Option<Duration>,
    /// Rotated files are compressed.
    pub compress: bool,
    /// The permissions of all of them.
    pub mode: u32,
}

/// How often the file is compared with what is at its path.
const CHECK: Duration = Duration::from_secs(1);

/// A file that records are written to.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    options: FileOptions,
    open: Option<Open>,
    backups: Backups,
    checked: Instant,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Its size: the end of the last whole line.
    size: u64,
    since: Instant,
}

/// How many lines of a batch were written before the error.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) written: usize,
    pub(crate) error: FileError,
}

impl RotatingFile {
    /// Opens the file, so that a mistake shows at the agent's start.
    pub(crate) fn open(options: FileOptions) -> Result<Self, FileError> {
        let open = open(&options)?;
        let backups = Backups::start(&options);
        Ok(Self { options, open: Some(open), backups, checked: Instant::now() })
    }

    /// Writes lines. After an error, the file ends with a whole line.
    pub(crate) fn write(&mut self, lines: &[Line]) -> Result<(), Failed> {
        let mut done = 0;
        while let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write_some(rest) {
                Ok(written) => done += written,
                Err((written, error)) => return Err(Failed { written: done + written, error }),
            }
        }
        Ok(())
    }

    /// Rotates a file that is old enough, and opens it again if it was moved or deleted.
    pub(crate) fn tick(&mut self) -> Result<(), FileError> {
        if self.checked.elapsed() >= CHECK {
            self.checked = Instant::now();
            if self.open.as_ref().is_some_and(|open| moved(&open.file, &self.options.path)) {
                self.open = None;
            }
        }
        let due = |open: &Open| {
            open.size > 0 && self.options.rotation_interval.is_some_and(|after| open.since.elapsed() >= after)
        };
        if self.open.as_ref().is_some_and(due) {
            self.rotate()?;
        }
        Ok(())
    }

    /// Waits until rotated files are compressed.
    pub(crate) fn finish(self) {
        self.backups.finish();
    }

    /// Writes as many lines as fit in the file.
    fn write_some(&mut self, lines: &[Line]) -> Result<usize, (usize, FileError)> {
        self.tick().map_err(|error| (0, error))?;
        let first = lines.first().map_or(0, |line| line.text.len() as u64);
        if self.open.as_ref().is_some_and(|open| open.size > 0 && open.size + first > self.options.max_bytes)
        {
            self.rotate().map_err(|error| (0, error))?;
        }
        if self.open.is_none() {
            self.open = Some(open(&self.options).map_err(|error| (0, error))?);
        }
        let Some(open) = &mut self.open else { return Ok(0) };
        let mut buffer = Vec::new();
        let mut ends = Vec::new();
        for line in lines {
            let size = open.size + (buffer.len() + line.text.len()) as u64;
            if !ends.is_empty() && size > self.options.max_bytes {
                break;
            }
            buffer.extend_from_slice(&line.text);
            ends.push(buffer.len());
        }
        let (bytes, result) = write_all(&mut open.file, &buffer);
        let whole = ends.partition_point(|end| *end <= bytes);
        let kept = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or_default();
        open.size += kept as u64;
        let Err(source) = result else { return Ok(whole) };
        // Half of a line would spoil the next one.
        if bytes != kept && open.file.set_len(open.size).is_err() {
            let _ = open.file.write_all(b"\n");
        }
        self.open = None;
        Err((whole, FileError::Write { path: self.options.path.clone(), source }))
    }

    fn rotate(&mut self) -> Result<(), FileError> {
        let fault = |source| FileError::Rotate { path: self.options.path.clone(), source };
        let backup = self.backups.name(SystemTime::now()).map_err(fault)?;
        fs::rename(&self.options.path, &backup).map_err(fault)?;
        self.open = None;
        self.open = Some(open(&self.options)?);
        self.backups.added();
        Ok(())
    }
}

/// Writes all bytes; gives how many were written.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn open(options: &FileOptions) -> Result<Open, FileError> {
    let path = &options.path;
    let fault = |source| FileError::Open { path: path.clone(), source };
    // NONBLOCK: to open a pipe without a reader must not block the agent's start.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(options.mode)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(fault)?;
    let metadata = file.metadata().map_err(fault)?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.clone()));
    }
    // Neither the umask nor an earlier agent's choice decides.
    if metadata.permissions().mode() & 0o7777 != options.mode {
        file.set_permissions(Permissions::from_mode(options.mode)).map_err(fault)?;
    }
    let mut size = metadata.len();
    // An agent that was killed while it wrote leaves a part of a line.
    if size > 0 && !ends_with_newline(path) {
        (&file).write_all(b"\n").map_err(|source| FileError::Write { path: path.clone(), source })?;
        size += 1;
    }
    Ok(Open { file, size, since: Instant::now() })
}

fn ends_with_newline(path: &Path) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte == b'\n')
}

/// Whether the path names another file, or none.
fn moved(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) != (there.dev(), there.ino()),
        (_, Err(error)) => error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
