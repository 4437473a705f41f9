//! Policies in a directory, pods in a file.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{Change, Origin, Source};
use crate::{
    pods::parse_pods,
    policy_dir::{DirError, PolicyDir},
};

/// How often they are read.
const EVERY: Duration = Duration::from_secs(1);
/// How soon they are read again after a change: more of a burst may follow.
const SOON: Duration = Duration::from_millis(100);

/// See the module's documentation.
#[derive(Debug)]
pub struct Files {
    directory: PolicyDir,
    pods: Option<PodsFile>,
    polled: Option<Instant>,
    every: Duration,
}

#[derive(Debug)]
struct PodsFile {
    path: PathBuf,
    text: Option<String>,
    broken: bool,
}

impl Files {
    /// A directory of policies, and a file of pods.
    pub fn new(policies: PathBuf, pods: Option<PathBuf>) -> Self {
        Self {
            directory: PolicyDir::new(policies),
            pods: pods.map(|path| PodsFile { path, text: None, broken: false }),
            polled: None,
            every: EVERY,
        }
    }
}

impl Source for Files {
    fn poll(&mut self) -> Result<Vec<Change>, DirError> {
        if self.polled.is_some_and(|at| at.elapsed() < self.every) {
            return Ok(Vec::new());
        }
        self.polled = Some(Instant::now());
        self.every = EVERY;
        // Pods first: policies then know at once which of them they select.
        let mut found: Vec<Change> = self.pods.as_mut().and_then(PodsFile::read).into_iter().collect();
        let changes = match self.directory.poll() {
            Ok(changes) => changes,
            Err(error) if found.is_empty() => return Err(error),
            Err(error) => {
                tracing::error!("{error}; the policies stay unchanged");
                return Ok(found);
            }
        };
        for problem in &changes.problems {
            tracing::error!("{problem}");
        }
        // A file that is missing has the whole time to come back.
        let burst = !changes.changed.is_empty() || !changes.removed.is_empty();
        if burst && !self.directory.is_in_doubt() {
            self.every = SOON;
        }
        found.extend(changes.removed.into_iter().map(|path| Change::PoliciesGone(Origin::File(path))));
        found.extend(changes.changed.into_iter().map(|(path, text)| Change::Policies {
            origin: Origin::File(path),
            text,
            generation: None,
        }));
        Ok(found)
    }

    fn complete(&self) -> bool {
        self.polled.is_some()
    }

    fn pods_current(&self) -> bool {
        !self.pods.as_ref().is_some_and(|file| file.broken)
    }

    fn problems(&self) -> u64 {
        u64::try_from(self.directory.unreadable()).unwrap_or(u64::MAX)
            + u64::from(self.pods.as_ref().is_some_and(|file| file.broken))
    }
}

impl PodsFile {
    fn read(&mut self) -> Option<Change> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if !self.broken {
                    tracing::error!(
                        "cannot read the pods in {}: {error}; the known pods stay unchanged",
                        self.path.display()
                    );
                }
                self.broken = true;
                return None;
            }
        };
        if self.text.as_ref() == Some(&text) {
            return None;
        }
        let parsed = parse_pods(&text);
        self.text = Some(text);
        match parsed {
            Ok(pods) => {
                for problem in &pods.problems {
                    tracing::warn!("{}: {problem}", self.path.display());
                }
                tracing::info!("{}: {} pods", self.path.display(), pods.pods.len());
                self.broken = !pods.problems.is_empty();
                Some(Change::Pods(pods.pods))
            }
            Err(error) => {
                tracing::error!("{}: {error}; the known pods stay unchanged", self.path.display());
                self.broken = true;
                None
            }
        }
    }
}
