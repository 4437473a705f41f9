//! The suite `tidy`: what holds for the sources and no other tool checks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Context, counts::Counts, modules, style};
use crate::{paths, process};

/// Folders with nothing of ours in them.
const SKIPPED: &[&str] = &[".git", "target"];

pub(super) fn run(_: &Context) -> Result<Counts> {
    let root = paths::root();
    let mut files = Vec::new();
    collect(root, &mut files)?;
    let (mut style_faults, mut manifest_faults) = (Vec::new(), Vec::new());
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).display().to_string();
        // What is not text, such as stored BTF, has no lines.
        let Ok(text) = String::from_utf8(fs::read(file).with_context(|| format!("cannot read {name}"))?)
        else {
            continue;
        };
        if !name.ends_with("Cargo.lock") && name != "LICENSE" {
            style_faults.extend(style::faults(&name, &text));
        }
        // The workspace itself, and ebpf/, which cannot be a member of it, have no one to inherit from.
        if name.ends_with("/Cargo.toml") && !name.starts_with("ebpf/") {
            manifest_faults.extend(style::manifest_faults(&name, &text));
        }
    }
    let unreached = unreached(root, &files)?;
    Ok(verdict("files are short, plain and whole", &style_faults)
        .and(verdict("every source file is a part of a crate", &unreached))
        .and(verdict("manifests inherit from the workspace", &manifest_faults)))
}

/// One test, with its faults printed.
fn verdict(name: &str, faults: &[String]) -> Counts {
    for fault in faults {
        println!("{fault}");
    }
    println!("test {name} ... {}", if faults.is_empty() { "ok" } else { "FAILED" });
    Counts::one(name, faults.is_empty())
}

/// The source files that no crate compiles.
fn unreached(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut roots = Vec::new();
    for manifest in paths::MANIFESTS {
        roots.extend(crate_roots(&root.join(manifest))?);
    }
    let reached = modules::reachable(&roots)?;
    let sources = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    Ok(sources
        .filter(|file| !reached.contains(*file))
        .map(|file| {
            format!("{}: no crate compiles this file", file.strip_prefix(root).unwrap_or(file).display())
        })
        .collect())
}

/// The root files of all targets (libraries, programs, tests, benches, build scripts) of a manifest's packages.
fn crate_roots(manifest: &Path) -> Result<Vec<PathBuf>> {
    let mut cargo = Command::new(paths::cargo());
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let metadata: serde_json::Value =
        serde_json::from_str(&process::text(&mut cargo)?).context("cargo metadata wrote what is not JSON")?;
    let list = |value: &serde_json::Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    Ok(list(&metadata, "packages")
        .iter()
        .flat_map(|package| list(package, "targets"))
        .filter_map(|target| target["src_path"].as_str().map(PathBuf::from))
        .collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let about = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(about)? {
        let entry = entry.with_context(about)?;
        let kind = entry.file_type().with_context(about)?;
        // In a second work tree of git, `.git` is a file.
        if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(())
}
