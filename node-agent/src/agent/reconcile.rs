//! Keeps the kernel in step with the sources: the one thread that loads, attaches and removes.
//!
//! Policies are applied in two steps. Loading takes as long as the verifier does and holds no lock; the policies that run
//! continue to count and to be scraped. Then, under the lock of the counts and within some writes to maps, they are settled
//! by the old meaning of the kernel's numbers, the new programs come in use, and the counts get the new meaning.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gatewatch_policy::model::NamespaceKind;

use super::{Agent, Published, debounce::Debounce, set_pods};
use crate::{
    attribution::Owner,
    enforcement::{Mode, Restrictions},
    engine::Engine,
    policies::Library,
    policy_dir::DirError,
    policy_key::PolicyKey,
    sources::{Change, Source},
    user_programs::UserPrograms,
};

/// How often new cgroups are read. A container's first events are counted without that; it only decides how soon they
/// have a name.
const CGROUPS_EVERY: Duration = Duration::from_millis(250);
/// How often it is asked whether a search of a container has ended.
const BUSY_EVERY: Duration = Duration::from_millis(20);
/// How often counts are folded, if no scrape does it: the time of an event is that of the fold that saw it.
const FOLD_EVERY: Duration = Duration::from_secs(3);
/// How often what no longer exists is forgotten; more often where it is remembered for a shorter time.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How many cgroups may be created and removed before they are saved ahead of time.
const UNSAVED: usize = 1_024;

/// See the module's documentation.
pub struct Reconciler {
    pub(super) agent: Arc<Agent>,
    pub(super) engine: Engine,
    sources: Vec<Box<dyn Source>>,
    pub(super) library: Library,
    /// Changes of policies and of the node's labels that are not applied yet.
    waiting: Debounce,
    pub(super) host_namespaces: BTreeMap<NamespaceKind, u32>,
    /// `None`: not to be known.
    pub(super) node_labels: Option<BTreeMap<String, String>>,
    pub(super) user_programs: UserPrograms,
    /// What restricts enforcement.
    pub(super) restrictions: Restrictions,
    /// What all policies of the node may do, once that is known.
    pub(super) in_force: Option<Mode>,
    /// Policies whose programs are no longer there, and why.
    pub(super) detached: BTreeMap<PolicyKey, String>,
}

impl Reconciler {
    pub(super) fn new(
        agent: Arc<Agent>,
        engine: Engine,
        sources: Vec<Box<dyn Source>>,
        host_namespaces: BTreeMap<NamespaceKind, u32>,
        restrictions: Restrictions,
    ) -> Result<Self, DirError> {
        let mut reconciler = Self {
            agent,
            engine,
            sources,
            library: Library::default(),
            waiting: Debounce::default(),
            host_namespaces,
            node_labels: Some(BTreeMap::new()),
            user_programs: UserPrograms::default(),
            restrictions,
            in_force: None,
            detached: BTreeMap::new(),
        };
        // Where there is no policy, that has to be applied as well.
        reconciler.waiting.changed(Instant::now());
        reconciler.poll(Instant::now())?;
        Ok(reconciler)
    }

    /// Keeps everything up to date until `stop` is set.
    pub fn run(mut self, stop: &AtomicBool) {
        self.spare_services();
        let mut folded = Instant::now();
        let mut tidied = folded;
        let tidy_every = TIDY_EVERY.min(self.agent.counts().remembered());
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            self.step(now);
            if now.duration_since(tidied) >= tidy_every {
                (tidied, folded) = (now, now);
                self.tidy(now);
            } else if now.duration_since(folded) >= FOLD_EVERY {
                folded = now;
                let mut counts = self.agent.counts();
                counts.fold(now);
                counts.save_new_events();
                drop(counts);
                self.verify();
            }
            std::thread::sleep(self.pause());
        }
        self.agent.counts().save();
    }

    /// Reads what is new, and applies what is due.
    fn step(&mut self, now: Instant) {
        self.engine.bpf_mut().beat();
        if let Err(error) = self.poll(now) {
            tracing::error!("{error}; the policies stay as they are");
        }
        self.restrict();
        if self.is_due(now) {
            self.apply();
            self.waiting.applied();
        }
        let now = Instant::now();
        let mut counts = self.agent.counts();
        counts.follow_cgroups(now);
        if counts.reader.unsaved_cgroups() > UNSAVED {
            counts.save();
        }
        let owners = counts.new_owners(now);
        let pods = owners.is_some().then(|| counts.pod_cgroups());
        // For records, which wait until it is known whose they are.
        if let Some(records) = self.agent.records.as_ref().filter(|_| owners.is_some()) {
            records.owners.store(Arc::new(counts.all_owners(now).into_iter().collect()));
        }
        drop(counts);
        if let Some(pods) = pods {
            set_pods(&mut self.engine, pods);
        }
        if let Some(owners) = owners {
            self.assign_policy_sets(owners);
        }
        self.attach_to_user_programs(now);
        self.publish_problems();
    }

    /// The first policies are applied as soon as all are known.
    fn is_due(&self, now: Instant) -> bool {
        let due = match self.waiting.due_in(now) {
            Some(left) => left.is_zero() || !self.engine.applied(),
            None => false,
        };
        due && self.is_complete()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.sources.iter().all(|source| source.complete())
    }

    fn pause(&self) -> Duration {
        match self.waiting.due_in(Instant::now()) {
            Some(left) if self.is_complete() => left.min(CGROUPS_EVERY),
            _ if self.user_programs.is_busy() => BUSY_EVERY,
            _ => CGROUPS_EVERY,
        }
    }

    /// Reads what is new in the sources. Pods change at once, policies wait until the burst is over.
    fn poll(&mut self, now: Instant) -> Result<(), DirError> {
        let mut pods = Vec::new();
        for i in 0..self.sources.len() {
            for change in self.sources[i].poll()? {
                match change {
                    Change::Policies { origin, text, generation } => self.read(origin, &text, generation),
                    Change::PoliciesGone(origin) => self.library.remove(&origin),
                    Change::NodeLabels(labels) if self.node_labels == labels => continue,
                    Change::NodeLabels(labels) => self.set_node_labels(labels),
                    Change::Enforcement(settings) => {
                        self.restrictions.settings = Some(settings);
                        continue;
                    }
                    change @ (Change::Pods(_) | Change::Pod(_) | Change::PodGone(_)) => {
                        pods.push(change);
                        continue;
                    }
                }
                self.waiting.changed(now);
            }
        }
        let current = self.sources.iter().all(|source| source.pods_current());
        let mut counts = self.agent.counts();
        if !pods.is_empty() {
            counts.apply_pods(pods, now);
        }
        // After the pods that came with the end of an outage.
        counts.pods_current(current, now);
        Ok(())
    }

    /// Writes which policies watch which cgroups into the kernel.
    pub(super) fn assign_policy_sets(&mut self, owners: Vec<(u64, Owner)>) {
        if let Err(error) = self.engine.assign_policy_sets(owners) {
            tracing::error!(%error, "cannot write into the kernel which policies watch which cgroups");
        }
        let wanted = self.engine.at_user_programs();
        if !(wanted.is_empty() && self.user_programs.is_idle()) {
            self.user_programs.want(wanted, Instant::now());
        }
    }

    /// Attaches to the programs of new containers, and to files that are new in others.
    fn attach_to_user_programs(&mut self, now: Instant) {
        let Some(uprobes) = self.engine.bpf().uprobes().map(Arc::clone) else { return };
        let agent = Arc::clone(&self.agent);
        let folder_of = |cgroup| agent.counts().container_folder(cgroup);
        if self.user_programs.step(&uprobes, folder_of, now) {
            self.publish_user_programs();
        }
    }

    /// Folds the counts, and forgets cgroups and hooks that no longer exist, here and in the kernel.
    fn tidy(&mut self, now: Instant) {
        let mut counts = self.agent.counts();
        if let Err(error) = counts.try_fold(now) {
            tracing::error!(%error, "cannot read the counts");
            return;
        }
        let forgotten = counts.forget(now);
        match self.engine.bpf_mut().remove_cgroup_counts(&forgotten.ids, &mut counts.reader) {
            Ok(()) => counts.forget_counts(&forgotten),
            Err(error) => tracing::warn!(%error, "cannot remove the counts of deleted cgroups"),
        }
        self.engine.forget_numbers(|number| counts.holds(number), now);
        counts.view = self.engine.view();
        self.engine.remove_unused(&mut counts.reader);
        let pods = counts.remembered_pods();
        if let Err(error) = self.engine.bpf_mut().settle_shares(|pod| pods.contains(&pod), &mut counts.reader)
        {
            tracing::warn!(%error, "cannot give pods back the entries of tables that they no longer have");
        }
        drop(counts);
        self.spare_services();
        if let Err(error) = self.engine.bpf_mut().rest() {
            tracing::error!(%error, "cannot free the places of removed counts");
        }
    }

    fn publish_problems(&self) {
        let unreadable: u64 = self.sources.iter().map(|source| source.problems()).sum();
        let source_problems = unreadable + u64::try_from(self.library.broken()).unwrap_or(u64::MAX);
        let known = self.agent.published.load();
        if known.source_problems != source_problems {
            self.agent.publish(Published { source_problems, ..Published::clone(&known) });
        }
    }
}
