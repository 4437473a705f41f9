//! What the node boots: the root of every VM, and the node's programs, modules and start on top.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use gatewatch_guest_init::{TASK_PATH, Task};

use super::{names, userland};
use crate::{
    build::Built,
    cache::Cache,
    image::{self, Kernel, Tree, Userland, write_cpio},
};

/// The kernel of the node.
const KERNEL: Kernel = Kernel::V6_12;

const START: &str = "etc/node/start.sh";

/// A kernel and the root that it starts with.
#[derive(Debug)]
pub(super) struct Initramfs {
    pub(super) kernel: PathBuf,
    pub(super) archive: PathBuf,
}

/// Writes it into `folder`.
pub(super) fn write(cache: &Cache, built: &Built, folder: &Path) -> Result<Initramfs> {
    let kernel = image::kernel_files(KERNEL, cache)?;
    let parts =
        [Userland::ready(cache)?.archive, userland::ready(cache)?, image::node_modules(KERNEL, cache)?];
    let task = Task {
        argv: vec!["/bin/sh".into(), format!("/{START}")],
        env: vec![("NODE_NAME".into(), names::NAME.into())],
        collect: false,
    };
    let mut tree = Tree::default();
    tree.copy_in(&built.init, "init")?;
    tree.file(START, 0o755, include_str!("guest/start.sh"));
    tree.file("etc/node/run.sh", 0o755, include_str!("guest/run.sh"));
    tree.file(TASK_PATH, 0o600, task.encode());
    let archive = folder.join("initramfs");
    let about = || format!("cannot write {}", archive.display());
    let mut file = File::create(&archive).with_context(about)?;
    for part in &parts {
        let mut part = File::open(part).with_context(|| format!("cannot open {}", part.display()))?;
        io::copy(&mut part, &mut file).with_context(about)?;
    }
    let mut file = BufWriter::new(file);
    write_cpio(&tree, &mut file).with_context(about)?;
    file.flush().with_context(about)?;
    Ok(Initramfs { kernel: kernel.image, archive })
}
