//! The bpf file system, where what outlives the agent has names.
//!
//! ```text
//! /sys/fs/bpf/gatewatch/             one agent at a time holds a lock on it
//!   v5-0123456789abcdef/             what agents of this layout share
//!     COUNTS, PROCESSES, …           the maps of the BPF programs
//!     tracker/track_exec, …          links: what follows processes and cgroups
//!     hooks/function~entry~__sys_setuid~fentry/
//!                                    a hook: program, link and matcher
//!     hooks/function~entry~__sys_setuid~fentry~1/
//!                                    the same for lane 1 of this point
//!     key, engine, series            what the agent itself has to remember, see `blob`
//!     alive                          when an agent was last seen
//! ```
//!
//! The folder's name has a hash over the shapes of all maps: an agent never reads maps that it would misread. A folder of an
//! earlier layout whose maps mean the same is taken over, those of other layouts are removed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gatewatch_abi::{CONTINUED, VERSION};
use rustix::{
    fs::{FlockOperation, flock, statfs},
    mount::{MountFlags, mount},
};

use super::{LoadError, alive::Alive, attach_type::AttachType, hook_name, lane::Lane, objects};

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// How long an agent that is ending may hold the lock.
const LOCK_WITHIN: Duration = Duration::from_secs(30);

/// Name of the folder of what follows processes and cgroups.
const TRACKER: &str = "tracker";
/// Name of the folder of hooks.
const HOOKS: &str = "hooks";

/// Where the maps have their names, and what becomes of them.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    dir: PathBuf,
    /// Held while this lives. Only what outlives us is locked.
    lock: Option<File>,
    /// When an earlier agent was last alive, on the clock of [`alive`](super::alive); `None` where there was none.
    pub(super) alive: Option<u64>,
    /// Whether the folder is from an earlier agent.
    pub(super) taken: bool,
}

impl Pins {
    /// The folder for the maps. If `keep` is set it outlives us and may be from an earlier agent; if not, it is empty
    /// and goes with us.
    pub(super) fn prepare(root: &Path, keep: bool) -> Result<Self, LoadError> {
        let parent = root.parent().unwrap_or(root);
        if !is_bpffs(parent) && !is_bpffs(root) {
            mount("bpf", parent, "bpf", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
                .map_err(|errno| LoadError::NoBpffs { path: parent.to_owned(), source: errno.into() })?;
        }
        let failed = |source| LoadError::Pins { path: root.to_owned(), source };
        if !keep {
            remove_all(root).map_err(failed)?;
            fs::create_dir(root).map_err(failed)?;
            let (root, dir) = (root.to_owned(), root.to_owned());
            return Ok(Self { root, dir, lock: None, alive: None, taken: false });
        }
        if !root.exists() {
            fs::create_dir(root).map_err(failed)?;
        }
        let lock = lock(root, LOCK_WITHIN)?;
        let shapes = objects::shapes()?;
        let name = objects::layout_name(VERSION, shapes);
        let dir = root.join(&name);
        for earlier in CONTINUED.map(|version| root.join(objects::layout_name(version, shapes))) {
            if earlier.exists() && !dir.exists() {
                tracing::info!("continuing with {}, which an earlier version has left", earlier.display());
                fs::rename(&earlier, &dir).map_err(failed)?;
            }
        }
        let mut alive = None;
        for entry in fs::read_dir(root).map_err(failed)?.filter_map(Result::ok) {
            let earlier = Alive::read(&entry.path());
            alive = alive.max(earlier);
            if entry.file_name() != name.as_str() {
                tracing::info!("removing {}, which has another layout version", entry.path().display());
                remove_all(&entry.path()).map_err(failed)?;
            }
        }
        let taken = dir.exists();
        for folder in [&dir, &dir.join(TRACKER), &dir.join(HOOKS)] {
            if !folder.exists() {
                fs::create_dir(folder).map_err(failed)?;
            }
        }
        Ok(Self { root: root.to_owned(), dir, lock: Some(lock), alive, taken })
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of hooks, each of which has one in it.
    pub(super) fn hooks(&self) -> PathBuf {
        self.dir.join(HOOKS)
    }

    /// The folder of one hook; `None` if the point has no name on a file system.
    pub(super) fn hook(&self, lane: &Lane, by: AttachType) -> Option<PathBuf> {
        Some(self.hooks().join(hook_name::name(lane, by)?))
    }

    /// Whether it outlives us.
    pub(super) fn kept(&self) -> bool {
        self.lock.is_some()
    }

    /// Starts again: removes everything that is in the folder.
    pub(super) fn clear(&mut self) -> Result<(), LoadError> {
        let failed = |source| LoadError::Pins { path: self.dir.clone(), source };
        remove_all(&self.dir).map_err(failed)?;
        for folder in [&self.dir, &self.dir.join(TRACKER), &self.hooks()] {
            fs::create_dir(folder).map_err(failed)?;
        }
        self.taken = false;
        Ok(())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if !self.kept()
            && let Err(error) = remove_all(&self.root)
        {
            tracing::warn!(path = %self.root.display(), %error, "cannot remove the names of the maps");
        }
    }
}

/// Removes everything that agents have in the kernel: hooks, programs, maps, and what they have counted. False
/// where there was nothing.
pub fn cleanup(root: &Path) -> Result<bool, LoadError> {
    if !root.exists() {
        return Ok(false);
    }
    let _lock = lock(root, Duration::ZERO)?;
    let failed = |source| LoadError::Pins { path: root.to_owned(), source };
    for entry in fs::read_dir(root).map_err(failed)? {
        remove_all(&entry.map_err(failed)?.path()).map_err(failed)?;
    }
    match fs::remove_dir(root) {
        // In a container it is mounted, and stays as an empty folder.
        Err(error) if !matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::NotFound) => {
            Err(failed(error))
        }
        _ => Ok(true),
    }
}

fn lock(root: &Path, within: Duration) -> Result<File, LoadError> {
    let failed = |source| LoadError::Pins { path: root.to_owned(), source };
    let file = File::open(root).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < within => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LoadError::Locked(root.to_owned())),
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}

/// Removes a folder or a file, if it is there.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[allow(clippy::useless_conversion, reason = "the field's type differs between architectures")]
fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| i64::from(stat.f_type) == BPF_FS_MAGIC)
}
