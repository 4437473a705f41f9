//! What our programs are made of: the packages in Cargo's lock files, by `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{paths, process};

/// All packages of a workspace, and who needs whom.
#[derive(Debug)]
pub(crate) struct Dependencies {
    packages: BTreeMap<String, Package>,
    needs: BTreeMap<String, Vec<String>>,
}

/// A package, as its manifest has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression; in old manifests with a slash for OR.
    pub(crate) license: Option<String>,
    /// `registry+URL`; `None` for ours.
    pub(crate) source: Option<String>,
    pub(crate) repository: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `dev` or `build`; `None` for what is linked in.
    kind: Option<String>,
}

impl Dependencies {
    /// Those of the workspace that this manifest is the root of, for the target that we ship.
    pub(crate) fn of(manifest: &Path, target: &str) -> Result<Self> {
        let mut cargo = Command::new(paths::cargo());
        cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", target]);
        cargo.arg("--manifest-path").arg(manifest);
        let metadata: Metadata = serde_json::from_str(&process::text(&mut cargo)?)
            .context("cargo metadata wrote what can't be read")?;
        let linked = |dependency: &Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        Ok(Self {
            packages: metadata.packages.into_iter().map(|package| (package.id.clone(), package)).collect(),
            needs: metadata
                .resolve
                .nodes
                .into_iter()
                .map(|node| {
                    let needs = node.deps.into_iter().filter(linked).map(|dependency| dependency.pkg);
                    (node.id, needs.collect())
                })
                .collect(),
        })
    }

    /// The package of this name of ours, and what is linked into it: itself first.
    pub(crate) fn linked_into(&self, name: &str) -> Result<Vec<&Package>> {
        let ours = |package: &&Package| package.name == name && package.source.is_none();
        let root =
            self.packages.values().find(ours).with_context(|| format!("there is no package {name}"))?;
        let mut found = vec![root];
        let mut seen = BTreeSet::from([root.id.as_str()]);
        let mut next = 0;
        while let Some(package) = found.get(next) {
            next += 1;
            for id in self.needs.get(&package.id).into_iter().flatten() {
                if seen.insert(id)
                    && let Some(package) = self.packages.get(id)
                {
                    found.push(package);
                }
            }
        }
        Ok(found)
    }

    /// The ids of what a package links, by name and version.
    pub(crate) fn needs(&self, package: &Package) -> impl Iterator<Item = &Package> {
        self.needs.get(&package.id).into_iter().flatten().filter_map(|id| self.packages.get(id))
    }
}
