//! Programs from cargo's registry, built into the cache.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{cache::Cache, paths, process, progress::Step};

/// A program to install.
pub(super) struct Program<'a> {
    /// The package and the program, which have the same name.
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// The folder below the cache's `tools`: one for each way of building it.
    pub(super) folder: String,
    /// What is built and how long it may take, for those who wait.
    pub(super) about: String,
    /// More of `cargo install`.
    pub(super) options: &'a [&'a str],
    pub(super) environment: Vec<(&'a str, OsString)>,
    /// Arguments with which it prints its version, to find out whether it runs.
    pub(super) probe: &'a [&'a str],
}

impl Program<'_> {
    fn place(&self, cache: &Cache) -> PathBuf {
        cache.path("tools").join(&self.folder).join("bin").join(self.name)
    }

    /// Where it is, when it is there and runs.
    pub(super) fn cached(&self, cache: &Cache) -> Option<PathBuf> {
        let program = self.place(cache);
        process::succeeds(Command::new(&program).args(self.probe)).then_some(program)
    }

    /// Builds it.
    pub(super) fn install(&self, cache: &Cache) -> Result<PathBuf> {
        let step = Step::begin(format!("building {}", self.about));
        let mut cargo = Command::new(paths::cargo());
        cargo.args(["install", self.name, "--version", self.version, "--locked", "--force"]);
        cargo.args(self.options).arg("--root").arg(cache.path("tools").join(&self.folder));
        cargo.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            cargo.env_remove(name);
        }
        process::run(&mut cargo, &step)?;
        let Some(program) = self.cached(cache) else {
            bail!("{} was built but does not run: {}", self.name, self.place(cache).display())
        };
        step.done();
        Ok(program)
    }
}
