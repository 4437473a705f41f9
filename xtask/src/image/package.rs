//! Reads what is in Debian packages, without unpacking them to disk: owners and set-user-ID bits are kept, and no root
//! is needed to keep them.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use tar::EntryType;

use super::tree::{Entry, Node, Tree};

/// Puts the files of the package at `deb` into `tree`, where `keep` says so of their path (`./usr/…`).
pub(crate) fn unpack(deb: &Path, tree: &mut Tree, keep: impl Fn(&str) -> bool) -> Result<()> {
    let about = || format!("cannot read the package {}", deb.display());
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let pipe = child.stdout.take().with_context(about)?;
    let mut archive = tar::Archive::new(pipe);
    for file in archive.entries().with_context(about)? {
        let mut file = file.with_context(about)?;
        let path = file.path().with_context(about)?.to_str().with_context(about)?.to_owned();
        if !keep(&path) {
            continue;
        }
        let kind = file.header().entry_type();
        let node = match kind {
            EntryType::Directory => Node::Directory,
            EntryType::Symlink => Node::Symlink(link_target(&file).with_context(about)?),
            EntryType::Regular | EntryType::Continuous => {
                let mut data = Vec::new();
                file.read_to_end(&mut data).with_context(about)?;
                Node::File(data)
            }
            // A second name of a file before it in the archive becomes a file of its own.
            EntryType::Link => {
                let target = link_target(&file).with_context(about)?;
                tree.get(&target).map(|entry| entry.node.clone()).with_context(about)?
            }
            other => bail!("{}: {path} is of a kind that packages do not have: {other:?}", deb.display()),
        };
        let header = file.header();
        // An owner is a number of at most seven octal digits in this format.
        let (uid, gid) = (u32::try_from(header.uid()?)?, u32::try_from(header.gid()?)?);
        tree.put(&path, Entry { node, mode: header.mode()? & 0o7777, uid, gid });
    }
    let status = child.wait().with_context(about)?;
    if !status.success() {
        bail!("{}: dpkg-deb {}", about(), crate::process::ending(status));
    }
    Ok(())
}

fn link_target(file: &tar::Entry<'_, impl std::io::Read>) -> Option<String> {
    Some(file.link_name().ok()??.to_str()?.to_owned())
}
