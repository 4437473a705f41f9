//! Policies in a directory, pods in a file.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Change, Origin, Source};
use crate::pods::parse_pods;
use crate::policy_dir::{DirError, PolicyDir};

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub struct Files {
    directory: PolicyDir,
    pods: Option<PodsFile>,
    looked: Option<Instant>,
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
            looked: None,
        }
    }
}

impl Source for Files {
    fn poll(&mut self) -> Result<Vec<Change>, DirError> {
        if self.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(Vec::new());
        }
        self.looked = Some(Instant::now());
        // Pods first: policies then know at once whom they watch.
        let mut found: Vec<Change> = self.pods.as_mut().and_then(PodsFile::look).into_iter().collect();
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
        found.extend(changes.removed.into_iter().map(|path| Change::PoliciesGone(Origin::File(path))));
        found.extend(changes.changed.into_iter().map(|(path, text)| Change::Policies {
            origin: Origin::File(path),
            text,
            generation: None,
        }));
        Ok(found)
    }

    fn complete(&self) -> bool {
        self.looked.is_some()
    }

    fn problems(&self) -> u64 {
        u64::try_from(self.directory.unreadable()).unwrap_or(u64::MAX)
            + u64::from(self.pods.as_ref().is_some_and(|file| file.broken))
    }
}

impl PodsFile {
    fn look(&mut self) -> Option<Change> {
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
