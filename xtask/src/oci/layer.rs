//! A file tree as the layer of an image: a tar archive that says nothing of when and by whom it was made.

use std::io::{self, Write};

use tar::{Builder, EntryType, Header};

use crate::image::{Node, Tree};

/// Writes `tree` as a tar archive. Equal trees give equal bytes.
pub(super) fn write(tree: &Tree, out: impl Write) -> io::Result<()> {
    let mut archive = Builder::new(out);
    for (path, entry) in tree.iter() {
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mtime(0);
        header.set_size(0);
        match &entry.node {
            Node::Directory => {
                header.set_entry_type(EntryType::Directory);
                archive.append_data(&mut header, format!("{path}/"), io::empty())?;
            }
            Node::File(data) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(data.len() as u64);
                archive.append_data(&mut header, path, data.as_slice())?;
            }
            Node::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    archive.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_layer_holds_the_tree_and_no_time() {
        let mut tree = Tree::default();
        tree.file("bin/run", 0o755, "x");
        tree.symlink("to", "usr/bin/run");
        let write = || {
            let mut bytes = Vec::new();
            write(&tree, &mut bytes).unwrap();
            bytes
        };
        let bytes = write();
        assert_eq!(bytes, write());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
            let mode = entry.header().mode().unwrap();
            found.push((entry.path().unwrap().display().to_string(), mode, text));
        }
        let entry = |path: &str, mode, text: &str| (path.to_owned(), mode, text.to_owned());
        assert_eq!(
            found,
            [
                entry("to", 0o777, ""),
                entry("usr/", 0o755, ""),
                entry("usr/bin/", 0o755, ""),
                entry("usr/bin/run", 0o755, "x"),
            ]
        );
    }
}
