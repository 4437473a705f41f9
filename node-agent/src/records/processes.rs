//! The processes of the node, as records name them: what each runs, since when, and whose child it is.
//!
//! A process is known by its id and by when it was made, so that a later process of the same id is another one. What it runs is
//! an [`Image`]: a process that runs another program has another image, whose parent is the one before. A child that runs no
//! program of its own has an image with its parent's program.
//!
//! The table keeps what processes that exist need, and what ended lately, since records of a process can follow its end. A record
//! has the image of its process, that image's parent, and only the name of the parent's parent. So a process needs two images,
//! however many programs it has executed. `texts` bounds the memory of what programs choose themselves.

mod running;
#[cfg(test)]
mod tests;
mod texts;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use gatewatch_abi::RecordExec;

use self::texts::{Shares, Texts};

pub(super) use self::{
    running::{Found, running},
    texts::{Cut, Given},
};

/// For how long a process is kept after its end.
const KEPT: Duration = Duration::from_secs(10);
/// Processes that may be known beside twice the living ones before /proc is read.
const UNREPORTED: usize = 4_096;
/// A clock tick of /proc, in nanoseconds: `USER_HZ` is 100 on every architecture that we run on.
pub(super) const TICK: u64 = 10_000_000;

/// What a process runs or ran.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// Which it is.
    pub(super) id: ImageId,
    /// Its path, command line and working directory.
    pub(super) texts: Arc<Texts>,
    /// The id of the cgroup at that time.
    pub(super) cgroup: u64,
    /// Who it was.
    pub(super) who: Option<RecordExec>,
    /// How it came to be.
    pub(super) origin: Origin,
    /// The image that made or preceded it.
    pub(super) parent: Option<ImageId>,
}

/// An image among all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ImageId {
    /// The process.
    pub(super) pid: u32,
    /// When the program was executed, or the process made if it has executed none: nanoseconds since the machine started.
    pub(super) since: u64,
}

/// What a record says of a process: what it runs, and the image that made or preceded that.
#[derive(Clone, Debug)]
pub(super) struct Lineage {
    /// What it runs.
    pub(super) image: Arc<Image>,
    /// Its parent.
    pub(super) parent: Option<Arc<Image>>,
}

/// How an image came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was found running.
    #[default]
    Found,
    /// Its process was made and has executed no program.
    Cloned,
    /// The first program of its process.
    ExecutedFirst,
    /// A later one.
    Executed,
}

/// When a process was made: in nanoseconds, or only in ticks for one that was found in /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Exact(u64),
    Ticks(u64),
}

impl Start {
    /// Whether it is this one. 0: it is not known, and any will do.
    fn is(self, start: u64) -> bool {
        match self {
            _ if start == 0 => true,
            Self::Exact(own) => own == start,
            Self::Ticks(own) => own == start / TICK,
        }
    }
}

#[derive(Debug)]
struct Entry {
    start: Start,
    lineage: Lineage,
    /// Whether its end was reported.
    ended: bool,
    /// Whether it is to be forgotten.
    leaves: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: HashMap<u32, Entry>,
    leaving: VecDeque<(Instant, u32, Start)>,
    /// Those that were alive when /proc was read.
    living: usize,
    shares: Shares,
}

/// A program that a process executes.
#[derive(Debug)]
pub(super) struct Executed<'a> {
    /// The process.
    pub(super) pid: u32,
    /// When it was made.
    pub(super) start: u64,
    /// When this happens.
    pub(super) time: u64,
    /// The cgroup.
    pub(super) cgroup: u64,
    /// The cgroup of its pod, or [`SHARE_OF_HOST`](gatewatch_abi::SHARE_OF_HOST).
    pub(super) pod: u64,
    /// Who it is.
    pub(super) who: RecordExec,
    /// Its path, command line and working directory.
    pub(super) texts: Given<'a>,
}

impl Processes {
    /// Enters a process that was running before the agent, unless the kernel has reported it already.
    pub(super) fn found(&mut self, found: Found) {
        let Found { ticks, parent, pod, mut image, binary, command_line, cwd, cut } = found;
        if self.known.contains_key(&image.id.pid) {
            return;
        }
        let cut = Cut { command_line: cut, ..Cut::default() };
        let given = Given { binary: &binary, command_line: &command_line, cwd: &cwd, cut };
        image.texts = self.shares.keep(pod, &given);
        let parent = self.known.get(&parent).map(|entry| Arc::clone(&entry.lineage.image));
        self.insert(Start::Ticks(ticks), image, parent);
    }

    /// A process has made another one.
    pub(super) fn forked(
        &mut self,
        (parent, parent_start): (u32, u64),
        (child, start): (u32, u64),
        cgroup: u64,
    ) -> Lineage {
        let parent = self.get(parent, parent_start).map(|lineage| lineage.image);
        let program = parent.as_deref().cloned().unwrap_or_default();
        let id = ImageId { pid: child, since: start };
        let image = Image { id, cgroup, origin: Origin::Cloned, ..program };
        self.insert(Start::Exact(start), image, parent)
    }

    /// A process executes a program.
    pub(super) fn executed(&mut self, executed: &Executed<'_>) -> Lineage {
        let (origin, parent) = match self.get(executed.pid, executed.start) {
            // Its own image was its parent's.
            Some(Lineage { image, parent }) if image.origin == Origin::Cloned => {
                (Origin::ExecutedFirst, parent)
            }
            Some(Lineage { image, .. }) => (Origin::Executed, Some(image)),
            // The kernel had no room for the record of its birth.
            None => {
                let parent = self.get(executed.who.parent, executed.who.parent_start);
                (Origin::ExecutedFirst, parent.map(|lineage| lineage.image))
            }
        };
        let image = Image {
            id: ImageId { pid: executed.pid, since: executed.time },
            texts: self.shares.keep(executed.pod, &executed.texts),
            cgroup: executed.cgroup,
            who: Some(executed.who),
            origin,
            parent: None,
        };
        self.insert(Start::Exact(executed.start), image, parent)
    }

    /// The last thread of a process has ended. `None`: it has ended before, or is not known.
    pub(super) fn exited(&mut self, pid: u32, start: u64, now: Instant) -> Option<Lineage> {
        let entry = self.known.get_mut(&pid).filter(|entry| entry.start.is(start) && !entry.ended)?;
        entry.ended = true;
        if !entry.leaves {
            entry.leaves = true;
            self.leaving.push_back((now, pid, entry.start));
        }
        Some(entry.lineage.clone())
    }

    /// Forgets processes soon whose end is not reported: a pod that has used up its budget of records can have any number of
    /// them. `alive` is only called if there may be many, so each process that is made pays for a few calls at most. The record
    /// of an end can still come.
    pub(super) fn check(&mut self, now: Instant, alive: impl Fn(u32) -> bool) {
        if self.known.len().saturating_sub(self.leaving.len()) <= 2 * self.living + UNREPORTED {
            return;
        }
        self.living = 0;
        for (pid, entry) in self.known.iter_mut().filter(|(_, entry)| !entry.leaves) {
            if alive(*pid) {
                self.living += 1;
            } else {
                entry.leaves = true;
                self.leaving.push_back((now, *pid, entry.start));
            }
        }
    }

    /// What a process runs.
    pub(super) fn get(&self, pid: u32, start: u64) -> Option<Lineage> {
        self.known.get(&pid).filter(|entry| entry.start.is(start)).map(|entry| entry.lineage.clone())
    }

    /// Forgets processes that ended some time ago.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some((at, pid, start)) = self.leaving.front().copied() {
            if now.saturating_duration_since(at) < KEPT {
                break;
            }
            self.leaving.pop_front();
            if self.known.get(&pid).is_some_and(|entry| entry.leaves && entry.start == start) {
                self.known.remove(&pid);
            }
        }
        self.shares.forget();
    }

    /// Processes that are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes of all texts that are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.shares.bytes()
    }

    /// Programs with a text that was cut because their pod was over its share, so far.
    pub(super) fn cut(&self) -> u64 {
        self.shares.cut()
    }

    fn insert(&mut self, start: Start, mut image: Image, parent: Option<Arc<Image>>) -> Lineage {
        image.parent = parent.as_ref().map(|parent| parent.id);
        let pid = image.id.pid;
        let lineage = Lineage { image: Arc::new(image), parent };
        self.known.insert(pid, Entry { start, lineage: lineage.clone(), ended: false, leaves: false });
        lineage
    }
}
