//! Writes cpio archives in the "newc" format, the one that the kernel unpacks an initramfs from
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{self, Write};

use super::tree::{Node, Tree};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// The fields of a header that differ between the entries written here.
#[derive(Debug, Default)]
struct Header {
    inode: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    size: u32,
}

/// Writes `tree` as one archive, trailer and all. Archives may follow each other in one file.
pub(crate) fn write(tree: &Tree, out: &mut impl Write) -> io::Result<()> {
    // Inode 0 is not valid; the numbers only have to differ between the entries.
    for (inode, (path, entry)) in (1u32..).zip(tree.iter()) {
        let (kind, data): (u32, &[u8]) = match &entry.node {
            Node::Directory => (S_IFDIR, &[]),
            Node::File(data) => (S_IFREG, data),
            Node::Symlink(target) => (S_IFLNK, target.as_bytes()),
        };
        let size = u32::try_from(data.len()).map_err(|_| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is larger than 4 GiB"))
        })?;
        let links = if kind == S_IFDIR { 2 } else { 1 };
        let header = Header { inode, mode: kind | entry.mode, uid: entry.uid, gid: entry.gid, links, size };
        write_header(&header, path, out)?;
        out.write_all(data)?;
        pad(data.len(), out)?;
    }
    write_header(&Header { links: 1, ..Header::default() }, TRAILER, out)
}

fn write_header(header: &Header, name: &str, out: &mut impl Write) -> io::Result<()> {
    let Header { inode, mode, uid, gid, links, size } = header;
    let name_size = name.len() + 1;
    // Time of change, then the device numbers of the file system and of the file: all 0. The checksum is unused.
    let text = format!(
        "{MAGIC}{inode:08x}{mode:08x}{uid:08x}{gid:08x}{links:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}\
         {name_size:08x}{:08x}",
        0, 0, 0, 0, 0, 0
    );
    out.write_all(text.as_bytes())?;
    out.write_all(name.as_bytes())?;
    out.write_all(&[0])?;
    pad(text.len() + name_size, out)
}

/// Fills up to a multiple of four.
fn pad(length: usize, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 3][..length.next_multiple_of(4) - length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut tree = Tree::default();
        tree.directory("d", 0o1777);
        tree.file("d/su", 0o4755, "abcde");
        tree.symlink("d/to", "su");
        let mut bytes = Vec::new();
        write(&tree, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.len() % 4, 0);
        let header = |inode: u32, mode: u32, links: u32, size: u32, name: &str| {
            let zeros = "0".repeat(8);
            let size = format!("{size:08x}");
            let head = format!("070701{inode:08x}{mode:08x}{zeros}{zeros}{links:08x}{zeros}{size}");
            let tail = format!("{zeros}{zeros}{zeros}{zeros}{:08x}{zeros}{name}\0", name.len() + 1);
            let mut whole = head + &tail;
            whole += &"\0".repeat(whole.len().next_multiple_of(4) - whole.len());
            whole
        };
        let expected = [
            header(1, 0o041_777, 2, 0, "d"),
            header(2, 0o104_755, 1, 5, "d/su"),
            "abcde\0\0\0".to_owned(),
            header(3, 0o120_777, 1, 2, "d/to"),
            "su\0\0".to_owned(),
            header(0, 0, 1, 0, "TRAILER!!!"),
        ];
        assert_eq!(text, expected.concat());
    }
}
