//! The cgroup hierarchy of a running system: where it is mounted, and which cgroups there are.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

/// Every cgroup below a mount of the cgroup v2 file system: its id and its path from there, the root (`/`) first
/// and each one before those in it.
///
/// The id is what `bpf_get_current_cgroup_id()` gives: the inode number of the directory (`cgroup_id()` in
/// `include/linux/cgroup.h` is its kernfs id, which is the inode number where that has 64 bits). Cgroups that go
/// away meanwhile are left out; an error is the root's.
pub fn walk(root: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut found = vec![(fs::metadata(root)?.ino(), "/".to_owned())];
    let mut open = vec![String::new()];
    // Fails on the root itself only.
    fs::read_dir(root)?;
    while let Some(parent) = open.pop() {
        let Ok(entries) = fs::read_dir(root.join(parent.trim_start_matches('/'))) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = format!("{parent}/{}", entry.file_name().to_string_lossy());
                found.push((entry.ino(), path.clone()));
                open.push(path);
            }
        }
    }
    Ok(found)
}

/// Where the cgroup v2 hierarchy is mounted, from the text of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
///
/// A system can have several mounts of it, and a container sees a mount whose root is its own cgroup. One that
/// shows the whole hierarchy is better than one that shows a part, then the one that was mounted last, which
/// hides earlier ones at the same place.
pub fn find_cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    let mut best: Option<(bool, &str)> = None;
    for line in mountinfo.lines() {
        let Some((mount, source)) = line.split_once(" - ") else { continue };
        let mut fields = mount.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
        if source.split(' ').next() != Some("cgroup2") {
            continue;
        }
        let whole = root == "/";
        if best.is_none_or(|(best, _)| whole >= best) {
            best = Some((whole, point));
        }
    }
    best.map(|(_, point)| unescape(point))
}

/// The kernel writes space, tab, newline and backslash of a path as three octal digits (`mangle()` in
/// `fs/proc_namespace.c`).
fn unescape(field: &str) -> PathBuf {
    let mut rest = field.as_bytes();
    let mut path = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_the_whole_hierarchy() {
        let unified = "25 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let part = "\
90 80 0:30 /kubepods/podx/1 /sys/fs/cgroup ro - cgroup2 cgroup rw
91 80 0:30 / /host/sys/fs/cgroup\\040v2 rw master:3 - cgroup2 cgroup rw
92 80 0:30 /other /mnt rw - cgroup2 cgroup rw
";
        for (text, want) in [
            (unified, Some("/sys/fs/cgroup")),
            (hybrid, Some("/sys/fs/cgroup/unified")),
            (part, Some("/host/sys/fs/cgroup v2")),
            ("90 80 0:30 /a /b ro - cgroup2 cgroup rw\n", Some("/b")),
            ("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", None),
            ("garbage\n\n - cgroup2\n", None),
        ] {
            assert_eq!(find_cgroup2_mount(text), want.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn escapes_of_mount_points() {
        for (field, want) in [
            (r"/a\040b\134c", r"/a b\c"),
            (r"/a\04", r"/a\04"),
            (r"/a\xyz\", r"/a\xyz\"),
            (r"/\777", r"/\777"),
        ] {
            assert_eq!(unescape(field), PathBuf::from(want));
        }
    }

    #[test]
    fn every_directory_with_its_inode() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        fs::create_dir_all(root.path().join("d")).unwrap();
        fs::write(root.path().join("a/cgroup.procs"), "").unwrap();
        std::os::unix::fs::symlink("/", root.path().join("loop")).unwrap();
        let found = walk(root.path()).unwrap();
        assert_eq!(found[0].1, "/");
        for (id, path) in &found {
            let at = root.path().join(path.trim_start_matches('/'));
            assert_eq!(*id, fs::metadata(at).unwrap().ino(), "{path}");
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let place = |wanted: &str| found.iter().position(|(_, p)| p == wanted);
            assert!(parent.is_empty() || place(parent) < place(path), "{path}");
        }
        let mut paths: Vec<_> = found.iter().map(|(_, path)| path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/", "/a", "/a/b", "/a/b/c", "/d"]);
        assert!(walk(&root.path().join("absent")).is_err());
        assert!(walk(&root.path().join("a/cgroup.procs")).is_err());
    }
}
