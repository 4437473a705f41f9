//! One run's initramfs: the cached archives of root and modules, followed by one of what this run adds.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use gatewatch_guest_init::{TASK_PATH, Task};
use tempfile::TempDir;

use crate::{
    build::Built,
    image::{KernelFiles, Tree, Userland, write_cpio},
    paths,
};

/// The name of the initramfs in the folder that [`Initramfs::write`] makes.
pub(super) const FILE: &str = "initramfs";

/// What goes into it.
#[derive(Debug)]
pub(super) struct Initramfs<'a> {
    pub(super) userland: &'a Userland,
    pub(super) kernel: &'a KernelFiles,
    pub(super) built: &'a Built,
    pub(super) share: Option<&'a Path>,
}

impl Initramfs<'_> {
    /// Writes it into a new folder, which goes when it is dropped.
    pub(super) fn write(&self, task: &Task) -> Result<TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("gatewatch-vm-")
            .tempdir()
            .context("cannot create a folder for the VM")?;
        let mut tree = Tree::default();
        tree.copy_in(&self.built.init, "init")?;
        tree.directory("usr/local/bin", 0o755);
        for program in &self.built.programs {
            let name =
                program.file_name().and_then(|name| name.to_str()).context("a program without a name")?;
            tree.copy_in(program, &format!("usr/local/bin/{name}"))?;
        }
        tree.copy_in(&paths::root().join("policies"), "policies")?;
        match self.share {
            Some(share) => tree.copy_in(share, "share")?,
            None => tree.directory("share", 0o755),
        }
        tree.file(TASK_PATH, 0o600, task.encode());
        let path = folder.path().join(FILE);
        let about = || format!("cannot write {}", path.display());
        let mut file = File::create(&path).with_context(about)?;
        for part in [&self.userland.archive, &self.kernel.modules] {
            let mut part = File::open(part).with_context(|| format!("cannot open {}", part.display()))?;
            io::copy(&mut part, &mut file).with_context(about)?;
        }
        let mut file = BufWriter::new(file);
        write_cpio(&tree, &mut file).with_context(about)?;
        file.flush().with_context(about)?;
        Ok(folder)
    }
}

/// Unpacks what the guest's /out held into `folder`. Owners are not kept, modes are.
pub(super) fn unpack_out(archive: &[u8], folder: &Path) -> Result<()> {
    let about = || format!("cannot write what the VM left in /out to {}", folder.display());
    fs::create_dir_all(folder).with_context(about)?;
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_permissions(true);
    archive.unpack(folder).with_context(about)
}
