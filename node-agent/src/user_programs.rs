//! Functions of user programs: finds the files that policies name in the containers that they select, and on the host, and
//! attaches to them.
//!
//! Each container is searched when a policy begins to select it, again soon after, since its processes come later, and then
//! every [`AGAIN`]: a file can appear, and an upgrade replaces it. The containers' file systems can be anything, also one that
//! never answers. So a thread of its own searches, and if it doesn't come back it is left alone and replaced, and the container
//! that held it is not searched until that thread has ended. Places whose search is slow are searched less often, so that the
//! others wait for them no more than a part of the time.

mod attach;
mod root;
mod symbols;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use aya::programs::ProgramFd;
use gatewatch_policy::plan::{HookPoint, ProgramAddress, When};

use self::{
    attach::{Attached, Failure, Found, Root, Search, State, Target},
    root::Place,
};
use crate::bpf::{Lane, Uprobes};

/// How long after the first search a place is searched again; each time after twice as long, up to [`AGAIN`].
const SOON: Duration = Duration::from_millis(250);
/// In the first searches of a container, up to this pause, its first process may still be the runtime's.
const NEW: Duration = Duration::from_secs(1);
/// How often a place is searched.
const AGAIN: Duration = Duration::from_secs(10);
/// How long one step of a search may take, and all of it.
const PATIENCE: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_mins(1);
/// A place whose search took longer than this is searched again after a longer time.
const SLOW: Duration = Duration::from_secs(1);
const AFTER_SLOW: Duration = Duration::from_mins(1);
/// How many searches may be left alone, each with its thread.
const STUCK: usize = 256;

/// A lane of a user program, and where it is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The lane. Its point is a uprobe.
    pub lane: Lane,
    /// The attached program.
    pub program: Arc<ProgramFd>,
    /// Whether it is wanted on the host.
    pub host: bool,
    /// The cgroups of containers in which it is wanted.
    pub cgroups: BTreeSet<u64>,
}

/// How many places a lane is attached at, and why it isn't at others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Places where it runs.
    pub attached: u64,
    /// Places where it can't.
    pub failed: u64,
    /// One reason of those.
    pub reason: Option<String>,
}

/// See the module's documentation.
#[derive(Default)]
pub struct UserPrograms {
    attached: Arc<Mutex<Attached>>,
    places: BTreeMap<Root, Known>,
    lanes: BTreeMap<Lane, Lookup>,
    worker: Option<Worker>,
    /// The threads that were left alone, as long as they are there.
    left: Vec<Weak<AtomicU64>>,
    /// Whether places were removed since the last step.
    fewer: bool,
}

/// What is known of a place.
#[derive(Debug)]
struct Known {
    lanes: BTreeSet<Lane>,
    due: Instant,
    pause: Duration,
    states: BTreeMap<Lane, State>,
    failed: BTreeMap<Lane, Failure>,
    /// The thread whose search of it did not come back.
    stuck: Weak<AtomicU64>,
}

#[derive(Debug)]
struct Lookup {
    path: Arc<str>,
    at: ProgramAddress,
    when: When,
    program: Arc<ProgramFd>,
}

/// Searches a place.
type Searching = Arc<dyn Fn(&Search, &AtomicU64) -> Found + Send + Sync>;

/// A thread that searches one place at a time.
struct Worker {
    searches: mpsc::Sender<Search>,
    found: mpsc::Receiver<Found>,
    /// What it searches.
    busy: Option<Busy>,
    /// Steps that it has made. It holds this as long as it is there.
    progress: Weak<AtomicU64>,
}

/// A search that continues.
struct Busy {
    root: Root,
    begin: Instant,
    /// Since when it has made so many steps.
    since: Instant,
    steps: u64,
}

impl UserPrograms {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.places.is_empty()
    }

    /// Whether a search has begun and not ended yet.
    pub fn is_busy(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.busy.is_some())
    }

    /// Says what is wanted now, and removes what isn't any more. Call it when policies, pods or cgroups have changed.
    pub fn want(&mut self, wanted: Vec<Wanted>, now: Instant) {
        let mut places: BTreeMap<Root, BTreeSet<Lane>> = BTreeMap::new();
        self.lanes.clear();
        for Wanted { lane, program, host, cgroups } in wanted {
            let HookPoint::Uprobe { path, at, when } = &lane.point else { continue };
            let lookup = Lookup { path: path.as_str().into(), at: at.clone(), when: *when, program };
            for root in host.then_some(None).into_iter().chain(cgroups.into_iter().map(Some)) {
                places.entry(root).or_default().insert(lane.clone());
            }
            self.lanes.insert(lane, lookup);
        }
        let before = self.places.len();
        self.places.retain(|root, _| places.contains_key(root));
        self.fewer |= self.places.len() < before;
        for (root, lanes) in places {
            let known = self.places.entry(root).or_insert_with(|| Known {
                lanes: BTreeSet::new(),
                due: now,
                pause: SOON,
                states: BTreeMap::new(),
                failed: BTreeMap::new(),
                stuck: Weak::new(),
            });
            if !lanes.is_subset(&known.lanes) {
                (known.due, known.pause) = (now, SOON);
            }
            let states = known.states.len();
            known.states.retain(|lane, _| lanes.contains(lane));
            self.fewer |= known.states.len() < states;
            known.lanes = lanes;
        }
        self.detach();
    }

    /// Removes what isn't wanted.
    fn detach(&self) {
        let is_wanted = |lane: &Lane, root, program: &Arc<ProgramFd>| {
            self.lanes.get(lane).is_some_and(|lookup| Arc::ptr_eq(&lookup.program, program))
                && self.places.get(&root).is_some_and(|known| known.lanes.contains(lane))
        };
        let gone = self.attached.lock().unwrap_or_else(PoisonError::into_inner).retain(is_wanted);
        if gone.is_empty() {
            return;
        }
        // The kernel waits for every process that runs the file, and one of them may wait for a file system that never answers.
        let end = std::thread::Builder::new().name("end-of-uprobes".to_owned()).spawn(move || drop(gone));
        if let Err(error) = end {
            tracing::error!(
                "cannot start a thread to remove uprobes: {error}; they were removed by this one"
            );
        }
    }

    /// Takes what was found, and has the next places searched. `folder_of` gives the folder of a container's cgroup. True: something has
    /// changed.
    pub fn step(
        &mut self,
        uprobes: &Arc<Uprobes>,
        folder_of: impl Fn(u64) -> Option<PathBuf>,
        now: Instant,
    ) -> bool {
        let (uprobes, attached) = (Arc::clone(uprobes), Arc::clone(&self.attached));
        let searching: Searching =
            Arc::new(move |search, progress| search.take(&uprobes, &attached, progress));
        self.advance(&searching, folder_of, now)
    }

    fn advance(
        &mut self,
        searching: &Searching,
        folder_of: impl Fn(u64) -> Option<PathBuf>,
        now: Instant,
    ) -> bool {
        let mut changed = self.collect(now) | std::mem::take(&mut self.fewer);
        while self.worker.as_ref().is_none_or(|worker| worker.busy.is_none()) {
            let due = |known: &Known| known.due <= now && known.stuck.strong_count() == 0;
            let Some((root, known)) =
                self.places.iter_mut().filter(|(_, known)| due(known)).min_by_key(|(_, known)| known.due)
            else {
                break;
            };
            let root = *root;
            known.due = now + known.pause;
            let new = known.pause < NEW;
            known.pause = AGAIN.min(known.pause * 2);
            let place = match root {
                None => Place::Host,
                Some(cgroup) => match folder_of(cgroup) {
                    Some(folder) => Place::Cgroup(folder),
                    None => continue,
                },
            };
            let target = |lane: &Lane| {
                let Lookup { path, at, when, program } = self.lanes.get(lane)?;
                let (path, program) = (Arc::clone(path), Arc::clone(program));
                Some(Target { lane: lane.clone(), path, at: at.clone(), when: *when, program })
            };
            let targets = known.lanes.iter().filter_map(target).collect();
            let search = Search { root, place, new, targets, failed: known.failed.clone() };
            changed |= self.begin(search, searching, now);
        }
        changed
    }

    /// Has a place searched.
    fn begin(&mut self, search: Search, searching: &Searching, now: Instant) -> bool {
        self.left.retain(|thread| thread.strong_count() > 0);
        if self.worker.is_none() && self.left.len() < STUCK {
            self.worker = Worker::start(Arc::clone(searching));
        }
        let root = search.root;
        let Some(worker) = &mut self.worker else {
            self.fail(root, "too many file systems do not answer, so it is not searched");
            return true;
        };
        if worker.searches.send(search).is_err() {
            self.worker = None;
            return false;
        }
        let steps = worker.steps();
        worker.busy = Some(Busy { root, begin: now, since: now, steps });
        // Most searches take no time.
        self.collect(now)
    }

    /// Takes what the worker has found.
    fn collect(&mut self, now: Instant) -> bool {
        let Some(worker) = &mut self.worker else { return false };
        let steps = worker.steps();
        let Some(busy) = &mut worker.busy else { return false };
        if busy.steps != steps {
            (busy.steps, busy.since) = (steps, now);
        }
        let (root, begin) = (busy.root, busy.begin);
        let waits = now.duration_since(busy.since) <= PATIENCE && now.duration_since(begin) <= WHOLE;
        match worker.found.recv_timeout(Duration::from_millis(5)) {
            Ok(found) => {
                worker.busy = None;
                if now.duration_since(begin) > SLOW
                    && let Some(known) = self.places.get_mut(&root)
                {
                    // Others come first.
                    known.due = now + AFTER_SLOW;
                }
                self.take(root, found)
            }
            Err(mpsc::RecvTimeoutError::Timeout) if waits => false,
            Err(_) => {
                // Its thread ends when its search does.
                let thread = worker.progress.clone();
                self.worker = None;
                if let Some(known) = self.places.get_mut(&root) {
                    known.stuck = thread.clone();
                }
                self.left.push(thread);
                self.fail(root, "its file system does not answer, so it is not searched until it does");
                true
            }
        }
    }

    fn take(&mut self, root: Root, found: Found) -> bool {
        // What isn't wanted any more may have been attached meanwhile.
        self.detach();
        let Some(known) = self.places.get_mut(&root) else { return false };
        if !found.populated && found.states.is_empty() {
            return false;
        }
        let Found { mut states, failed, .. } = found;
        states.retain(|lane, _| known.lanes.contains(lane));
        known.failed = failed;
        for (lane, state) in &states {
            if let State::Failed(why) = state
                && known.states.get(lane) != Some(state)
            {
                let place = root.map_or_else(|| "the host".to_owned(), |cgroup| format!("cgroup {cgroup}"));
                tracing::warn!(hook = %lane, "cannot attach in {place}: {why}");
            }
        }
        let changed = known.states != states;
        known.states = states;
        changed
    }

    fn fail(&mut self, root: Root, why: &str) {
        let Some(known) = self.places.get_mut(&root) else { return };
        tracing::error!("cannot search for the programs of policies in {root:?}: {why}");
        known.states = known.lanes.iter().map(|lane| (lane.clone(), State::Failed(why.to_owned()))).collect();
    }

    /// The places at which lanes are attached, or can't be: which place, and whether it is attached.
    pub fn places(&self) -> impl Iterator<Item = (&Lane, Option<u64>, bool)> {
        let all = self
            .places
            .iter()
            .flat_map(|(root, known)| known.states.iter().map(move |(lane, state)| (lane, *root, state)));
        all.filter_map(|(lane, root, state)| match state {
            State::Attached => Some((lane, root, true)),
            State::Failed(_) => Some((lane, root, false)),
            State::Absent => None,
        })
    }

    /// Where each lane is attached.
    pub fn summaries(&self) -> HashMap<Lane, Summary> {
        let mut summaries: HashMap<Lane, Summary> =
            self.lanes.keys().map(|lane| (lane.clone(), Summary::default())).collect();
        for (lane, state) in self.places.values().flat_map(|known| &known.states) {
            let Some(summary) = summaries.get_mut(lane) else { continue };
            match state {
                State::Attached => summary.attached += 1,
                State::Absent => {}
                State::Failed(why) => {
                    summary.failed += 1;
                    summary.reason.get_or_insert_with(|| why.clone());
                }
            }
        }
        summaries
    }
}

impl Worker {
    fn start(searching: Searching) -> Option<Self> {
        let (searches, to_do) = mpsc::channel::<Search>();
        let (done, found) = mpsc::channel();
        let steps = Arc::new(AtomicU64::new(0));
        let progress = Arc::downgrade(&steps);
        let work = move || {
            while let Ok(search) = to_do.recv() {
                if done.send(searching(&search, &steps)).is_err() {
                    break;
                }
            }
        };
        match std::thread::Builder::new().name("user-programs".to_owned()).spawn(work) {
            Ok(_) => Some(Self { searches, found, busy: None, progress }),
            Err(error) => {
                tracing::error!("cannot start the thread that searches for programs: {error}");
                None
            }
        }
    }

    fn steps(&self) -> u64 {
        self.progress.upgrade().map_or(0, |steps| steps.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
