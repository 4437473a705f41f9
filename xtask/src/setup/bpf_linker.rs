//! bpf-linker, built against the LLVM that this rustc's bitcode is of.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::crates::Program;
use crate::{cache::Cache, process};

const VERSION: &str = "0.13.0";

/// The major version of LLVM that rustc 1.95 is built with.
const LLVM: &str = "22";

/// Where Debian's packages put that LLVM.
pub(crate) const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// The cached bpf-linker; built when it is not there.
pub(crate) fn install_missing(cache: &Cache) -> Result<PathBuf> {
    let features = format!("llvm-{LLVM}");
    let program = Program {
        name: "bpf-linker",
        version: VERSION,
        folder: format!("bpf-linker-{VERSION}-llvm-{LLVM}"),
        about: format!("bpf-linker {VERSION} with LLVM {LLVM} (one to three minutes)"),
        options: &["--no-default-features", "--features", &features],
        probe: &["--version"],
        environment: vec![
            ("LLVM_PREFIX", LLVM_PREFIX.into()),
            ("PATH", path_with(&[&Path::new(LLVM_PREFIX).join("bin")])?),
        ],
    };
    if let Some(cached) = program.cached(cache) {
        return Ok(cached);
    }
    check_llvm()?;
    program.install(cache)
}

/// `PATH` with these folders first.
pub(crate) fn path_with(first: &[&Path]) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = first.iter().map(|folder| folder.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(folders).context("a folder in PATH has a colon in its name")
}

/// A bpf-linker with another LLVM than rustc's cannot read what rustc writes.
fn check_llvm() -> Result<()> {
    let said = process::text(Command::new("rustc").arg("-vV"))?;
    let version = said.lines().find_map(|line| line.strip_prefix("LLVM version: ")).unwrap_or("unknown");
    if version.split('.').next() != Some(LLVM) {
        bail!("rustc uses LLVM {version}, expected {LLVM} for linking the BPF programs: use Rust 1.95");
    }
    Ok(())
}
