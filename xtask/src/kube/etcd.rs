//! Etcd, from Debian. The package is unpacked into the cache: installed, it would start a service of the machine's.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::Cache,
    debian::Suite,
    image::{Node, Tree, unpack_package},
    process,
    progress::Step,
};

/// The oldest suite with an etcd that this Kubernetes takes (3.4); its program runs with the C library of all later ones.
const SUITE: &str = "bookworm";

/// The program; fetched when the cache does not have it.
pub(super) fn ready(cache: &Cache) -> Result<PathBuf> {
    let relative = format!("tools/etcd-{SUITE}");
    let program = cache.path(&relative).join("etcd");
    if program.is_file() {
        return Ok(program);
    }
    let _lock = cache.lock()?;
    if program.is_file() {
        return Ok(program);
    }
    let suite = Suite::open(cache, SUITE)?;
    let step = Step::begin(format!("fetching etcd from {suite}"));
    let scratch = tempfile::tempdir().context("cannot make a folder for packages")?;
    let mut tree = Tree::default();
    for deb in suite.download(&["etcd-server"], scratch.path(), &step)? {
        unpack_package(&deb, &mut tree, |path| path.ends_with("/bin/etcd"))?;
    }
    let Some(Node::File(data)) = tree.get("usr/bin/etcd").map(|entry| &entry.node) else {
        bail!("no program etcd in the package etcd-server of {suite}")
    };
    cache.make_folder(&relative, |folder| {
        let path = folder.join("etcd");
        fs::write(&path, data)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        process::text(Command::new(&path).arg("--version"))
            .context("the etcd of the package does not run")?;
        Ok(())
    })?;
    step.done();
    Ok(program)
}
