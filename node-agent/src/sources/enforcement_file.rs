//! Settings of enforcement in a file.

use std::{fs, path::PathBuf};

use super::{Change, Source};
use crate::{
    enforcement::{Mode, Settings},
    policy_dir::DirError,
};

/// A file with the settings. It is read at each step of the agent, which is several times a second: it is small, and whoever
/// switches enforcement off waits for that.
#[derive(Debug)]
pub struct EnforcementFile {
    path: PathBuf,
    text: Option<String>,
    /// Whether it was read, or cannot be.
    known: bool,
    broken: bool,
}

impl EnforcementFile {
    /// A file, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, text: None, known: false, broken: false }
    }

    fn unreadable(&mut self, error: &std::io::Error) -> Vec<Change> {
        let first = !self.known;
        let path = self.path.display();
        if !self.broken {
            let effect =
                if first { "no policy enforces until it can be read" } else { "the settings stay unchanged" };
            tracing::error!("cannot read the enforcement settings in {path}: {error}; {effect}");
        }
        self.broken = true;
        self.known = true;
        if first {
            let settings = Settings { all: Mode::Monitor, ..Settings::default() };
            return vec![Change::Enforcement(settings)];
        }
        Vec::new()
    }
}

impl Source for EnforcementFile {
    fn poll(&mut self) -> Result<Vec<Change>, DirError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => return Ok(self.unreadable(&error)),
        };
        self.known = true;
        if self.text.as_ref() == Some(&text) {
            return Ok(Vec::new());
        }
        let settings = Settings::parse(&text);
        self.broken = !settings.problems.is_empty();
        self.text = Some(text);
        for problem in &settings.problems {
            tracing::error!("{}: {problem}", self.path.display());
        }
        Ok(vec![Change::Enforcement(settings)])
    }

    fn complete(&self) -> bool {
        self.known
    }

    fn pods_current(&self) -> bool {
        true
    }

    fn problems(&self) -> u64 {
        u64::from(self.broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(file: &mut EnforcementFile) -> Vec<Mode> {
        let mode = |change| match change {
            Change::Enforcement(settings) => settings.all,
            other => panic!("{other:?}"),
        };
        file.poll().unwrap().into_iter().map(mode).collect()
    }

    #[test]
    fn a_file_that_comes_changes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("enforcement");
        let mut file = EnforcementFile::new(path.clone());
        assert!(!file.complete());
        assert_eq!(modes(&mut file), [Mode::Monitor], "nothing is enforced in doubt");
        assert!(file.complete() && file.problems() == 1);
        fs::write(&path, "enforcement: enforce\n").unwrap();
        assert_eq!(modes(&mut file), [Mode::Enforce]);
        assert_eq!((modes(&mut file), file.problems()), (Vec::new(), 0));
        fs::write(&path, "enforcement: off\n").unwrap();
        assert_eq!(modes(&mut file), [Mode::Off]);
        fs::remove_file(&path).unwrap();
        assert_eq!((modes(&mut file), file.problems()), (Vec::new(), 1), "the last one stays");
    }
}
