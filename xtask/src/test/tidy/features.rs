//! Cargo selects the features of a dependency by the packages that it is asked for. Where two selections differ, the
//! dependency, and all that needs it, is built twice.

use std::{collections::BTreeSet, process::Command};

use anyhow::Result;

use crate::{build, paths, process};

/// The dependencies that `cargo xtask`, or the programs of VMs and images, select other features of than the whole
/// workspace does.
pub(super) fn differences() -> Result<Vec<String>> {
    let workspace = selected(&["--workspace"], "normal,build,dev")?;
    let programs: Vec<&str> = build::packages().flat_map(|package| ["--package", package]).collect();
    let mut faults = Vec::new();
    for (what, packages) in [("cargo xtask", &["--package", "xtask"][..]), ("cargo xtask build", &programs)] {
        let others = selected(packages, "normal,build")?;
        faults.extend(others.difference(&workspace).map(|dependency| {
            format!(
                "Cargo.toml: `{what}` selects other features than the workspace: {dependency}; name them in \
                 [workspace.dependencies]"
            )
        }));
    }
    Ok(faults)
}

/// Name, version and features of all dependencies from a registry.
fn selected(packages: &[&str], edges: &str) -> Result<BTreeSet<String>> {
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root()).args([
        "tree",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p} [{f}]",
    ]);
    let tree = process::text(cargo.args(["--edges", edges]).args(packages))?;
    // Ours are those with a path.
    let root = paths::root().display().to_string();
    Ok(tree
        .lines()
        .filter(|line| !line.contains(&root))
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect())
}
