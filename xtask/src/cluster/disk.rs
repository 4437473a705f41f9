//! The node's disk: what it runs, its images and its settings, on a new file system for each start of the cluster.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{app::App, pki::Credentials, programs::NODE_PROGRAMS, userland};
use crate::{build::Built, cache::Cache, kube::Programs, oci::Image, process};

/// The size of the file system. The file has holes: it takes what is written to it.
const SIZE: &str = "8G";

/// The node's settings, in `/node/etc`.
const SETTINGS: &[(&str, &str)] = &[
    ("cni.conflist", include_str!("guest/cni.conflist")),
    ("containerd.toml", include_str!("guest/containerd.toml")),
    ("kube-proxy.yaml", include_str!("guest/kube-proxy.yaml")),
    ("kubelet.yaml", include_str!("guest/kubelet.yaml")),
    ("seccomp.json", include_str!("../../../charts/gatewatch/seccomp/agent.json")),
];

/// What goes onto the disk.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) programs: &'a Programs,
    pub(super) built: &'a Built,
    pub(super) app: &'a App,
    pub(super) images: &'a [Image],
    pub(super) credentials: Credentials,
}

impl Contents<'_> {
    /// Writes the disk into `folder`.
    pub(super) fn write(&self, cache: &Cache, folder: &Path) -> Result<PathBuf> {
        let stage = tempfile::Builder::new()
            .prefix("disk-")
            .tempdir_in(folder)
            .context("cannot create a folder for the disk's files")?;
        let stage = stage.path();
        for name in ["bin", "cni", "etc", "images", "pki"] {
            fs::create_dir(stage.join(name)).context("cannot create a folder for the disk's files")?;
        }
        let plugins = userland::cni_plugins(cache)?;
        let node_programs = NODE_PROGRAMS.iter().map(|program| self.programs.path(*program));
        let proxy = self.built.program("gatewatch-egress-proxy")?.to_owned();
        for program in node_programs.chain([proxy]) {
            add(&program, &stage.join("bin"))?;
        }
        for plugin in &plugins {
            add(plugin, &stage.join("cni"))?;
        }
        for (name, text) in SETTINGS {
            fs::write(stage.join("etc").join(name), text).context("cannot write the node's settings")?;
        }
        for (name, path) in &self.credentials {
            fs::copy(path, stage.join("pki").join(name)).context("cannot copy the node's keys")?;
        }
        self.app.add_images(self.built, &stage.join("images"))?;
        for image in self.images {
            let name = image.reference.replace(['/', ':'], "-");
            image.write_file(&stage.join("images").join(format!("{name}.tar")))?;
        }
        let disk = folder.join("node.disk");
        if disk.exists() {
            fs::remove_file(&disk).with_context(|| format!("cannot remove {}", disk.display()))?;
        }
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.env("PATH", crate::setup::path_with(&[Path::new("/usr/sbin"), Path::new("/sbin")])?);
        mkfs.args(["-q", "-E", "root_owner=0:0,lazy_itable_init=1", "-d"]).arg(stage).arg(&disk).arg(SIZE);
        process::text(&mut mkfs).context("cannot create the node's disk")?;
        Ok(disk)
    }
}

/// Puts a program into a folder: as a link to the same file, where that can be.
fn add(program: &Path, folder: &Path) -> Result<()> {
    let about = || format!("cannot copy {}", program.display());
    let to = folder.join(program.file_name().with_context(about)?);
    if fs::hard_link(program, &to).is_err() {
        fs::copy(program, &to).with_context(about)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).with_context(about)?;
    }
    Ok(())
}
