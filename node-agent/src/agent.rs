//! The agent: takes policies and pods up from where they come, keeps the kernel in step, and answers scrapes.

mod counts;
mod host;
mod memory;
mod policies;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatewatch_policy::model::NamespaceKind;
use tokio::sync::watch;

use crate::attribution::{Attribution, POD_GRACE};
use crate::cgroup;
use crate::engine::Engine;
use crate::metrics::{self, PolicyStatus, Snapshot};
use crate::policies::Library;
use crate::policy_dir::DirError;
use crate::series::{HookTotals, Series};
use crate::sources::{Change, Source};

pub use host::host_namespaces;
pub use policies::PolicySet;

/// How often new cgroups are looked for. A container's first events are counted without that; it only decides how
/// soon they have a name.
const CGROUPS_EVERY: Duration = Duration::from_millis(250);
/// How often counts are taken up and what is gone is forgotten, if nobody scrapes.
const FOLD_EVERY: Duration = Duration::from_secs(30);
/// How many cgroups may come and go before what is known of them is written down ahead of time.
const UNSAVED: usize = 1_024;

/// See the module's documentation.
pub struct Agent {
    state: Mutex<State>,
    ready: AtomicBool,
}

struct State {
    engine: Engine,
    sources: Vec<Box<dyn Source>>,
    attribution: Attribution,
    series: Series,
    overflow: HookTotals,
    missed: HookTotals,
    /// In milliseconds.
    gaps: HookTotals,
    library: Library,
    /// Whether the library or the node has changed since it was applied.
    stale: bool,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
    /// `None`: not to be known.
    node_labels: Option<BTreeMap<String, String>>,
    cgroup_root: Option<PathBuf>,
    statuses: Vec<PolicyStatus>,
    published: watch::Sender<PolicySet>,
    pending: u64,
}

impl Agent {
    /// Takes up the policies and pods that there are now. Where the sources have all of them, they are counted for when
    /// this returns. A policy may have `series` series.
    pub fn start(
        engine: Engine,
        sources: Vec<Box<dyn Source>>,
        host_namespaces: BTreeMap<NamespaceKind, u32>,
        series: usize,
    ) -> Result<Self, DirError> {
        let mut state = State {
            engine,
            sources,
            attribution: Attribution::new(POD_GRACE),
            series: Series::new(series),
            overflow: HookTotals::default(),
            missed: HookTotals::default(),
            gaps: HookTotals::default(),
            library: Library::default(),
            stale: true,
            host_namespaces,
            node_labels: Some(BTreeMap::new()),
            cgroup_root: host::cgroup_root(),
            statuses: Vec::new(),
            published: watch::Sender::new(PolicySet::default()),
            pending: 0,
        };
        let now = Instant::now();
        state.restore(now);
        state.find_cgroups(now);
        // What was counted since the agent before wrote the last time belongs to whom its policies watched, by the labels
        // that pods had: both may have changed meanwhile.
        if let Err(error) = state.fold(now) {
            tracing::error!(%error, "cannot read the counts");
        }
        state.look(now)?;
        let ready = state.engine.applied();
        if ready {
            state.engine.kernel_mut().loaded_all();
        }
        Ok(Self { state: Mutex::new(state), ready: AtomicBool::new(ready) })
    }

    /// Keeps everything up to date until `stop` is set.
    pub fn run(&self, stop: &AtomicBool) {
        let mut fold = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(CGROUPS_EVERY);
            let now = Instant::now();
            let mut state = self.state();
            state.engine.kernel_mut().beat();
            state.follow_cgroups(now);
            if let Err(error) = state.look(now) {
                tracing::error!("{error}; the policies stay as they are");
            }
            if state.engine.applied() {
                self.ready.store(true, Ordering::Relaxed);
            }
            if now.duration_since(fold) >= FOLD_EVERY {
                fold = now;
                if let Err(error) = state.fold(now) {
                    tracing::error!(%error, "cannot read the counts");
                }
                state.forget(now);
                if let Err(error) = state.engine.kernel_mut().rest() {
                    tracing::error!(%error, "cannot free the places of counts that were taken away");
                }
            } else if state.engine.kernel().told() > UNSAVED {
                state.save();
            }
        }
        self.state().save();
    }

    /// The policies and how they are; changes are seen by whoever waits for them.
    pub fn policies(&self) -> watch::Receiver<PolicySet> {
        self.state().published.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in another thread doesn't make the numbers wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl metrics::Source for Agent {
    fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let mut state = self.state();
        state.follow_cgroups(now);
        if let Err(error) = state.fold(now) {
            tracing::error!(%error, "cannot read the counts");
        }
        state.snapshot(now)
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

impl State {
    /// Takes up what the sources have that is new.
    fn look(&mut self, now: Instant) -> Result<(), DirError> {
        let mut pods = false;
        let mut settled = false;
        for i in 0..self.sources.len() {
            for change in self.sources[i].poll()? {
                if !settled && self.relabels(&change) {
                    self.settle(now);
                    settled = true;
                }
                match change {
                    Change::Policies { origin, text, generation } => self.read(origin, &text, generation),
                    Change::PoliciesGone(origin) => {
                        self.library.remove(&origin);
                        self.stale = true;
                    }
                    Change::Pods(all) => {
                        self.attribution.set_pods(all, now);
                        pods = true;
                    }
                    Change::Pod(pod) => {
                        self.attribution.apply_pod(pod);
                        pods = true;
                    }
                    Change::PodGone(uid) => self.attribution.delete_pod(&uid, now),
                    Change::NodeLabels(labels) => {
                        self.stale |= self.node_labels != labels;
                        self.node_labels = labels;
                    }
                }
            }
        }
        if settled {
            // What is counted from here on belongs to the new labels, for the next agent as well.
            self.save();
        }
        if self.stale && self.sources.iter().all(|source| source.complete()) {
            self.apply(now);
            self.stale = false;
        } else if pods {
            self.classify_cgroups(now);
        }
        Ok(())
    }

    /// Whether pods that are known get other labels.
    fn relabels(&self, change: &Change) -> bool {
        match change {
            Change::Pods(all) => all.iter().any(|pod| self.attribution.relabels(pod)),
            Change::Pod(pod) => self.attribution.relabels(pod),
            _ => false,
        }
    }

    /// Gives what was counted so far to whom it belongs by the policies and the labels of pods that there are now, and
    /// writes that down: an agent that comes after this one, however it ends, must not count it under later ones.
    fn settle(&mut self, now: Instant) {
        if let Err(error) = self.fold(now) {
            tracing::error!(%error, "cannot read the counts");
        }
        self.save();
    }

    /// Enters the cgroups that exist.
    fn find_cgroups(&mut self, now: Instant) {
        let Some(root) = &self.cgroup_root else {
            tracing::warn!("no cgroup2 file system is mounted; events can't be told apart by pod");
            return;
        };
        match cgroup::walk(root) {
            Ok(cgroups) => {
                for (id, path) in cgroups {
                    self.attribution.add_cgroup(id, &path, now);
                }
            }
            Err(error) => tracing::warn!(path = %root.display(), %error, "cannot read the cgroups"),
        }
    }

    /// Takes up cgroups that came and went.
    fn follow_cgroups(&mut self, now: Instant) {
        let changes = match self.engine.kernel_mut().cgroup_changes() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "cannot read which cgroups came and went");
                return;
            }
        };
        for (id, path) in &changes.made {
            self.attribution.add_cgroup(*id, path, now);
        }
        for id in &changes.removed {
            self.attribution.remove_cgroup(*id, now);
        }
        if !changes.made.is_empty() || !changes.removed.is_empty() {
            self.classify_cgroups(now);
        }
    }

    fn classify_cgroups(&mut self, now: Instant) {
        if let Err(error) = self.engine.classify_cgroups(&self.attribution, now) {
            tracing::error!(%error, "cannot tell the kernel which policies watch which cgroups");
        }
    }
}
