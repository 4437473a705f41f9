//! The processes of the node, as records name them: what each runs, since when, and whose child it is.
//!
//! A process is known by its id and by when it was made, so that a later process of the same id is another one. What it runs is
//! an [`Image`]: a process that runs another program has another image, whose parent is the one before. A child that runs no
//! program of its own has an image with its parent's program.
//!
//! The table keeps what processes that exist need, and what ended lately, since records of a process can follow its end. Its
//! memory is bounded: beyond [`BYTES_MAX`], command lines are kept as far as [`SHORT`] goes, and records say so.

mod running;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use gatewatch_abi::RecordExec;

pub(super) use self::running::{Found, running};

/// For how long a process is kept after its end.
const KEPT: Duration = Duration::from_secs(10);
/// Bytes of texts from which on they are cut.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of a text that are kept beyond that.
const SHORT: usize = 64;
/// Images behind a process that are kept: its parent, that one's parent, and so on.
const ANCESTORS: usize = 16;
/// A clock tick of /proc, in nanoseconds: `USER_HZ` is 100 on every architecture that we run on.
pub(super) const TICK: u64 = 10_000_000;

/// What a process runs or ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Image {
    /// The process.
    pub(super) pid: u32,
    /// When the program was executed, or the process made if it has executed none: nanoseconds since the machine started.
    pub(super) since: u64,
    /// The path as the caller gave it.
    pub(super) binary: Arc<[u8]>,
    /// All words of its command line, each ended by a NUL.
    pub(super) command_line: Arc<[u8]>,
    /// The working directory at that time; empty if it is not known.
    pub(super) cwd: Arc<[u8]>,
    /// The id of the cgroup at that time.
    pub(super) cgroup: u64,
    /// Who it was.
    pub(super) who: Option<RecordExec>,
    /// How it came to be.
    pub(super) origin: Origin,
    /// Whether `command_line` is cut.
    pub(super) cut: bool,
    /// The image that made or preceded it.
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
    image: Arc<Image>,
    ended: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: HashMap<u32, Entry>,
    ended: VecDeque<(Instant, u32, u64)>,
    bytes: usize,
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
    /// Who it is.
    pub(super) who: RecordExec,
    /// The path.
    pub(super) binary: &'a [u8],
    /// The working directory.
    pub(super) cwd: &'a [u8],
    /// The command line.
    pub(super) command_line: &'a [u8],
    /// Whether that is cut.
    pub(super) cut: bool,
}

impl Processes {
    /// Enters a process that was running before the agent, unless the kernel has reported it already.
    pub(super) fn found(&mut self, found: Found) {
        let Found { ticks, parent, mut image } = found;
        if self.known.contains_key(&image.pid) {
            return;
        }
        image.parent = self.known.get(&parent).map(|entry| Arc::clone(&entry.image));
        self.insert(Start::Ticks(ticks), image);
    }

    /// A process has made another one.
    pub(super) fn forked(
        &mut self,
        (parent, parent_start): (u32, u64),
        (child, start): (u32, u64),
        cgroup: u64,
    ) -> Arc<Image> {
        let parent = self.get(parent, parent_start);
        let image = match parent {
            Some(parent) => Image {
                pid: child,
                since: start,
                cgroup,
                origin: Origin::Cloned,
                parent: Some(Arc::clone(&parent)),
                ..(*parent).clone()
            },
            None => Image { pid: child, since: start, cgroup, origin: Origin::Cloned, ..Image::default() },
        };
        self.insert(Start::Exact(start), image)
    }

    /// A process executes a program.
    pub(super) fn executed(&mut self, executed: &Executed<'_>) -> Arc<Image> {
        let before = self.get(executed.pid, executed.start);
        let (origin, parent) = match &before {
            // Its own image was its parent's.
            Some(image) if image.origin == Origin::Cloned => (Origin::ExecutedFirst, image.parent.clone()),
            Some(image) => (Origin::Executed, Some(Arc::clone(image))),
            // The kernel had no room for the record of its birth.
            None => (Origin::ExecutedFirst, self.get(executed.who.parent, executed.who.parent_start)),
        };
        let image = Image {
            pid: executed.pid,
            since: executed.time,
            binary: self.kept(executed.binary),
            command_line: self.kept(executed.command_line),
            cwd: self.kept(executed.cwd),
            cgroup: executed.cgroup,
            who: Some(executed.who),
            origin,
            cut: executed.cut || (self.is_full() && executed.command_line.len() > SHORT),
            parent,
        };
        self.insert(Start::Exact(executed.start), image)
    }

    /// The last thread of a process has ended. `None`: it has ended before, or is not known.
    pub(super) fn exited(&mut self, pid: u32, start: u64, now: Instant) -> Option<Arc<Image>> {
        let entry = self.known.get_mut(&pid).filter(|entry| entry.start.is(start) && !entry.ended)?;
        entry.ended = true;
        self.ended.push_back((now, pid, start));
        Some(Arc::clone(&entry.image))
    }

    /// What a process runs.
    pub(super) fn get(&self, pid: u32, start: u64) -> Option<Arc<Image>> {
        self.known.get(&pid).filter(|entry| entry.start.is(start)).map(|entry| Arc::clone(&entry.image))
    }

    /// Forgets processes that ended some time ago.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some((at, pid, start)) = self.ended.front().copied() {
            if now.saturating_duration_since(at) < KEPT {
                break;
            }
            self.ended.pop_front();
            if self.known.get(&pid).is_some_and(|entry| entry.ended && entry.start.is(start)) {
                self.remove(pid);
            }
        }
    }

    /// Processes that are known, and bytes of their texts.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.known.len(), self.bytes)
    }

    fn insert(&mut self, start: Start, mut image: Image) -> Arc<Image> {
        image.parent = image.parent.map(|parent| with_ancestors(&parent, ANCESTORS));
        let pid = image.pid;
        self.remove(pid);
        self.bytes += bytes_of(&image);
        let image = Arc::new(image);
        self.known.insert(pid, Entry { start, image: Arc::clone(&image), ended: false });
        image
    }

    fn remove(&mut self, pid: u32) {
        if let Some(entry) = self.known.remove(&pid) {
            self.bytes = self.bytes.saturating_sub(bytes_of(&entry.image));
        }
    }

    fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX
    }

    fn kept(&self, text: &[u8]) -> Arc<[u8]> {
        if self.is_full() { text[..text.len().min(SHORT)].into() } else { text.into() }
    }
}

/// Bytes of what an image has of its own. A child that executes nothing has its parent's texts.
fn bytes_of(image: &Image) -> usize {
    let texts = image.binary.len() + image.command_line.len() + image.cwd.len();
    if image.origin == Origin::Cloned { 0 } else { texts }
}

/// An image with so many ancestors and no more: a program that executes itself without end has as many images.
fn with_ancestors(image: &Arc<Image>, most: usize) -> Arc<Image> {
    let mut at = image;
    for _ in 0..most {
        match &at.parent {
            Some(parent) => at = parent,
            None => return Arc::clone(image),
        }
    }
    // Rebuilt from the farthest one on.
    let mut chain = Vec::with_capacity(most);
    let mut next = Some(image);
    while let Some(image) = next.filter(|_| chain.len() < most / 2) {
        chain.push(image);
        next = image.parent.as_ref();
    }
    let mut parent = None;
    for image in chain.into_iter().rev() {
        parent = Some(Arc::new(Image { parent, ..(**image).clone() }));
    }
    parent.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute(table: &mut Processes, pid: u32, start: u64, time: u64, binary: &str) -> Arc<Image> {
        table.executed(&Executed {
            pid,
            start,
            time,
            cgroup: 1,
            who: RecordExec { parent: 1, parent_start: 10, ..RecordExec::default() },
            binary: binary.as_bytes(),
            cwd: b"/",
            command_line: b"a\0",
            cut: false,
        })
    }

    #[test]
    fn parents_are_who_made_them() {
        let mut table = Processes::default();
        execute(&mut table, 1, 10, 20, "/init");
        let cloned = table.forked((1, 10), (2, 30), 1);
        assert_eq!((&*cloned.binary, cloned.origin), (&b"/init"[..], Origin::Cloned));
        // The parent runs another program before the child does.
        execute(&mut table, 1, 10, 40, "/second");
        let child = execute(&mut table, 2, 30, 50, "/child");
        assert_eq!(&*child.parent.as_ref().unwrap().binary, b"/init", "as it was at its birth");
        assert_eq!(child.origin, Origin::ExecutedFirst);
        let again = execute(&mut table, 2, 30, 60, "/again");
        assert_eq!(
            (&*again.parent.as_ref().unwrap().binary, again.origin),
            (&b"/child"[..], Origin::Executed)
        );
    }

    #[test]
    fn an_id_that_comes_back_is_another_process() {
        let (mut table, now) = (Processes::default(), Instant::now());
        execute(&mut table, 7, 10, 20, "/a");
        assert!(table.exited(7, 10, now).is_some());
        assert!(table.exited(7, 10, now).is_none(), "it has ended once");
        assert!(table.get(7, 10).is_some(), "records may follow");
        assert!(table.get(7, 11).is_none());
        execute(&mut table, 7, 11, 30, "/b");
        table.forget(now + KEPT);
        assert_eq!(&*table.get(7, 11).unwrap().binary, b"/b", "the end was the earlier one's");
        table.exited(7, 11, now + KEPT);
        table.forget(now + 2 * KEPT);
        assert_eq!(table.size(), (0, 0));
    }

    #[test]
    fn one_that_was_found_is_known_by_ticks() {
        let mut table = Processes::default();
        let image = Image { pid: 3, since: 5 * TICK, ..Image::default() };
        table.found(Found { ticks: 5, parent: 0, image });
        assert!(table.get(3, 5 * TICK + 123).is_some());
        assert!(table.get(3, 6 * TICK).is_none());
    }

    #[test]
    fn a_program_that_executes_itself_without_end_takes_no_more_memory() {
        let mut table = Processes::default();
        for time in 0..10_000 {
            execute(&mut table, 9, 10, time, "/again");
        }
        let mut length = 0;
        let mut next = table.get(9, 10);
        while let Some(image) = next {
            length += 1;
            next.clone_from(&image.parent);
        }
        assert!(length <= ANCESTORS + 2, "{length}");
        assert_eq!(table.size(), (1, 9));
    }

    #[test]
    fn memory_is_bounded() {
        let mut table = Processes::default();
        let long = "x".repeat(4_000);
        for pid in 0..10_000 {
            execute(&mut table, pid, 10, 20, &long);
        }
        let (processes, bytes) = table.size();
        assert_eq!(processes, 10_000);
        assert!(bytes < BYTES_MAX + 10_000 * 3 * SHORT + 10_000, "{bytes}");
    }
}
