//! The VM's programs: Debian's own, with the libraries they need, so that a binary is at the path it has on a node.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use super::{accounts, cpio, package, recipe, tree::Tree};
use crate::{cache::Cache, debian::Suite, progress::Step};

pub(crate) const SUITE: &str = "trixie";

/// The programs. What they depend on comes with them.
const PACKAGES: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "coreutils",
    "curl",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "hostname",
    "iproute2",
    "kmod",
    "libc-bin",
    "libpam-modules",
    "libpam-modules-bin",
    "libpam-runtime",
    "login",
    "mawk",
    "mount",
    "passwd",
    "procps",
    "sed",
    "sudo",
    "super",
    "tar",
    "util-linux",
];

/// Needed only to install packages, which no test does in the VM.
pub(crate) const ABSENT: &[&str] = &["debconf", "dpkg", "install-info", "perl-base"];

/// Nothing in the VM reads these, and every megabyte is a part of its boot.
pub(crate) const STRIPPED: &[&str] = &[
    "usr/include",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/share/apport",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/common-licenses",
    "usr/share/dict",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/fish",
    "usr/share/gcc",
    "usr/share/gdb",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/initramfs-tools",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/zoneinfo",
    "usr/share/zsh",
];

/// Names that the alternatives system would have made.
const ALTERNATIVES: &[(&str, &str)] =
    &[("usr/bin/awk", "mawk"), ("usr/bin/nawk", "mawk"), ("usr/bin/which", "which.debianutils")];

/// The root of the VM as a cpio archive in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Userland {
    pub(crate) archive: PathBuf,
}

impl Userland {
    /// Makes the archive unless the cache has it.
    pub(crate) fn ready(cache: &Cache) -> Result<Self> {
        let made_by = recipe(&[
            include_str!("userland.rs"),
            include_str!("accounts.rs"),
            include_str!("package.rs"),
            include_str!("tree.rs"),
            include_str!("cpio.rs"),
        ]);
        let folder = cache.path(format!("userland/{made_by}"));
        let archive = folder.join("root.cpio");
        if archive.is_file() {
            return Ok(Self { archive });
        }
        let _lock = cache.lock()?;
        if archive.is_file() {
            return Ok(Self { archive });
        }
        let suite = Suite::open(cache, SUITE)?;
        let step = Step::begin(format!("making the VM's root of {suite}'s programs"));
        let debs = cache.path("debs");
        fs::create_dir_all(&debs).with_context(|| format!("cannot create {}", debs.display()))?;
        let fetched = tempfile::tempdir_in(&debs).context("cannot create a folder for packages")?;
        let packages = suite.download_closure(PACKAGES, ABSENT, fetched.path(), &step)?;
        let mut tree = Tree::default();
        for deb in &packages {
            step.note(&deb.display().to_string());
            package::unpack(deb, &mut tree, |_| true)?;
        }
        for folder in STRIPPED {
            tree.remove(folder);
        }
        for (link, target) in ALTERNATIVES {
            tree.symlink(link, target);
        }
        accounts::add(&mut tree)?;
        for (folder, mode) in [("out", 0o755), ("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)] {
            tree.directory(folder, mode);
        }
        cache.make_folder(format!("userland/{made_by}"), |folder| {
            let path = folder.join("root.cpio");
            let mut file = BufWriter::new(File::create(&path)?);
            cpio::write(&tree, &mut file)?;
            file.flush().with_context(|| format!("cannot write {}", path.display()))
        })?;
        step.done();
        Ok(Self { archive })
    }
}
