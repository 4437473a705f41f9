//! Rotated files: their names, their number, their compression. Names are as in Tetragon: `tetragon.log` becomes
//! `tetragon-2026-01-02T03-04-05.678.log`, compressed with `.gz`.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::SystemTime,
};

use flate2::{Compression, write::GzEncoder};
use jiff::{Timestamp, tz::TimeZone};

use super::FileOptions;

/// The form of the time in a name; it is in UTC. Names in order are in the order of their times.
const TIME: &str = "%Y-%m-%dT%H-%M-%S.%3f";
const GZIP: &str = ".gz";
/// A file that is being compressed.
const PART: &str = ".gz.part";

/// The rotated files of one file. A thread compresses and removes them, so the output never waits for it.
#[derive(Debug)]
pub(super) struct Backups {
    path: PathBuf,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Backups {
    /// Starts the thread, which first does what an earlier agent left.
    pub(super) fn start(options: &FileOptions) -> Self {
        let (sender, receiver) = channel();
        let keeper = Keeper {
            path: options.path.clone(),
            keep: options.max_backups,
            compress: options.compress,
            mode: options.mode,
        };
        let _ = sender.send(());
        let thread = std::thread::Builder::new()
            .name("export-backups".to_owned())
            .spawn(move || keeper.run(&receiver));
        match thread {
            Ok(thread) => Self { path: options.path.clone(), thread: Some((sender, thread)) },
            Err(error) => {
                tracing::error!(
                    "cannot start the thread that compresses and removes rotated files: {error}; they stay"
                );
                Self { path: options.path.clone(), thread: None }
            }
        }
    }

    /// An unused name for a file that is rotated now.
    pub(super) fn name(&self, now: SystemTime) -> io::Result<PathBuf> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
        let milliseconds = i64::try_from(since.as_millis()).map_err(io::Error::other)?;
        let mut time =
            Timestamp::from_millisecond(milliseconds).map_err(|error| io::Error::other(error.to_string()))?;
        loop {
            let (stem, extension) = parts(&self.path);
            let text = time.to_zoned(TimeZone::UTC).strftime(TIME).to_string();
            let path = self.path.with_file_name(format!("{stem}-{text}{extension}"));
            if !path.exists() && !with_suffix(&path, GZIP).exists() {
                return Ok(path);
            }
            time += std::time::Duration::from_millis(1);
        }
    }

    /// There is one more.
    pub(super) fn added(&self) {
        if let Some((sender, _)) = &self.thread {
            let _ = sender.send(());
        }
    }

    /// Waits until the thread has done its work.
    pub(super) fn finish(self) {
        if let Some((sender, thread)) = self.thread {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// The name of a file without its extension, and the extension with its dot.
fn parts(path: &Path) -> (String, String) {
    let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = part(path.extension()).map(|extension| format!(".{extension}"));
    (part(path.file_stem()).unwrap_or_default(), extension.unwrap_or_default())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

struct Keeper {
    path: PathBuf,
    keep: usize,
    compress: bool,
    mode: u32,
}

impl Keeper {
    fn run(&self, work: &Receiver<()>) {
        while work.recv().is_ok() {
            if let Err(error) = self.tidy() {
                tracing::error!("rotated files of {}: {error}; they stay as they are", self.path.display());
            }
        }
    }

    /// Removes the oldest, and compresses the others.
    fn tidy(&self) -> io::Result<()> {
        let mut backups = self.list()?;
        backups.sort();
        let extra = if self.keep == 0 { 0 } else { backups.len().saturating_sub(self.keep) };
        for (_, path) in backups.drain(..extra) {
            fs::remove_file(&path)?;
        }
        if self.compress {
            for (_, path) in
                backups.iter().filter(|(_, path)| !path.as_os_str().as_encoded_bytes().ends_with(b".gz"))
            {
                self.compress(path)?;
            }
        }
        Ok(())
    }

    /// The rotated files with their times. What an earlier agent left half compressed is removed.
    fn list(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let (stem, extension) = parts(&self.path);
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(&format!("{stem}-")) else { continue };
            if let Some(time) = rest.strip_suffix(PART).and_then(|rest| rest.strip_suffix(&extension)) {
                if is_time(time) {
                    fs::remove_file(entry.path())?;
                }
                continue;
            }
            let rest = rest.strip_suffix(GZIP).unwrap_or(rest);
            if let Some(time) = rest.strip_suffix(&extension).filter(|time| is_time(time)) {
                found.push((time.to_owned(), entry.path()));
            }
        }
        Ok(found)
    }

    fn compress(&self, path: &Path) -> io::Result<()> {
        let part = with_suffix(path, PART);
        let result = (|| {
            let file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(self.mode).open(&part)?;
            let mut encoder = GzEncoder::new(file, Compression::default());
            io::copy(&mut File::open(path)?, &mut encoder)?;
            encoder.finish()?.sync_all()?;
            fs::rename(&part, with_suffix(path, GZIP))?;
            fs::remove_file(path)
        })();
        if result.is_err() {
            let _ = fs::remove_file(&part);
        }
        result
    }
}

/// Whether a text has the form of a time in a name: only such files are ours to remove.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00-00-00.000";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}
