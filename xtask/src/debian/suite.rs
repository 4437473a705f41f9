//! One Debian suite: its package lists, and packages from it.

use std::{
    cmp::Ordering,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::mirror::Mirror;
use crate::{cache::Cache, process, progress::Step};

/// Package lists older than this are fetched again before anything is taken by them.
const FRESH: Duration = Duration::from_hours(12);

/// A suite of the machine's Debian mirror, with apt state of its own in the cache.
#[derive(Debug)]
pub(crate) struct Suite {
    name: String,
    folder: PathBuf,
}

impl Suite {
    /// Opens `name` (`trixie`, `trixie-backports`, …) and sees to it that its package lists are there and fresh.
    pub(crate) fn open(cache: &Cache, name: &str) -> Result<Self> {
        let suite = Self { name: name.to_owned(), folder: cache.path("apt").join(name) };
        let (lists, archives) =
            (suite.folder.join("lists/partial"), suite.folder.join("cache/archives/partial"));
        for folder in [&lists, &archives] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let stamp = suite.folder.join("updated");
        let fresh = fs::metadata(&stamp)
            .and_then(|stamp| stamp.modified())
            .is_ok_and(|when| when.elapsed().is_ok_and(|age| age < FRESH));
        if !fresh {
            let mirror = Mirror::of_this_machine()?;
            let source = format!("deb [signed-by={}] {} {name} main\n", mirror.keyring.display(), mirror.uri);
            suite.write("sources.list", &source)?;
            suite.write("status", "")?;
            let step = Step::begin(format!("fetching the package lists of Debian {name}"));
            process::run(suite.apt("apt-get").arg("update"), &step)
                .with_context(|| format!("cannot fetch the package lists of Debian {name}"))?;
            suite.write("updated", "")?;
            step.done();
        }
        Ok(suite)
    }

    /// The newest package whose name begins with `prefix` and ends with `suffix`; `None` when the suite has none.
    pub(crate) fn newest(&self, prefix: &str, suffix: &str) -> Result<Option<String>> {
        let pattern = format!("^{}.*{}$", prefix.replace('.', r"\."), suffix.replace('.', r"\."));
        let found = process::text(self.apt("apt-cache").args(["search", "--names-only", &pattern]))?;
        Ok(found
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .max_by(|one, other| natural_order(one, other))
            .map(ToOwned::to_owned))
    }

    /// Every version of `package` that the suite offers.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let found = process::text(self.apt("apt-cache").args(["madison", package]))?;
        Ok(found.lines().filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())).collect())
    }

    /// Fetches packages (`name` or `name=version`) into `folder`, without their dependencies.
    pub(crate) fn download(&self, packages: &[&str], folder: &Path, step: &Step) -> Result<Vec<PathBuf>> {
        process::run(self.apt("apt-get").current_dir(folder).arg("download").args(packages), step)?;
        packages_in(folder)
    }

    /// Fetches packages, without their dependencies, and puts their files into `folder`.
    pub(crate) fn unpack(&self, packages: &[&str], folder: &Path, step: &Step) -> Result<()> {
        let scratch = tempfile::tempdir().context("cannot create a folder to fetch into")?;
        for package in self.download(packages, scratch.path(), step)? {
            process::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder), step)?;
        }
        Ok(())
    }

    /// Fetches `packages` and all they depend on into `folder`. Those in `absent`, and what only they need, stay out.
    pub(crate) fn download_closure(
        &self,
        packages: &[&str],
        absent: &[&str],
        folder: &Path,
        step: &Step,
    ) -> Result<Vec<PathBuf>> {
        // For apt, these are installed, in a version newer than any.
        let mut status = String::new();
        for package in absent {
            let _ = write!(
                status,
                "Package: {package}\nStatus: install ok installed\nArchitecture: all\nMulti-Arch: foreign\n\
                 Version: 9999\nProvides: {package}-2.0\nMaintainer: none\nDescription: left out\n\n"
            );
        }
        self.write("status", &status)?;
        let partial = folder.join("partial");
        fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        let mut command = self.apt("apt-get");
        command.arg(format!("-oDir::Cache::archives={}", folder.display()));
        command.args(["-y", "--download-only", "--no-install-recommends", "install"]).args(packages);
        process::run(&mut command, step)?;
        packages_in(folder)
    }

    /// `program` (apt-get or apt-cache) with this suite's state instead of the machine's.
    fn apt(&self, program: &str) -> Command {
        let folder = self.folder.display();
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").args([
            format!("-oDir::Etc::sourcelist={folder}/sources.list"),
            "-oDir::Etc::sourceparts=/dev/null".into(),
            "-oDir::Etc::preferences=/dev/null".into(),
            "-oDir::Etc::preferencesparts=/dev/null".into(),
            format!("-oDir::State::lists={folder}/lists"),
            format!("-oDir::State::status={folder}/status"),
            format!("-oDir::State::extended_states={folder}/extended_states"),
            format!("-oDir::Cache={folder}/cache"),
            // The machine's locks guard the machine's state, which this does not touch; so no root is needed.
            "-oDebug::NoLocking=1".into(),
            "-oAPT::Sandbox::User=root".into(),
            "-oAPT::Default-Release=".into(),
            "-oAcquire::Languages=none".into(),
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "-oAcquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false".into(),
            "-oAcquire::Retries=3".into(),
            // Only amd64 is booted, whatever the machine is.
            "-oAPT::Architecture=amd64".into(),
            "-oAPT::Architectures=amd64".into(),
        ]);
        command
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Debian {}", self.name)
    }
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut packages: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    packages.sort();
    if packages.is_empty() {
        bail!("apt-get fetched no package into {}", folder.display());
    }
    Ok(packages)
}

/// Compares as people do: runs of digits by their value, so that 5.10.0-9 comes before 5.10.0-30.
fn natural_order(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let (number, rest) = leading_number(one);
        let (other_number, other_rest) = leading_number(other);
        if number != other_number {
            return number.cmp(&other_number);
        }
        let (mut letters, mut other_letters) = (rest.chars(), other_rest.chars());
        match (letters.next(), other_letters.next()) {
            (None, None) => return Ordering::Equal,
            (letter, other_letter) if letter != other_letter => return letter.cmp(&other_letter),
            _ => (one, other) = (letters.as_str(), other_letters.as_str()),
        }
    }
}

fn leading_number(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.parse().ok(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        let mut names = vec![
            "linux-7.3.12+deb13",
            "linux-7.3.4+deb13",
            "linux-7.3.4",
            "linux-5.10.0-9",
            "linux-5.10.0-30",
        ];
        names.sort_by(|one, other| natural_order(one, other));
        let expected =
            ["linux-5.10.0-9", "linux-5.10.0-30", "linux-7.3.4", "linux-7.3.4+deb13", "linux-7.3.12+deb13"];
        assert_eq!(names, expected);
    }
}
