//! What the node needs of Debian besides the VMs' usual programs: a container runtime, `nft` for kube-proxy, CNI plugins.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use crate::{
    cache::Cache,
    debian::Suite,
    image::{ABSENT, Node, STRIPPED, Tree, USERLAND_SUITE, recipe, unpack_package, write_cpio},
    progress::Step,
};

/// crun starts a container in a tenth of the time that runc takes on an emulated CPU.
const PACKAGES: &[&str] = &["crun", "nftables"];

/// The CNI plugins that `guest/cni.conflist` names, and what containerd needs for every pod.
const PLUGINS: &[&str] = &["bridge", "host-local", "loopback"];
const PLUGINS_FOLDER: &str = "usr/lib/cni";

/// A cpio archive of the packages and what they depend on; made when the cache does not have it.
pub(super) fn ready(cache: &Cache) -> Result<PathBuf> {
    let relative = format!("cluster/userland-{}", recipe(&[include_str!("userland.rs")]));
    let archive = cache.path(&relative).join("node.cpio");
    if archive.is_file() {
        return Ok(archive);
    }
    let _lock = cache.lock()?;
    if archive.is_file() {
        return Ok(archive);
    }
    let suite = Suite::open(cache, USERLAND_SUITE)?;
    let step = Step::begin(format!("fetching the node's programs from {suite}"));
    let scratch = tempfile::tempdir().context("cannot create a folder for packages")?;
    let mut tree = Tree::default();
    for deb in suite.download_closure(PACKAGES, ABSENT, scratch.path(), &step)? {
        unpack_package(&deb, &mut tree, |_| true)?;
    }
    for folder in STRIPPED {
        tree.remove(folder);
    }
    cache.make_folder(&relative, |folder| {
        let mut file = BufWriter::new(File::create(folder.join("node.cpio"))?);
        write_cpio(&tree, &mut file)?;
        file.flush()?;
        Ok(())
    })?;
    step.done();
    Ok(archive)
}

/// The CNI plugins, as files.
pub(super) fn cni_plugins(cache: &Cache) -> Result<Vec<PathBuf>> {
    let relative = format!("cluster/cni-{}", recipe(&[include_str!("userland.rs")]));
    let folder = cache.path(&relative);
    let plugins: Vec<PathBuf> = PLUGINS.iter().map(|name| folder.join(name)).collect();
    if folder.is_dir() {
        return Ok(plugins);
    }
    let _lock = cache.lock()?;
    let suite = Suite::open(cache, USERLAND_SUITE)?;
    let step = Step::begin(format!("fetching CNI plugins from {suite}"));
    let scratch = tempfile::tempdir().context("cannot create a folder for packages")?;
    let mut tree = Tree::default();
    for deb in suite.download(&["containernetworking-plugins"], scratch.path(), &step)? {
        unpack_package(&deb, &mut tree, |path| path.contains(PLUGINS_FOLDER))?;
    }
    cache.make_folder(&relative, |folder| {
        for name in PLUGINS {
            let entry = tree.get(&format!("{PLUGINS_FOLDER}/{name}")).map(|entry| &entry.node);
            let Some(Node::File(data)) = entry else {
                anyhow::bail!("no CNI plugin {name} in {suite}'s package")
            };
            fs::write(folder.join(name), data)?;
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    })?;
    step.done();
    Ok(plugins)
}
