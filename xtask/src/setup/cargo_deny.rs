//! cargo-deny, which looks at what we depend on.

use std::path::PathBuf;

use anyhow::Result;

use super::crates::Program;
use crate::cache::Cache;

const VERSION: &str = "0.20.2";

/// The cached cargo-deny; built when it is not there. It has little to do, so it isn't optimised, which takes longer.
pub(crate) fn install_missing(cache: &Cache) -> Result<PathBuf> {
    let _lock = cache.lock()?;
    let program = Program {
        name: "cargo-deny",
        version: VERSION,
        folder: format!("cargo-deny-{VERSION}"),
        about: format!("cargo-deny {VERSION} (one to three minutes)"),
        options: &["--debug"],
        environment: vec![("CARGO_PROFILE_DEV_DEBUG", "false".into())],
    };
    if let Some(cached) = program.cached(cache) { Ok(cached) } else { program.install(cache) }
}
