//! Programs from Cargo's registry that check dependencies and list them.

use std::path::PathBuf;

use anyhow::Result;

use super::crates::Program;
use crate::cache::Cache;

/// The cached cargo-deny; built when it is not there.
pub(crate) fn cargo_deny(cache: &Cache) -> Result<PathBuf> {
    ready(cache, "cargo-deny", "0.20.2", &["--version"])
}

/// The cached cargo-cyclonedx; built when it is not there.
pub(crate) fn cargo_cyclonedx(cache: &Cache) -> Result<PathBuf> {
    ready(cache, "cargo-cyclonedx", "0.5.9", &["cyclonedx", "--version"])
}

/// They have little to do, so they are not optimised, which takes longer.
fn ready(cache: &Cache, name: &str, version: &str, probe: &[&str]) -> Result<PathBuf> {
    let _lock = cache.lock()?;
    let program = Program {
        name,
        version,
        folder: format!("{name}-{version}"),
        about: format!("{name} {version} (one to three minutes)"),
        options: &["--debug"],
        probe,
        environment: vec![("CARGO_PROFILE_DEV_DEBUG", "false".into())],
    };
    if let Some(cached) = program.cached(cache) { Ok(cached) } else { program.install(cache) }
}
