//! The known state of the cluster. Watches write it, and decisions read it.

mod admit;
mod loaded;
mod nodes;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use gatewatch_coverage::{Index, IndexedPolicy, PolicyId, Workload};
use gatewatch_kernel::Profile;
use gatewatch_policy::target::Target;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub use self::admit::AdmittedChange;
use self::{admit::Admissions, loaded::Loaded};
use crate::{
    agents::{Agent, AgentPods},
    caches::{
        Cache, Health,
        watch::{Change, Name},
    },
    kernels::{self, Kernels, Node, Shipped},
    leadership::Leadership,
    modes::Modes,
    plans::Plans,
    stored_policy::StoredPolicy,
};

/// Everything that is known about the cluster.
#[derive(Debug)]
pub struct Cluster {
    index: RwLock<Index>,
    policies: RwLock<BTreeMap<PolicyId, Arc<StoredPolicy>>>,
    nodes: RwLock<BTreeMap<String, Node>>,
    agents: RwLock<BTreeMap<String, Agent>>,
    agent_pods: RwLock<AgentPods>,
    /// The policies that nodes run, as confirmed reports say.
    loaded: Mutex<Loaded>,
    admissions: Mutex<Admissions>,
    kernels: ArcSwap<Kernels>,
    plans: ArcSwap<Plans>,
    /// Held while `plans` is replaced, so that no change is lost. Decisions do not wait for it.
    replacing_plans: Mutex<()>,
    shipped: Shipped,
    modes: ArcSwap<Modes>,
    /// Whether the `ConfigMap` of modes is invalid, so that the previous modes stay in force.
    pub modes_refused: AtomicBool,
    health: BTreeMap<Cache, Health>,
    /// Whether this replica holds the Lease.
    pub leadership: Leadership,
    /// Number of `PolicyCoverage` objects that could not be written, since the start.
    pub status_write_failures: AtomicU64,
    /// Counts the changes that coverage depends on.
    version: AtomicU64,
    kernels_changed: Notify,
    caveat_logged: AtomicBool,
}

impl Default for Cluster {
    fn default() -> Self {
        let shipped = kernels::shipped();
        let kernels = Arc::new(Kernels::new(&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new(), &shipped));
        let mut index = Index::default();
        index.know_loaded(true);
        Self {
            index: RwLock::new(index),
            policies: RwLock::default(),
            nodes: RwLock::default(),
            agents: RwLock::default(),
            agent_pods: RwLock::default(),
            loaded: Mutex::default(),
            admissions: Mutex::default(),
            plans: ArcSwap::from_pointee(Plans::new(Arc::clone(&kernels), [])),
            replacing_plans: Mutex::default(),
            kernels: ArcSwap::new(kernels),
            shipped,
            modes: ArcSwap::default(),
            modes_refused: AtomicBool::new(false),
            health: Cache::ALL.into_iter().map(|cache| (cache, Health::default())).collect(),
            leadership: Leadership::default(),
            status_write_failures: AtomicU64::new(0),
            version: AtomicU64::new(0),
            kernels_changed: Notify::new(),
            caveat_logged: AtomicBool::new(false),
        }
    }
}

impl Cluster {
    /// Queries the index. It cannot change meanwhile.
    pub fn with_index<T>(&self, query: impl FnOnce(&Index) -> T) -> T {
        query(&self.index.read())
    }

    /// The modes in force.
    pub fn modes(&self) -> Arc<Modes> {
        self.modes.load_full()
    }

    /// Replaces the modes.
    pub fn set_modes(&self, modes: Modes) {
        // Other programs do not report which policies they run.
        let by_gatewatch = modes.selection().includes(Target::Gatewatch);
        self.modes.store(Arc::new(modes));
        let policies = self.policies.read();
        let mut index = self.index.write();
        index.know_loaded(by_gatewatch);
        self.set_loaded(&mut index, policies.values());
        drop((policies, index));
        self.bump_version();
    }

    /// The currently known kernels.
    pub fn kernels(&self) -> Arc<Kernels> {
        self.kernels.load_full()
    }

    /// The plans of all policies.
    pub fn plans(&self) -> Arc<Plans> {
        self.plans.load_full()
    }

    /// Compiles what is new. It takes its time, so no decision waits for it.
    fn replace_plans(&self) {
        let _replacing = self.replacing_plans.lock();
        let plans = self.plans.load().with(self.kernels(), self.policies());
        self.plans.store(Arc::new(plans));
    }

    /// All policies.
    pub fn policies(&self) -> Vec<Arc<StoredPolicy>> {
        self.policies.read().values().cloned().collect()
    }

    /// The nodes.
    pub fn nodes(&self) -> BTreeMap<String, Node> {
        self.nodes.read().clone()
    }

    /// The reports of agents, by node.
    pub fn agents(&self) -> BTreeMap<String, Agent> {
        self.agents.read().clone()
    }

    /// The state of a cache.
    pub fn health(&self, cache: Cache) -> &Health {
        // Every cache has an entry. This one would never be synced.
        static NONE: std::sync::LazyLock<Health> = std::sync::LazyLock::new(Health::default);
        self.health.get(&cache).unwrap_or(&NONE)
    }

    /// The caches that have not been filled yet.
    pub fn unsynced(&self) -> Vec<Cache> {
        let unsynced = |(_, health): &(&Cache, &Health)| !health.synced();
        self.health.iter().filter(unsynced).map(|(cache, _)| *cache).collect()
    }

    /// Marks all caches as filled, for a cluster without watches.
    pub fn assume_synced(&self) {
        self.health.values().for_each(Health::assume_synced);
    }

    /// A number that every change increments that coverage depends on.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn bump_version(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until nodes or agents have changed since the last call returned.
    pub async fn kernels_changed(&self) {
        self.kernels_changed.notified().await;
    }

    /// Applies a change of policies. `namespaced` selects one of the two kinds.
    pub fn policies_changed(&self, change: Change<StoredPolicy>, namespaced: bool) {
        let mut policies = self.policies.write();
        let mut index = self.index.write();
        match change {
            Change::Apply(stored) => {
                index.apply_policy(IndexedPolicy::new(stored.policy(), "default"));
                let stored = Arc::new(stored);
                self.set_loaded(&mut index, [&stored]);
                policies.insert(stored.id.clone(), stored);
            }
            Change::Delete(Name { namespace, name }) => {
                let id = PolicyId { namespace: namespaced.then_some(namespace), name };
                index.delete_policy(&id);
                policies.remove(&id);
            }
            Change::Reset(all) => {
                policies.retain(|id, _| id.namespace.is_some() != namespaced);
                policies.extend(all.into_iter().map(|stored| (stored.id.clone(), Arc::new(stored))));
                let indexed: Vec<IndexedPolicy> =
                    policies.values().map(|stored| IndexedPolicy::new(stored.policy(), "default")).collect();
                index.reset_policies(indexed);
                self.set_loaded(&mut index, policies.values());
            }
        }
        drop((policies, index));
        self.replace_plans();
        self.bump_version();
    }

    /// Applies a change of pods or of objects with a template.
    pub fn workloads_changed(&self, change: Change<Workload>, kind: Cache) {
        let mut index = self.index.write();
        match change {
            Change::Apply(workload) => index.apply_workload(&workload),
            Change::Delete(Name { namespace, name }) => index.delete_workload(kind.name(), &namespace, &name),
            Change::Reset(all) => index.reset_workloads(kind.name(), &all),
        }
        self.bump_version();
    }

    /// Applies a change of namespaces: names and annotations.
    pub fn namespaces_changed(&self, change: Change<(String, BTreeMap<String, String>)>) {
        let mut index = self.index.write();
        match change {
            Change::Apply((name, annotations)) => index.apply_namespace(&name, &annotations),
            Change::Delete(Name { name, .. }) => index.delete_namespace(&name),
            Change::Reset(all) => {
                index.reset_namespaces(all.iter().map(|(name, annotations)| (name.as_str(), annotations)));
            }
        }
        self.bump_version();
    }

    /// Computes the kernels again from the nodes, the reports and the fetched profiles.
    pub fn rebuild_kernels(&self, profiles: &BTreeMap<String, Arc<Profile>>) {
        let reports =
            self.agents.read().iter().map(|(name, agent)| (name.clone(), agent.kernel.clone())).collect();
        let kernels = Kernels::new(&self.nodes.read(), &reports, profiles, &self.shipped);
        let caveat = kernels.caveat();
        let before = self.kernels.swap(Arc::new(kernels)).caveat();
        self.replace_plans();
        // Logged once, and again after it changes.
        let logged = self.caveat_logged.swap(true, Ordering::Relaxed) && caveat == before;
        if let Some(caveat) = caveat.filter(|_| !logged) {
            tracing::info!("kernels: {caveat}");
        }
        self.bump_version();
    }
}
