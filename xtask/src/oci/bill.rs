//! The bill of materials of an image, by cargo-cyclonedx: `CycloneDX`, as JSON. The same sources give the same bytes on every
//! machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    build::{EBPF_TARGET, GUEST_TARGET},
    cache::Cache,
    paths, process, setup,
};

/// The package with the BPF programs, which is the only one of its workspace.
const BPF_PACKAGE: &str = "gatewatch-ebpf";

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bill {
    /// The name of its file.
    pub(crate) file: String,
    pub(crate) text: String,
}

/// The documents for a program: its own, and that of the BPF programs if it contains them.
pub(crate) fn bills(cache: &Cache, program: &str, has_bpf_programs: bool) -> Result<Vec<Bill>> {
    let tool = setup::cargo_cyclonedx(cache)?;
    let mut found = vec![bill(&tool, &paths::root().join(paths::MANIFESTS[0]), program, GUEST_TARGET)?];
    if has_bpf_programs {
        found.push(bill(&tool, &paths::root().join(paths::MANIFESTS[1]), BPF_PACKAGE, EBPF_TARGET)?);
    }
    Ok(found)
}

fn bill(tool: &Path, manifest: &Path, package: &str, target: &str) -> Result<Bill> {
    let members = members(manifest)?;
    // The tool writes a document for each member of the workspace, beside its manifest.
    let name = format!("{package}.cdx");
    let written = Written(members.iter().map(|(_, folder)| folder.join(format!("{name}.json"))).collect());
    let mut command = Command::new(tool);
    command.args([
        "cyclonedx",
        "--quiet",
        "--format",
        "json",
        "--target",
        target,
        "--override-filename",
        &name,
    ]);
    // With a date that is given, the document has no random serial number.
    command.arg("--manifest-path").arg(manifest).env("SOURCE_DATE_EPOCH", "0").env("CARGO", paths::cargo());
    process::text(&mut command)?;
    let (_, folder) = members
        .iter()
        .find(|(member, _)| member == package)
        .with_context(|| format!("the workspace has no package {package}"))?;
    let path = folder.join(format!("{name}.json"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    drop(written);
    // Packages of ours are identified by their path, which is another one on every machine.
    let text = text.replace(&format!("file://{}", paths::root().display()), "file:///gatewatch");
    Ok(Bill { file: format!("{name}.json"), text })
}

/// Files that are removed when this is dropped.
struct Written(Vec<PathBuf>);

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            // A document that the tool did not write is none to remove.
            let _ = fs::remove_file(path);
        }
    }
}

/// Name and folder of a workspace's packages.
fn members(manifest: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = Command::new(paths::cargo());
    cargo
        .args(["metadata", "--no-deps", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(manifest);
    let metadata: serde_json::Value = serde_json::from_str(&process::text(&mut cargo)?)
        .context("the output of cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages
        .filter_map(|package| {
            let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
            Some((package["name"].as_str()?.to_owned(), folder.to_owned()))
        })
        .collect())
}
