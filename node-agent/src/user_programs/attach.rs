//! The uprobes that there are, and one search of a place.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aya::programs::ProgramFd;
use gatewatch_policy::plan::{ProgramAddress, When};

use super::{
    root::{self, FileId, Place},
    symbols,
};
use crate::bpf::{Lane, Uprobe, Uprobes};

/// How many files of one path have uprobes for one place at a time: the last ones. A file that is replaced is still run by the
/// processes that have started before.
const FILES_EACH: usize = 4;

/// After which time it is tried again to attach at a file.
const RETRY: Duration = Duration::from_mins(1);

/// Names a place: `None` is the host, else it is the id of a cgroup.
pub(super) type Root = Option<u64>;

/// What is to be attached for one lane.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) lane: Lane,
    pub(super) path: Arc<str>,
    pub(super) at: ProgramAddress,
    pub(super) when: When,
    pub(super) program: Arc<ProgramFd>,
}

/// What has become of a lane at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The program runs at the file.
    Attached,
    /// The place has no such file, or no process yet.
    Absent,
    /// It can't be attached there.
    Failed(String),
}

/// All uprobes.
#[derive(Debug, Default)]
pub(super) struct Attached(BTreeMap<Lane, Vec<AtFile>>);

/// A uprobe at a file, and for whom it is there.
#[derive(Debug)]
struct AtFile {
    uprobe: Uprobe,
    program: Arc<ProgramFd>,
    users: BTreeMap<Root, BTreeSet<FileId>>,
}

impl Attached {
    /// Removes the uprobes of lanes that aren't there any more, and of places for which a lane isn't wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Lane, Root, &Arc<ProgramFd>) -> bool) -> Vec<Uprobe> {
        let mut gone = Vec::new();
        self.0.retain(|lane, files| {
            for file in &mut *files {
                file.users.retain(|root, _| wanted(lane, *root, &file.program));
            }
            gone.extend(files.extract_if(.., |file| file.users.is_empty()).map(|file| file.uprobe));
            !files.is_empty()
        });
        gone
    }

    /// Removes the uprobes of all lanes at an inode that was written to since. Its instructions may be others: as long as there
    /// is one, the kernel continues with those that it has read when it placed the breakpoint.
    fn outdated(&mut self, root: Root, file: FileId, inode: u64) -> Vec<Uprobe> {
        let is_outdated = |known: &mut AtFile| {
            let versions = known.users.get(&root).filter(|_| known.uprobe.inode == inode);
            versions.is_some_and(|versions| versions.iter().any(|known| known.is_other_version_of(file)))
        };
        let all = self.0.values_mut().flat_map(|files| files.extract_if(.., is_outdated));
        all.map(|file| file.uprobe).collect()
    }

    fn knows(&self, lane: &Lane, root: Root, file: FileId) -> bool {
        let mut files = self.0.get(lane).into_iter().flatten();
        files.any(|known| known.users.get(&root).is_some_and(|files| files.contains(&file)))
    }

    /// Whether a lane has a uprobe at this place of a file already, by another path: with a second one, each event would be
    /// counted twice. It is then for this place, too.
    fn shares(&mut self, lane: &Lane, root: Root, file: FileId, uprobe: &Uprobe) -> bool {
        let mut files = self.0.get_mut(lane).into_iter().flatten();
        let same =
            |known: &&mut AtFile| known.uprobe.inode == uprobe.inode && known.uprobe.offset == uprobe.offset;
        let Some(known) = files.find(same) else { return false };
        known.users.entry(root).or_default().insert(file);
        true
    }

    /// Adds a uprobe. What it gives is to be dropped.
    fn add(&mut self, target: &Target, root: Root, file: FileId, uprobe: Uprobe) -> Vec<Uprobe> {
        let files = self.0.entry(target.lane.clone()).or_default();
        let program = Arc::clone(&target.program);
        files.push(AtFile { uprobe, program, users: [(root, [file].into())].into() });
        // The oldest ones come first.
        let mut surplus =
            files.iter().filter(|file| file.users.contains_key(&root)).count().saturating_sub(FILES_EACH);
        for file in &mut *files {
            if surplus > 0 && file.users.remove(&root).is_some() {
                surplus -= 1;
            }
        }
        files.extract_if(.., |file| file.users.is_empty()).map(|file| file.uprobe).collect()
    }
}

/// One search of a place.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) root: Root,
    pub(super) place: Place,
    /// Whether its processes may not have their files yet.
    pub(super) new: bool,
    pub(super) targets: Vec<Target>,
    /// Files at which a lane could not be attached: they are not read again soon.
    pub(super) failed: BTreeMap<Lane, Failure>,
}

/// A file at which a lane could not be attached.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    file: FileId,
    why: String,
    since: Instant,
}

/// The result of a search.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Whether there was a process whose files could be searched.
    pub(super) populated: bool,
    pub(super) states: BTreeMap<Lane, State>,
    /// As in [`Search`].
    pub(super) failed: BTreeMap<Lane, Failure>,
}

impl Search {
    /// Searches, and attaches what is new. It can take as long as the file systems of the place do.
    /// `progress` grows with each of its steps.
    pub(super) fn take(&self, uprobes: &Uprobes, attached: &Mutex<Attached>, progress: &AtomicU64) -> Found {
        let mut found = Found::default();
        let root = match root::open(&self.place, self.new) {
            Ok(Some(root)) => root,
            Ok(None) => return found,
            Err(error) => {
                // A process that has just ended.
                if error.kind() != std::io::ErrorKind::NotFound {
                    let why = format!("the root of its file system cannot be opened: {error}");
                    let failed = |target: &Target| (target.lane.clone(), State::Failed(why.clone()));
                    found.states = self.targets.iter().map(failed).collect();
                }
                return found;
            }
        };
        found.populated = true;
        for target in &self.targets {
            let state = self.target(target, &root, uprobes, attached, &mut found);
            found.states.insert(target.lane.clone(), state);
            progress.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    fn target(
        &self,
        target: &Target,
        root: &OwnedFd,
        uprobes: &Uprobes,
        attached: &Mutex<Attached>,
        found: &mut Found,
    ) -> State {
        let attached = || attached.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, file) = match root::file(root, &target.path) {
            Ok(file) => file,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return State::Absent;
            }
            Err(error) => return State::Failed(error.to_string()),
        };
        if attached().knows(&target.lane, self.root, id) {
            return State::Attached;
        }
        let before = self.failed.get(&target.lane);
        let failure = match before.filter(|failure| failure.file == id && failure.since.elapsed() < RETRY) {
            Some(failure) => failure.clone(),
            None => match self.attach(target, (id, &file), uprobes, &attached) {
                Ok(()) => return State::Attached,
                Err(why) => Failure { file: id, why, since: Instant::now() },
            },
        };
        let state = State::Failed(failure.why.clone());
        found.failed.insert(target.lane.clone(), failure);
        state
    }

    fn attach<'a>(
        &self,
        target: &Target,
        (id, file): (FileId, &OwnedFd),
        uprobes: &Uprobes,
        attached: &impl Fn() -> std::sync::MutexGuard<'a, Attached>,
    ) -> Result<(), String> {
        let content = symbols::reopen(file.as_fd()).map_err(|error| format!("it cannot be read: {error}"))?;
        let offset = symbols::offset_of(content, &target.at).map_err(|problem| problem.to_string())?;
        let register = || {
            uprobes
                .register(file.as_fd(), offset, target.when == When::Return)
                .map_err(|error| format!("the kernel cannot place a uprobe at offset {offset:#x}: {error}"))
        };
        let mut uprobe = register()?;
        let outdated = attached().outdated(self.root, id, uprobe.inode);
        if !outdated.is_empty() {
            drop((outdated, uprobe));
            uprobe = register()?;
        }
        // Nothing that takes time is done under the lock: it waits for the kernel, which may wait for the file system.
        let shared = |uprobe: &Uprobe| attached().shares(&target.lane, self.root, id, uprobe);
        if shared(&uprobe) {
            return Ok(());
        }
        uprobes
            .run(&mut uprobe, file.as_fd(), target.program.as_fd())
            .map_err(|error| format!("the kernel rejects the program: {error}"))?;
        // A search that was given up can have come back meanwhile.
        if shared(&uprobe) {
            return Ok(());
        }
        let surplus = attached().add(target, self.root, id, uprobe);
        drop(surplus);
        Ok(())
    }
}
