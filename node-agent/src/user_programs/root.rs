//! Files as the processes of a container see them.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};

/// Cgroups below one that are searched for a process.
const NESTED: usize = 64;

/// A file as it was at one time, for as long as its file system is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    /// When it was changed last, in seconds and nanoseconds. No program can set this time.
    changed: (i128, i128),
}

impl FileId {
    fn of(stat: &Stat) -> Self {
        // Their types differ between architectures.
        let changed = (stat.st_ctime.into(), stat.st_ctime_nsec.into());
        Self { device: stat.st_dev, inode: stat.st_ino, changed }
    }

    /// Whether the other one is this file at another time.
    pub(super) fn is_other_version_of(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode) && self.changed != other.changed
    }
}

/// Whose files they are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The host's.
    Host,
    /// Those that the processes of this cgroup see, by its folder.
    Cgroup(PathBuf),
}

/// Opens the root folder of a place's processes. `None`: the place has no process yet, or it is `new` and its process has the
/// host's root. Such a process is the container runtime's, before it changes to the container's root.
pub(super) fn open(place: &Place, new: bool) -> io::Result<Option<OwnedFd>> {
    match place {
        Place::Host => root_of(1).map(Some),
        Place::Cgroup(folder) => {
            let Some((folder, process)) = first_process(folder) else { return Ok(None) };
            let root = root_of(process)?;
            // Its number can have become another one's meanwhile.
            if !processes(&folder).contains(&process) {
                return Ok(None);
            }
            if !new {
                return Ok(Some(root));
            }
            let (own, hosts) = (fstat(&root)?, fstat(root_of(1)?)?);
            let is_hosts = (own.st_dev, own.st_ino) == (hosts.st_dev, hosts.st_ino);
            Ok((!is_hosts).then_some(root))
        }
    }
}

fn root_of(process: u32) -> io::Result<OwnedFd> {
    let path = format!("/proc/{process}/root");
    Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a regular file below a root, as a path alone: symbolic links lead nowhere else.
pub(super) fn file(root: &OwnedFd, path: &str) -> io::Result<(FileId, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(root, path, flags, Mode::empty(), resolve)?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((FileId::of(&stat), file))
}

/// The first process of a cgroup, or of one below it, and the folder of the cgroup that it is in.
fn first_process(folder: &Path) -> Option<(PathBuf, u32)> {
    let mut open = vec![folder.to_owned()];
    for _ in 0..NESTED {
        let folder = open.pop()?;
        if let Some(process) = processes(&folder).first() {
            return Some((folder, *process));
        }
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(folders.map(|entry| entry.path()));
    }
    None
}

/// The processes of a cgroup that this one's namespace has numbers for.
fn processes(folder: &Path) -> Vec<u32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|process| *process != 0).collect()
}
