//! Debian's cloud kernels, of four suites: the oldest that Gatewatch supports, the newest, and two long-term ones.

use std::{
    fmt,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::{
    cpio, modules, package, recipe,
    tree::{Node, Tree},
};
use crate::{cache::Cache, debian::Suite, progress::Step};

/// A kernel that VMs boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    #[value(name = "5.10")]
    V5_10,
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    #[value(name = "7.3")]
    V7_3,
}

impl Kernel {
    const fn series(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_3 => "7.3",
        }
    }

    const fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::V7_3 => "trixie-backports",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.series())
    }
}

/// A kernel in the cache.
#[derive(Debug, Clone)]
pub(crate) struct KernelFiles {
    /// What the VM boots.
    pub(crate) image: PathBuf,
    /// A cpio archive of some of its modules, uncompressed, under /usr/lib/modules.
    pub(crate) modules: PathBuf,
}

/// The files of `kernel`; fetched when the cache does not have them.
pub(crate) fn files(kernel: Kernel, cache: &Cache) -> Result<KernelFiles> {
    let made_by = recipe(&[include_str!("kernel.rs"), include_str!("modules.rs"), include_str!("cpio.rs")]);
    let relative = format!("kernels/{kernel}-{made_by}");
    let folder = cache.path(&relative);
    let files = KernelFiles { image: folder.join("vmlinuz"), modules: folder.join("modules.cpio") };
    if files.image.is_file() {
        return Ok(files);
    }
    let _lock = cache.lock()?;
    if files.image.is_file() {
        return Ok(files);
    }
    let tree = packaged(kernel, cache)?;
    let image = tree.iter().find_map(|(path, entry)| match &entry.node {
        Node::File(data) if path.contains("/vmlinuz") => Some(data.clone()),
        _ => None,
    });
    let image = image.with_context(|| format!("no vmlinuz in the packages of kernel {kernel}"))?;
    let modules = modules::choose(&tree)?;
    cache.make_folder(&relative, |folder| {
        fs::write(folder.join("vmlinuz"), image)?;
        let mut archive = BufWriter::new(File::create(folder.join("modules.cpio"))?);
        cpio::write(&modules, &mut archive)?;
        archive.flush()?;
        Ok(())
    })?;
    Ok(files)
}

/// Where a node's modules are in its initramfs, in the order in which they are loaded.
pub(crate) const NODE_MODULES: &str = "etc/node/modules";

/// A cpio archive of the modules that a cluster's node needs; made when the cache does not have it.
pub(crate) fn node_modules(kernel: Kernel, cache: &Cache) -> Result<PathBuf> {
    let made_by = recipe(&[include_str!("kernel.rs"), include_str!("modules.rs"), include_str!("cpio.rs")]);
    let relative = format!("kernels/{kernel}-node-{made_by}");
    let archive = cache.path(&relative).join("modules.cpio");
    if archive.is_file() {
        return Ok(archive);
    }
    let _lock = cache.lock()?;
    if archive.is_file() {
        return Ok(archive);
    }
    let (mut modules, order) = modules::choose_in_order(&packaged(kernel, cache)?, modules::WANTED_BY_NODES)?;
    modules.file(NODE_MODULES, 0o644, order.iter().fold(String::new(), |list, path| list + path + "\n"));
    cache.make_folder(&relative, |folder| {
        let mut archive = BufWriter::new(File::create(folder.join("modules.cpio"))?);
        cpio::write(&modules, &mut archive)?;
        archive.flush()?;
        Ok(())
    })?;
    Ok(archive)
}

/// Kernel and modules of a kernel's packages. The cache is locked by the caller.
fn packaged(kernel: Kernel, cache: &Cache) -> Result<Tree> {
    let suite = Suite::open(cache, kernel.suite())?;
    let packages = packages(kernel, &suite)?;
    let step = Step::begin(format!("fetching kernel {} from {suite}", packages.join(" and ")));
    let scratch = tempfile::tempdir().context("cannot create a folder for packages")?;
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    let mut tree = Tree::default();
    for deb in suite.download(&names, scratch.path(), &step)? {
        step.note(&format!("reading {}", deb.display()));
        package::unpack(&deb, &mut tree, |path| path.contains("/vmlinuz") || modules::is_module(path))?;
    }
    step.done();
    Ok(tree)
}

/// The packages that hold vmlinuz and modules: one, or two since Debian split them (7.2).
fn packages(kernel: Kernel, suite: &Suite) -> Result<Vec<String>> {
    const SUFFIX: &str = "-cloud-amd64";
    if let Some(image) = suite.newest(&format!("linux-binary-{kernel}."), SUFFIX)? {
        let modules = image.replacen("linux-binary-", "linux-modules-", 1);
        return Ok(vec![image, modules]);
    }
    match suite.newest(&format!("linux-image-{kernel}."), SUFFIX)? {
        Some(image) => Ok(vec![image]),
        None => bail!("{suite} has no cloud kernel {kernel} for amd64 any more; `--kernel` has others"),
    }
}
