//! A file tree in memory: what a cpio archive is written from.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, bail};

/// What a name in the tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File(Vec<u8>),
    Symlink(String),
}

/// A node with its owner and its permission bits (set-user-ID and the like among them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Folders that are links into /usr on every Debian since bookworm.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib64"];

/// Entries by path, without the leading `/`. A folder comes before what is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// Puts an entry in place, replacing what was there; folders above it are made, root's and open to all.
    pub(crate) fn put(&mut self, path: &str, entry: Entry) {
        let path = normal(path);
        if path.is_empty() {
            return;
        }
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry {
                node: Node::Directory,
                mode: 0o755,
                uid: 0,
                gid: 0,
            });
        }
        self.entries.insert(path, entry);
    }

    /// A folder of root's.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) {
        self.put(path, Entry { node: Node::Directory, mode, uid: 0, gid: 0 });
    }

    /// A file of root's.
    pub(crate) fn file(&mut self, path: &str, mode: u32, data: impl Into<Vec<u8>>) {
        self.put(path, Entry { node: Node::File(data.into()), mode, uid: 0, gid: 0 });
    }

    /// A symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        self.put(path, Entry { node: Node::Symlink(target.to_owned()), mode: 0o777, uid: 0, gid: 0 });
    }

    /// The entry at a path.
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(&normal(path))
    }

    /// The text of a file in the tree.
    pub(crate) fn text(&self, path: &str) -> Result<&str> {
        match self.get(path).map(|entry| &entry.node) {
            Some(Node::File(data)) => {
                std::str::from_utf8(data).with_context(|| format!("{path} is not text"))
            }
            _ => bail!("no file {path} among the packages"),
        }
    }

    /// Removes `folder` with all that is in it.
    pub(crate) fn remove(&mut self, folder: &str) {
        let folder = normal(folder);
        let inside = format!("{folder}/");
        self.entries.retain(|path, _| *path != folder && !path.starts_with(&inside));
    }

    /// Copies what is at `from` on this machine, a file or a folder, to `to`: modes kept, owned by root.
    pub(crate) fn copy_in(&mut self, from: &Path, to: &str) -> Result<()> {
        let about = || format!("cannot copy {} into the VM", from.display());
        let meta = fs::symlink_metadata(from).with_context(about)?;
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_symlink() {
            let target = fs::read_link(from).with_context(about)?;
            self.symlink(to, &target.to_string_lossy());
        } else if meta.is_dir() {
            self.directory(to, mode);
            for entry in fs::read_dir(from).with_context(about)? {
                let entry = entry.with_context(about)?;
                let name = entry.file_name();
                let name =
                    name.to_str().with_context(|| format!("{} is not UTF-8", entry.path().display()))?;
                self.copy_in(&entry.path(), &format!("{to}/{name}"))?;
            }
        } else if meta.is_file() {
            self.file(to, mode, fs::read(from).with_context(about)?);
        } else {
            bail!("cannot copy {} into the VM: it is neither a file, a folder nor a link", from.display());
        }
        Ok(())
    }

    /// Path and entry, a folder before what is in it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }
}

/// Without `./`, without slashes at the ends, and with `/bin` and its like where they lead to.
fn normal(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path).trim_matches('/');
    if path == "." {
        return String::new();
    }
    match path.split_once('/') {
        Some((first, _)) if MERGED.contains(&first) => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn folders_come_first_and_bin_is_merged() {
        let mut tree = Tree::default();
        tree.file("/bin/sh", 0o755, "x");
        tree.symlink("./bin", "usr/bin");
        tree.directory(".", 0o755);
        assert_eq!(paths(&tree), ["bin", "usr", "usr/bin", "usr/bin/sh"]);
        assert_eq!(tree.text("usr/bin/sh").unwrap(), "x");
        tree.remove("usr/bin");
        assert_eq!(paths(&tree), ["bin", "usr"]);
    }

    #[test]
    fn a_folder_is_copied_with_run_bits_and_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let script = folder.path().join("sub/run");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink("sub/run", folder.path().join("link")).unwrap();
        let mut tree = Tree::default();
        tree.copy_in(folder.path(), "share").unwrap();
        assert_eq!(paths(&tree), ["share", "share/link", "share/sub", "share/sub/run"]);
        assert_eq!(tree.get("share/sub/run").unwrap().mode, 0o750);
        assert_eq!(tree.get("share/link").unwrap().node, Node::Symlink("sub/run".into()));
        assert!(tree.copy_in(Path::new("/nowhere/at/all"), "x").is_err());
    }
}
